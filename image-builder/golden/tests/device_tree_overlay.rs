//! The overlay that the Raspberry Pi's firmware applies on newer boards, made of Debian's own device trees.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use gild_golden::assemble::Identity;
use gild_golden::boot::{self, BootError, Kernel};
use gild_golden::recipe::Recipe;
use gild_golden::tree::Tree;

const VERSION: &str = "7.0.0-arm64";
const C0: &str = "broadcom/bcm2712-rpi-5-b.dtb";
const D0: &str = "broadcom/bcm2712-d-rpi-5-b.dtb";
const OVERLAY: &str = "overlays/bcm2712d0.dtbo";

fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A device tree of Debian's kernel, as `make setup` fetched it.
fn debian(name: &str) -> Vec<u8> {
    fs::read(project().join("target/kernel/dtb").join(name)).expect("`make setup` fetches it")
}

/// The boot partition that is made with these files among the kernel's device trees.
fn boot_files(device_trees: &[(&str, &[u8])]) -> Result<BTreeMap<String, Vec<u8>>, BootError> {
    let mut tree = Tree::default();
    let mut put = |path: String, bytes: &[u8]| {
        let added = tree.insert_file(&path, 0o644, bytes.to_vec());
        added.expect("a file in a new tree");
    };
    put(format!("usr/lib/modules/{VERSION}/vmlinuz"), b"kernel");
    put(format!("boot/initrd.img-{VERSION}"), b"initramfs");
    for (name, bytes) in device_trees {
        put(format!("usr/lib/linux-image-{VERSION}/{name}"), bytes);
    }
    let kernel = Kernel::find(&tree)?;
    let recipe = Recipe::read(&project().join("boards/rpi5/image.toml")).expect("the recipe");
    let files = boot::files(&mut tree, &kernel, &recipe, &Identity::of("rpi5"))?;
    let read = |content: &gild_golden::tree::Content| {
        let mut bytes = Vec::new();
        let mut content = content.open().expect("what was put there");
        content.read_to_end(&mut bytes).expect("bytes");
        bytes
    };
    Ok(files
        .iter()
        .map(|(path, content)| (path.clone(), read(content)))
        .collect())
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output();
    let output = output.expect("the package device-tree-compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn the_overlay_turns_the_boot_partition_s_tree_into_the_one_for_d0() {
    let files = boot_files(&[(C0, &debian(C0)), (D0, &debian(D0))]).expect("boot files");
    let folder = tempfile::TempDir::new().expect("a folder");
    let folder = folder.path();
    for (copy, name) in [
        ("base", "bcm2712-rpi-5-b.dtb"),
        ("d0", "bcm2712d0-rpi-5-b.dtb"),
        ("dtbo", OVERLAY),
    ] {
        fs::write(folder.join(copy), &files[name]).expect("a file");
    }
    run(
        folder,
        "fdtoverlay",
        &["-i", "base", "-o", "applied", "dtbo"],
    );
    let source = |name| run(folder, "dtc", &["-q", "-s", "-I", "dtb", "-O", "dts", name]);
    assert_ne!(source("base"), source("d0"));
    assert_eq!(source("applied"), source("d0"));
    let cells = run(folder, "fdtget", &["applied", "/", "#size-cells"]);
    assert_eq!(cells.trim(), "1", "for old firmware");
}

#[test]
fn a_kernel_without_a_tree_for_d0_makes_no_image() {
    let refused = boot_files(&[(C0, &debian(C0))]).expect_err("boards would not start");
    assert!(matches!(refused, BootError::Missing { .. }), "{refused}");
    assert!(refused.to_string().contains(D0), "{refused}");
}

#[test]
fn two_trees_between_which_there_is_no_overlay_make_no_image() {
    let refused = boot_files(&[(C0, &debian(C0)), (D0, &debian(C0))]).expect_err("the same");
    let said = refused.to_string();
    assert!(
        said.contains(OVERLAY) && said.contains("cannot be made"),
        "{said}"
    );
    assert!(said.contains("next: "), "{said}");
}

#[test]
fn an_overlay_of_the_kernel_s_own_is_taken_if_it_fits() {
    let trees = [(C0, &*debian(C0)), (D0, &debian(D0))];
    let made = boot_files(&trees).expect("boot files")[OVERLAY].clone();
    // The same content in other bytes: what comes with the kernel is not made again.
    let folder = tempfile::TempDir::new().expect("a folder");
    fs::write(folder.path().join("own"), &made).expect("a file");
    let note = ["-t", "s", "own", "/", "note", "of the vendor"];
    run(folder.path(), "fdtput", &note);
    let own = fs::read(folder.path().join("own")).expect("the overlay");
    let files = boot_files(&[trees[0], trees[1], (OVERLAY, &own)]).expect("boot files");
    assert!(files[OVERLAY] == own);

    // Raspberry Pi's own names what only Raspberry Pi's tree has.
    let path = ["own", "/__fixups__", "spi10", "/fragment@0:target:0"];
    run(folder.path(), "fdtput", &[&["-t", "s"][..], &path].concat());
    let own = fs::read(folder.path().join("own")).expect("the overlay");
    let refused = boot_files(&[trees[0], trees[1], (OVERLAY, &own)]).expect_err("no such symbol");
    let said = refused.to_string();
    assert!(
        said.contains("cannot be used") && said.contains("`spi10`"),
        "{said}"
    );
}
