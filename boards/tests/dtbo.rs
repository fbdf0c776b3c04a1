//! Overlays between two device trees: real ones of Debian's kernel for the Raspberry Pi 5, and small ones.
//!
//! dtc and fdtoverlay check the results. The Raspberry Pi's own firmware does not run here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use gild_boards::dtbo::{self, DtboError};
use tempfile::TempDir;

/// A folder to work in, gone after the test.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).expect(name);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).expect(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .output();
        let output = output.expect("the package device-tree-compiler");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("a text")
    }

    /// A device tree with symbols.
    fn tree(&self, source: &str) -> Vec<u8> {
        self.write("tree.dts", source.as_bytes());
        self.run("dtc", &["-q", "-@", "-O", "dtb", "-o", "tree", "tree.dts"]);
        self.read("tree")
    }

    /// The source of a device tree, sorted.
    fn source(&self, tree: &[u8]) -> String {
        self.write("tree", tree);
        self.run("dtc", &["-q", "-s", "-I", "dtb", "-O", "dts", "tree"])
    }

    /// Applies an overlay by Debian's program.
    fn apply(&self, base: &[u8], overlay: &[u8]) -> Vec<u8> {
        self.write("base.dtb", base);
        self.write("overlay.dtbo", overlay);
        let arguments = ["-i", "base.dtb", "-o", "result.dtb", "overlay.dtbo"];
        self.run("fdtoverlay", &arguments);
        self.read("result.dtb")
    }
}

/// A device tree of Debian's kernel, as `make setup` fetched it.
fn debian(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernel/dtb/broadcom");
    fs::read(folder.join(name)).expect("target/kernel, which `make setup` fetches")
}

fn c0_and_d0() -> (Vec<u8>, Vec<u8>) {
    (
        debian("bcm2712-rpi-5-b.dtb"),
        debian("bcm2712-d-rpi-5-b.dtb"),
    )
}

/// Two nodes with a symbol and one without.
fn small(changes: &[(&str, &str)]) -> String {
    let mut source = "/dts-v1/; / { compatible = \"a,board\", \"a,processor\"; \
        one: one { value = <1>; other = \"x\"; in-it { }; }; \
        two: two { link = <&one>; }; \
        plain { value = <1>; }; };"
        .to_owned();
    for (from, to) in changes {
        assert!(source.contains(from), "{from}");
        source = source.replacen(from, to, 1);
    }
    source
}

#[test]
fn the_overlay_turns_debian_s_tree_for_c0_into_the_one_for_d0() {
    let bench = Bench::new();
    let (c0, d0) = c0_and_d0();
    let overlay = dtbo::between(&c0, &d0).expect("an overlay");
    let result = bench.apply(&c0, &overlay);
    assert_ne!(bench.source(&c0), bench.source(&d0), "they differ");
    assert_eq!(bench.source(&result), bench.source(&d0));

    bench.write("overlay.dtbo", &overlay);
    let symbols = bench.run("fdtget", &["-p", "overlay.dtbo", "/__fixups__"]);
    let symbols: BTreeSet<&str> = symbols.split_whitespace().collect();
    let wanted = ["gio_aon", "pinctrl", "pinctrl_aon", "uart10"];
    assert_eq!(symbols, BTreeSet::from(wanted));
    let processor = bench.run("fdtget", &["overlay.dtbo", "/", "compatible"]);
    assert_eq!(processor.trim(), "brcm,bcm2712");

    assert_eq!(dtbo::check_gives(&c0, &overlay, &d0), Ok(()));
    assert_eq!(dtbo::check_devices(&c0, &overlay, &d0), Ok(()));
}

#[test]
fn what_is_new_or_changed_gets_into_a_fragment_of_its_node() {
    let bench = Bench::new();
    let base = bench.tree(&small(&[]));
    let other = bench.tree(&small(&[
        ("value = <1>", "value = <2 3>; more"),
        (
            "in-it { };",
            "in-it { }; new@1 { compatible = \"a,new\"; deep { }; };",
        ),
    ]));
    let overlay = dtbo::between(&base, &other).expect("an overlay");
    assert_eq!(
        bench.source(&bench.apply(&base, &overlay)),
        bench.source(&other)
    );
    assert_eq!(dtbo::check_gives(&base, &overlay, &other), Ok(()));
}

#[test]
fn the_base_tree_keeps_its_own_symbols() {
    let bench = Bench::new();
    let base = bench.tree(&small(&[]));
    let other = bench.tree(&small(&[
        ("value = <1>", "value = <2>"),
        ("one: one", "uno: one"),
        ("<&one>", "<&uno>"),
    ]));
    let overlay = dtbo::between(&base, &other).expect("an overlay");
    assert_eq!(dtbo::check_gives(&base, &overlay, &other), Ok(()));
    let result = bench.source(&bench.apply(&base, &overlay));
    assert!(result.contains("one = \"/one\""), "{result}");
    assert!(!result.contains("uno"), "{result}");
}

