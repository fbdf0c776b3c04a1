//! One planted defect for every rule: that rule finds it, and no other does.
//!
//! The images are real: partition tables, file systems and their free space; see `common` for what in them is not.

mod common;
mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::{
    BOOT_START, EARLY, Golden, LINKS, NETWORK, ROOT_START, SIZE, SOURCES, UPGRADES, VERSION,
    initrd, initrd_without, poke,
};
use gild_inspect::{Canary, Lack, Options, Origin, RULES, Report, inspect};
use planted::Defect::{After, Before, Changed};
use planted::{EXAMPLE, GIVEN, HOST, README, defects, key, token};

fn judge(image: &Path) -> Report {
    let canaries = [(Origin::HostName, HOST), (Origin::Given, GIVEN)];
    let options = Options {
        canaries: canaries
            .into_iter()
            .map(|(origin, text)| Canary::new(origin, text).expect("telling"))
            .collect(),
        ..Options::default()
    };
    inspect(image, &options).expect("the image can be judged")
}

fn failed(report: &Report) -> BTreeSet<&str> {
    report.failed().map(|rule| rule.id).collect()
}

/// Does this with each of them, twice as many at a time as there are cores, because the programs that make an image wait for the disk.
fn each<T: Send>(all: impl IntoIterator<Item = T, IntoIter: Send>, look: impl Fn(T) + Sync) {
    let all = Mutex::new(all.into_iter());
    let next = || all.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(one) = next() {
                    look(one);
                }
            });
        }
    });
}

#[test]
fn a_good_image_passes_every_rule() {
    let golden = good();
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(report.rules.len(), RULES.len());
    assert_eq!(report.image_id.as_deref(), Some("rpi5-0123456789ab"));
    assert_eq!(report.image_size, SIZE);
    assert_eq!((BOOT_START, ROOT_START), (16 << 20, 56 << 20));
}

/// Raspberry Pi OS's kernel comes with an overlay for its own tree.
#[test]
fn a_vendor_s_own_overlay_may_change_more_or_less_than_its_trees_differ_in() {
    let golden = good();
    let own = format!("usr/lib/linux-image-{VERSION}/overlays/bcm2712d0.dtbo");
    golden.put(&own, planted::vendors());
    golden.put_boot("overlays/bcm2712d0.dtbo", planted::vendors());
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
}

#[test]
fn each_defect_is_found_by_its_rule_and_by_no_other() {
    let wrong = Mutex::new(Vec::new());
    each(defects(), |(rule, what, defect)| {
        let mut golden = good();
        match defect {
            Before(change) => change(&golden),
            Changed(change) => change(&mut golden),
            After(_) => {}
        }
        let image = golden.make();
        if let After(change) = defect {
            change(&image);
        }
        let report = judge(&image);
        if failed(&report) != BTreeSet::from([rule]) {
            let line = format!("{rule}: {what}: {report}");
            wrong.lock().expect("no panic").push(line);
        }
        let json = serde_json::to_string(&report).expect("plain data");
        for secret in [token(), key(), HOST.to_owned(), GIVEN.to_owned()] {
            let is_name = what == "as a name" || what == "in a link";
            assert!(
                is_name || !json.contains(&secret),
                "{what}: the report quotes it"
            );
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let mut seen: BTreeSet<&str> = defects().into_iter().map(|(rule, ..)| rule).collect();
    let paths = RULES.iter().filter(|rule| !rule.paths().is_empty());
    seen.extend(paths.map(|rule| rule.id));
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(seen, all, "every rule has a defect");
}

#[test]
fn each_forbidden_path_is_found_by_its_rule_and_by_no_other() {
    let wrong = Mutex::new(Vec::new());
    let rules = RULES.iter().filter(|rule| !rule.paths().is_empty());
    each(rules, |rule| {
        let golden = good();
        let denied = rule
            .paths()
            .iter()
            .filter(|pattern| !pattern.starts_with('!'));
        let paths: BTreeSet<String> = denied.flat_map(|pattern| examples(pattern)).collect();
        // A file that may be empty is found when it is not.
        let content = if ["logs", "dumps-and-swap"].contains(&rule.id) {
            "x"
        } else {
            ""
        };
        for path in &paths {
            match path.strip_prefix("boot:") {
                Some(path) => golden.put_boot(path, content),
                None => golden.put(path, content),
            }
        }
        let report = judge(&golden.make());
        let findings = report.failed().flat_map(|rule| &rule.findings);
        let found: BTreeSet<String> = findings.map(|finding| finding.path.clone()).collect();
        if failed(&report) != BTreeSet::from([rule.id]) || found != paths {
            let line = format!("{}: planted {paths:?}: {report}", rule.id);
            wrong.lock().expect("no panic").push(line);
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn an_exemption_lets_a_finding_pass_and_shows_it() {
    let golden = good();
    golden.put("opt/app/id", key());
    golden.put("opt/other/id", key());
    let image = golden.make();
    let options = |text: &str| Options {
        exemptions: vec![text.parse().expect("a rule's name")],
        ..Options::default()
    };
    let report = inspect(&image, &options("private-keys=opt/app/*")).expect("readable");
    assert_eq!(failed(&report), BTreeSet::from(["private-keys"]));
    let report = inspect(&image, &options("private-keys=opt/**")).expect("readable");
    assert!(report.passed(), "{report}");
    let exempted: BTreeMap<_, _> = report
        .rules
        .iter()
        .map(|rule| (rule.id, rule.exempted.len()))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(exempted, BTreeMap::from([("private-keys", 2)]));
    "private-kys=opt/**"
        .parse::<gild_inspect::Exemption>()
        .expect_err("no such rule");
}

#[test]
fn an_image_says_what_it_was_built_without() {
    let golden = good();
    fs::remove_file(golden.root("usr/local/bin/k3s")).expect("it was there");
    golden.put("usr/lib/gild/without-k3s", "");
    fs::remove_file(golden.root(SOURCES)).expect("it was there");
    golden.put("usr/lib/gild/without-security-updates", "");
    golden.put("etc/gild/first-boot.toml", "without_matchbox = true\n");
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(
        report.lacks,
        [Lack::K3s, Lack::Matchbox, Lack::SecurityUpdates]
    );
    for words in [
        "built without k3s",
        "built without Matchbox",
        "built without security updates",
    ] {
        assert!(report.to_string().contains(words), "{report}");
    }
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(
        json["lacks"],
        serde_json::json!(["k3s", "matchbox", "security-updates"])
    );
    assert!(judge(&good().make()).lacks.is_empty());
}

#[test]
fn an_image_may_be_built_without_unattended_upgrades_and_says_so() {
    let golden = good();
    golden.put(UPGRADES, "APT::Periodic::Unattended-Upgrade \"0\";\n");
    golden.put("usr/lib/gild/without-unattended-upgrades", "");
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(report.lacks, [Lack::UnattendedUpgrades]);
}

#[test]
fn an_image_says_that_nobody_can_log_in() {
    let golden = good();
    let keys = "etc/cloud/cloud.cfg.d/60-gild-site.cfg";
    golden.put(keys, "ssh_authorized_keys: []\n");
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(report.lacks, [Lack::SshKeys]);
    assert!(
        report
            .to_string()
            .contains("only people with a key in `ssh_keys`")
    );
    golden.put("etc/gild/first-boot.toml", "without_matchbox = true\n");
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(report.lacks, [Lack::Matchbox, Lack::Login]);
    assert!(report.to_string().contains("nobody can ever log in"));
}

#[test]
fn security_updates_may_be_named_in_either_form_and_by_the_release_s_rank() {
    let list = "deb [arch=arm64] http://mirror.example/security stable-security main\n";
    for path in ["etc/apt/sources.list", "etc/apt/sources.list.d/own.list"] {
        let golden = good();
        fs::remove_file(golden.root(SOURCES)).expect("it was there");
        golden.put(path, list);
        let report = judge(&golden.make());
        assert!(report.passed(), "{path}: {report}");
    }
}

#[test]
fn a_site_s_router_and_registry_may_be_the_build_host_s_name_server_and_the_build_host() {
    const ROUTER: &str = "192.168.77.1";
    let judge = |golden: &Golden| {
        let canaries = [(Origin::HostName, HOST), (Origin::Resolver, ROUTER)];
        let canaries = canaries.map(|(origin, text)| Canary::new(origin, text).expect("telling"));
        let options = Options {
            canaries: canaries.into(),
            ..Options::default()
        };
        inspect(&golden.make(), &options).expect("readable")
    };
    let golden = good();
    golden.put(
        "etc/systemd/timesyncd.conf.d/site.conf",
        format!("[Time]\nNTP={ROUTER}\n"),
    );
    golden.put(
        "etc/systemd/resolved.conf.d/site.conf",
        format!("[Resolve]\nDNS={ROUTER}\n"),
    );
    golden.put(
        "etc/rancher/k3s/registries.yaml",
        format!("mirrors:\n  docker.io:\n    endpoint: [\"http://{HOST}:5000\"]\n"),
    );
    let report = judge(&golden);
    assert!(report.passed(), "{report}");
    for text in [ROUTER, HOST] {
        golden.put("etc/motd", format!("ask {text}\n"));
        assert_eq!(failed(&judge(&golden)), BTreeSet::from(["build-host"]));
    }
}

#[test]
fn what_could_not_be_looked_for_is_said() {
    let options = Options {
        not_looked_for: vec![Origin::UserName],
        ..Options::default()
    };
    let report = inspect(&good().make(), &options).expect("readable");
    let line = "not looked for, because too short or too common: the name of the user who built it";
    assert!(report.to_string().contains(line), "{report}");
}

#[test]
fn a_unit_that_is_masked_may_be_enabled() {
    let golden = good();
    let unit = "etc/systemd/system/rpi-eeprom-update.service";
    let wants = "etc/systemd/system/multi-user.target.wants/rpi-eeprom-update.service";
    golden.link("/usr/lib/systemd/system/rpi-eeprom-update.service", wants);
    golden.link("/dev/null", unit);
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
}

#[test]
fn every_unit_that_is_not_enabled_is_found() {
    let golden = good();
    let mut links = BTreeSet::new();
    for (folder, unit) in LINKS {
        let link = format!("etc/systemd/system/{folder}/{unit}");
        fs::remove_file(golden.root(&link)).expect("it was there");
        links.insert(link);
    }
    let report = judge(&golden.make());
    assert_eq!(failed(&report), BTreeSet::from(["units-enabled"]));
    let findings = report.failed().flat_map(|rule| &rule.findings);
    let found: BTreeSet<String> = findings.map(|finding| finding.path.clone()).collect();
    assert_eq!(found, links);
}

#[test]
fn each_supported_board_s_drivers_are_tried() {
    let boards = gild_boards::all().iter().map(|board| &*board.name);
    let boards: BTreeSet<&str> = boards.collect();
    assert_eq!(BTreeSet::from(EARLY.map(|(board, _)| board)), boards);
    assert_eq!(BTreeSet::from(NETWORK.map(|(board, _)| board)), boards);
}

#[test]
fn every_early_module_of_the_board_is_missed() {
    for (board, modules) in EARLY {
        let golden = good();
        golden.of(board);
        let image = golden.make();
        assert!(judge(&image).passed(), "{board}: {}", judge(&image));
        golden.put_boot("initrd.img", initrd_without(modules, &[]));
        let report = judge(&golden.make());
        assert_eq!(failed(&report), BTreeSet::from(["initramfs-modules"]));
        let findings = report.failed().flat_map(|rule| &rule.findings);
        let found: BTreeSet<String> = findings.map(|finding| finding.what.clone()).collect();
        let wanted = modules.iter().map(|name| format!("no module {name}"));
        assert_eq!(found, wanted.collect(), "{board}");
    }
}

#[test]
fn every_module_of_the_board_s_network_is_missed() {
    for (board, modules) in NETWORK {
        let golden = good();
        golden.of(board);
        golden.without_modules(modules);
        let report = judge(&golden.make());
        assert_eq!(failed(&report), BTreeSet::from(["kernel-modules"]));
        let findings = report.failed().flat_map(|rule| &rule.findings);
        let found: Vec<&str> = findings.map(|finding| &*finding.what).collect();
        assert_eq!(found.len(), modules.len(), "{board}: {found:?}");
        for (found, name) in found.iter().zip(modules) {
            assert!(found.starts_with(&format!("no module {name}")), "{found}");
        }
    }
}

#[test]
fn a_vendor_s_kernel_may_have_rp1_built_in_under_its_own_name() {
    let golden = good();
    golden.without_modules(&["rp1_pci", "clk_rp1", "pinctrl_rp1"]);
    let builtin = "kernel/drivers/mfd/rp1.ko\nkernel/drivers/clk/clk-rp1.ko\nkernel/drivers/pinctrl/pinctrl-rp1.ko\n";
    let list = format!("usr/lib/modules/{VERSION}/modules.builtin");
    golden.put(&list, builtin);
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
}

#[test]
fn a_driver_that_the_kernel_does_not_have_as_a_module_is_not_missed() {
    let golden = good();
    golden.without_modules(&["gpio_brcmstb"]);
    golden.put_boot("initrd.img", initrd_without(&["gpio_brcmstb"], &[]));
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
}

#[test]
fn what_is_no_golden_image_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image");
    fs::write(&path, vec![0; 4 << 20]).expect("the disk has room");
    let error = inspect(&path, &Options::default()).expect_err("no partition table");
    assert!(
        error
            .to_string()
            .contains("its partition table is not there; next: "),
        "{error}"
    );
    let error = inspect(&folder.path().join("none"), &Options::default()).expect_err("no file");
    assert!(error.to_string().starts_with("cannot read "), "{error}");
    // The second partition is there, and empty.
    let golden = good();
    let image = golden.make();
    poke(&image, ROOT_START + 1024, &[0; 1024]);
    let error = inspect(&image, &Options::default()).expect_err("no ext4");
    assert!(
        error.to_string().contains("root partition (ext4)"),
        "{error}"
    );
}

/// The good image, with packages that bring the build host's name and a well known key.
fn good() -> Golden {
    let golden = Golden::new();
    let readme = format!("Ask on {HOST} for help.\n");
    golden.package(EXAMPLE, &key());
    golden.package(README, &readme);
    golden.put_boot("initrd.img", initrd(&[(README, readme.as_bytes())]));
    golden
}

/// Paths that a pattern is about: one for each of its alternatives.
fn examples(pattern: &str) -> Vec<String> {
    if let Some(open) = pattern.find('{') {
        let close = open + pattern[open..].find('}').expect("a closed group");
        return pattern[open + 1..close]
            .split(',')
            .flat_map(|one| {
                examples(&format!(
                    "{}{one}{}",
                    &pattern[..open],
                    &pattern[close + 1..]
                ))
            })
            .collect();
    }
    vec![
        pattern
            .replace("[0-9]", "7")
            .replace("**", "x/y")
            .replace('*', "x"),
    ]
}