#[test]
fn an_overlay_that_leaves_a_device_of_the_older_stepping_is_refused() {
    let bench = Bench::new();
    let device = |name: &str| format!("value = <1>; compatible = \"{name}\"");
    let with = |one: &str, two: &str| {
        let (one, two) = (device(one), format!("two: two {{ compatible = \"{two}\";"));
        bench.tree(&small(&[("value = <1>", &one), ("two: two {", &two)]))
    };
    let (older, newer) = (with("a,one", "a,two"), with("a,one-d0", "a,two-d0"));
    let whole = dtbo::between(&older, &newer).expect("an overlay");
    let half = dtbo::between(&older, &with("a,one-d0", "a,two")).expect("an overlay");
    assert_eq!(dtbo::check_devices(&older, &whole, &newer), Ok(()));
    assert_eq!(
        dtbo::check_devices(&older, &half, &newer),
        Err(DtboError::OtherDevice("/two".into()))
    );
    // Nothing is proven by a tree that is a copy.
    assert_eq!(
        dtbo::check_devices(&older, &whole, &older),
        Err(DtboError::SameDevices)
    );
}

#[test]
fn the_board_s_data_distinguishes_the_trees_of_the_two_steppings() {
    let (c0, d0) = c0_and_d0();
    let board = gild_boards::by_name("rpi5").expect("a board");
    let device = &board.stepping.as_ref().expect("a stepping").compatible;
    assert_eq!(dtbo::check_order(&c0, &d0, device), Ok(()));
    for other in [&c0, &d0] {
        assert_eq!(
            dtbo::check_order(&d0, other, device),
            Err(DtboError::NewerBase(device.clone()))
        );
    }
    assert_eq!(
        dtbo::check_order(&c0, &c0, device),
        Err(DtboError::NotNewer(device.clone()))
    );
}

#[test]
fn a_difference_that_an_overlay_cannot_express_is_refused() {
    let bench = Bench::new();
    let base = bench.tree(&small(&[]));
    let between = |changes: &[(&str, &str)]| dtbo::between(&base, &bench.tree(&small(changes)));
    assert_eq!(between(&[]), Err(DtboError::Same));
    assert_eq!(
        between(&[("other = \"x\";", "")]),
        Err(DtboError::Gone("property other of /one".into()))
    );
    assert_eq!(
        between(&[("in-it { };", "")]),
        Err(DtboError::Gone("node /one/in-it".into()))
    );
    assert_eq!(
        between(&[("plain { value = <1>", "plain { value = <2>")]),
        Err(DtboError::NoSymbol("/plain".into()))
    );
    assert_eq!(
        between(&[("a,board", "a,other")]),
        Err(DtboError::NoSymbol("/".into()))
    );
    // The numbers behind the links to the nodes are others.
    assert_eq!(
        between(&[("one: one {", "one: one { phandle = <0x77>;")]),
        Err(DtboError::Phandle("/one".into()))
    );
    assert_eq!(
        between(&[("in-it { };", "in-it { }; new { phandle = <0x77>; };")]),
        Err(DtboError::Phandle("/one/new".into()))
    );
}

#[test]
fn an_overlay_that_does_not_fit_the_base_tree_is_refused() {
    let bench = Bench::new();
    let base = bench.tree(&small(&[]));
    let other = bench.tree(&small(&[("value = <1>", "value = <2>")]));
    let overlay = dtbo::between(&base, &other).expect("an overlay");
    let stranger = bench.tree(&small(&[
        ("one: one", "three: one"),
        ("<&one>", "<&three>"),
    ]));
    assert_eq!(
        dtbo::check_gives(&stranger, &overlay, &other),
        Err(DtboError::MissingSymbol("one".into()))
    );
    assert_eq!(
        dtbo::check_gives(&base, &base, &other),
        Err(DtboError::NotAnOverlay)
    );
    let third = bench.tree(&small(&[("value = <1>", "value = <3>")]));
    assert_eq!(
        dtbo::check_gives(&base, &overlay, &third),
        Err(DtboError::OtherResult("/one differs".into()))
    );
    for length in 0..overlay.len() {
        let refused = dtbo::check_gives(&base, &overlay[..length], &other);
        assert!(
            matches!(refused, Err(DtboError::NotADeviceTree { .. })),
            "{length}: {refused:?}"
        );
    }
}

#[test]
fn a_symbol_that_leads_to_no_phandle_is_of_no_use_to_the_firmware() {
    let bench = Bench::new();
    let base = bench.tree(&small(&[]));
    let other = bench.tree(&small(&[("value = <1>", "value = <2>")]));
    let overlay = dtbo::between(&base, &other).expect("an overlay");
    let without = |tree: &[u8]| {
        bench.write("tree", tree);
        bench.run("fdtput", &["-d", "tree", "/one", "phandle"]);
        bench.read("tree")
    };
    let (base, other) = (without(&base), without(&other));
    assert_eq!(
        dtbo::between(&base, &other),
        Err(DtboError::NoSymbol("/one".into()))
    );
    assert_eq!(
        dtbo::check_gives(&base, &overlay, &other),
        Err(DtboError::MissingSymbol("one".into()))
    );
}

/// No damage makes the reader panic, and a damaged overlay that still applies gives what it says.
#[test]
fn damaged_overlays_are_refused_or_applied_and_nothing_else() {
    let (c0, d0) = c0_and_d0();
    let overlay = dtbo::between(&c0, &d0).expect("an overlay");
    let mut random = fastrand::Rng::with_seed(2712);
    for _ in 0..500 {
        let mut damaged = overlay.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..damaged.len());
            damaged[at] = random.u8(..);
        }
        let _ = dtbo::check_gives(&c0, &damaged, &d0);
        let _ = dtbo::check_devices(&damaged, &overlay, &d0);
    }
}
