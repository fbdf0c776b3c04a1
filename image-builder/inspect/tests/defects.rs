//! One planted defect for every rule: that rule finds it, and no other does.
//!
//! The images are real: partition tables, file systems and their free space; see `common` for what in them is not.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{BOOT_START, Golden, ROOT_START, SIZE, debugfs, initrd, mtools_name, poke, run};
use gild_inspect::{Canary, Options, Origin, RULES, Report, inspect};

const HOST: &str = "anvil-7x";
const GIVEN: &str = "the operator's own words";

fn token() -> String {
    format!("K10{}::server:not-a-real-one", "0a1b".repeat(16))
}

fn key() -> String {
    let body = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2";
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
}

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

/// What goes wrong: before the image is made, or in the finished image.
enum Defect {
    Before(fn(&Golden)),
    Changed(fn(&mut Golden)),
    After(fn(&Path)),
}

use Defect::{After, Before, Changed};

/// Defects beside those that follow from a rule's own list of paths.
fn defects() -> Vec<(&'static str, &'static str, Defect)> {
    vec![
        (
            "partition-table",
            "no backup",
            After(|image| poke(image, SIZE - 512, &[0; 8])),
        ),
        (
            "partition-table",
            "boot code",
            After(|image| poke(image, 100, b"\xeb")),
        ),
        (
            "boot-partition",
            "without the attribute",
            Changed(|golden| {
                golden.boot_partition = golden
                    .boot_partition
                    .replace(", attrs=LegacyBIOSBootable", "")
            }),
        ),
        (
            "boot-partition",
            "another label",
            Changed(|golden| golden.fat_label = "OTHER"),
        ),
        (
            "root-partition",
            "another label",
            Changed(|golden| golden.ext4_label = "other"),
        ),
        (
            "partition-names",
            "a mount that is not there",
            Before(|golden| golden.append("etc/fstab", "UUID=0123-4567 /data vfat defaults 0 0\n")),
        ),
        (
            "partition-names",
            "another root",
            Before(|golden| {
                golden.replace_boot("cmdline.txt", "root=PARTUUID=6", "root=PARTUUID=7")
            }),
        ),
        (
            "commit-record",
            "one byte",
            After(|image| poke(image, 0xff800, b"x")),
        ),
        (
            "unused-space",
            "between the partitions",
            After(|image| poke(image, 3 << 20, b"x")),
        ),
        (
            "unused-space",
            "a deleted file with a token",
            After(|image| {
                let secret = image.with_extension("secret");
                fs::write(&secret, token()).expect("the disk has room");
                debugfs(image, &format!("write {} secret", secret.display()));
                debugfs(image, "rm secret");
            }),
        ),
        (
            "unused-space",
            "a deleted file of the boot partition",
            After(|image| {
                let secret = image.with_extension("secret");
                fs::write(&secret, "a letter").expect("the disk has room");
                let boot = mtools_name(image);
                let path = secret.to_str().expect("a path of the test's own");
                run("mcopy", &["-i", &boot, path, "::/secret"]);
                run("mdel", &["-i", &boot, "::/secret"]);
            }),
        ),
        (
            "file-systems",
            "a wrong count of links",
            After(|image| debugfs(image, "set_inode_field /etc/hosts links_count 2")),
        ),
        (
            "boot-files",
            "no device tree",
            Before(|golden| {
                fs::remove_file(golden.boot("bcm2712-rpi-5-b.dtb")).expect("it was there")
            }),
        ),
        (
            "boot-files",
            "a file that config.txt names",
            Before(|golden| golden.replace_boot("config.txt", "[all]", "[all]\ndtoverlay=vc4")),
        ),
        (
            "boot-file-sizes",
            "a long initramfs",
            Changed(|golden| {
                golden.boot_mib = 80;
                let mut bytes = initrd(&["nvme", "ext4"], &[]);
                bytes.resize(32 << 20, 0);
                golden.put_boot("initrd.img", bytes);
            }),
        ),
        (
            "kernel-page-size",
            "16 KiB",
            Before(|golden| golden.kernel(2)),
        ),
        (
            "kernel-arguments",
            "the wizard",
            Before(|golden| golden.replace_boot("cmdline.txt", "systemd.firstboot=off", "")),
        ),
        (
            "kernel-arguments",
            "no memory controller",
            Before(|golden| {
                golden.replace_boot("cmdline.txt", "rootwait", "cgroup_disable=memory")
            }),
        ),
        (
            "kernel-modules",
            "listed, not there",
            Before(|golden| {
                let path = format!("usr/lib/modules/{}/kernel/ip-vs-sh.ko.xz", common::VERSION);
                fs::remove_file(golden.root(&path)).expect("it was there");
            }),
        ),
        (
            "initramfs-modules",
            "no nvme",
            Before(|golden| golden.put_boot("initrd.img", initrd(&["ext4"], &[]))),
        ),
        (
            "image-id",
            "two ids",
            Before(|golden| golden.replace_boot("gild-image.env", "0123", "3210")),
        ),
        (
            "machine-id",
            "one",
            Before(|golden| golden.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")),
        ),
        (
            "machine-id",
            "uninitialized",
            Before(|golden| golden.put("etc/machine-id", "uninitialized\n")),
        ),
        (
            "machine-id",
            "dbus",
            Before(|golden| golden.put("var/lib/dbus/machine-id", "")),
        ),
        (
            "host-name",
            "one",
            Before(|golden| golden.put("etc/hostname", "node\n")),
        ),
        (
            "host-name",
            "in hosts",
            Before(|golden| golden.append("etc/hosts", "127.0.1.1 node\n")),
        ),
        (
            "iscsi-name",
            "a fixed one",
            Before(|golden| {
                golden.put(
                    "etc/iscsi/initiatorname.iscsi",
                    "InitiatorName=iqn.1993-08.org.debian:01:abc\n",
                )
            }),
        ),
        (
            "name-server",
            "a file",
            Before(|golden| {
                fs::remove_file(golden.root("etc/resolv.conf")).expect("it was there");
                golden.put("etc/resolv.conf", "nameserver 192.0.2.1\n");
            }),
        ),
        (
            "hardware-addresses",
            "a link file",
            Before(|golden| {
                golden.put(
                    "etc/systemd/network/10-eth.link",
                    "[Match]\nMACAddress=02:00:00:00:00:01\n",
                )
            }),
        ),
        (
            "logs",
            "one line",
            Before(|golden| golden.put("var/log/dpkg.log", "installed\n")),
        ),
        (
            "dumps-and-swap",
            "a core",
            Before(|golden| golden.put("core", "memory")),
        ),
        (
            "passwords",
            "a hash",
            Before(|golden| golden.append("etc/shadow", "pi:$y$j9T$x$y:20000::::::\n")),
        ),
        (
            "passwords",
            "none at all",
            Before(|golden| golden.append("etc/shadow", "pi::20000::::::\n")),
        ),
        (
            "private-keys",
            "in a file",
            Before(|golden| golden.put("opt/app/id", key())),
        ),
        (
            "private-keys",
            "on the boot partition",
            Before(|golden| golden.put_boot("notes.txt", key())),
        ),
        (
            "private-keys",
            "in the initramfs",
            Before(|golden| {
                golden.put_boot(
                    "initrd.img",
                    initrd(&["nvme", "ext4"], &[("conf/key", &key())]),
                )
            }),
        ),
        (
            "private-keys",
            "in an extended attribute",
            After(|image| {
                let value = image.with_extension("value");
                fs::write(&value, key()).expect("the disk has room");
                debugfs(
                    image,
                    &format!("ea_set -f {} /etc/hosts user.note", value.display()),
                );
            }),
        ),
        (
            "k3s-tokens",
            "across two blocks",
            Before(|golden| {
                golden.put(
                    "opt/app/state",
                    format!("{}{}", " ".repeat(4096 - 30), token()),
                )
            }),
        ),
        (
            "k3s-tokens",
            "deep in a big file",
            Before(|golden| {
                let mut bytes = vec![0; 7 << 20];
                bytes[(5 << 20) - 7..][..token().len()].copy_from_slice(token().as_bytes());
                golden.put("usr/lib/big", bytes);
            }),
        ),
        (
            "k3s-tokens",
            "in a link",
            Before(|golden| golden.link(&token(), "opt/link")),
        ),
        (
            "bootstrap-tokens",
            "in a configuration",
            Before(|golden| golden.put("opt/app/config.yaml", "token: abcdef.0123456789abcdef\n")),
        ),
        (
            "wifi-passphrases",
            "in a configuration",
            Before(|golden| golden.put("etc/wifi.conf", "network={\n  psk=\"correct horse\"\n}\n")),
        ),
        (
            "url-credentials",
            "a mirror's",
            Before(|golden| {
                golden.put(
                    "etc/apt/sources.list.d/site.list",
                    "deb https://me:secret@deb.example.org trixie main\n",
                );
            }),
        ),
        (
            "build-host",
            "in a file",
            Before(|golden| golden.put("etc/motd", format!("made on {HOST}\n"))),
        ),
        (
            "build-host",
            "as a name",
            Before(|golden| golden.put(&format!("opt/{HOST}"), "x")),
        ),
        (
            "build-host",
            "changed after the package",
            Before(|golden| golden.append("usr/share/doc/forge/README", "!\n")),
        ),
        (
            "canaries",
            "in a word",
            Before(|golden| golden.put("opt/app/x", format!("xx{GIVEN}xx"))),
        ),
        (
            "units-enabled",
            "no ssh",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/ssh.service";
                fs::remove_file(golden.root(link)).expect("it was there");
            }),
        ),
        (
            "units-not-enabled",
            "the agent",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/k3s-agent.service";
                golden.link("/etc/systemd/system/k3s-agent.service", link);
            }),
        ),
        (
            "units-not-enabled",
            "an ordering cycle",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/k3s-init.service";
                golden.link("/usr/lib/systemd/system/k3s-init.service", link);
            }),
        ),
        (
            "cloud-init-source",
            "a second source",
            Before(|golden| {
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    "datasource_list: [ NoCloud, None ]\n",
                )
            }),
        ),
        (
            "gild-programs",
            "of another mode",
            Before(|golden| {
                let mode = fs::Permissions::from_mode(0o777);
                fs::set_permissions(golden.root("usr/lib/gild/gild-seed"), mode).expect("own file");
            }),
        ),
        (
            "k3s-program",
            "missing",
            Before(|golden| {
                fs::remove_file(golden.root("usr/local/bin/k3s")).expect("it was there")
            }),
        ),
    ]
}

fn failed(report: &Report) -> BTreeSet<&str> {
    report.failed().map(|rule| rule.id).collect()
}

#[test]
fn a_good_image_passes_every_rule() {
    let golden = good();
    let report = judge(&golden.make());
    assert!(report.passed(), "{report}");
    assert_eq!(report.rules.len(), RULES.len());
    assert_eq!(report.image_id.as_deref(), Some("rpi5-0123456789ab"));
    assert_eq!(report.image_size, SIZE);
    assert_eq!((BOOT_START, ROOT_START), (16 << 20, 96 << 20));
}

#[test]
fn each_defect_is_found_by_its_rule_and_by_no_other() {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (rule, what, defect) in defects() {
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
            wrong.push(format!("{rule}: {what}: {report}"));
        }
        let json = serde_json::to_string(&report).expect("plain data");
        for secret in [token(), key(), HOST.to_owned(), GIVEN.to_owned()] {
            let is_name = what == "as a name" || what == "in a link";
            assert!(
                is_name || !json.contains(&secret),
                "{what}: the report quotes it"
            );
        }
        seen.insert(rule);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let paths = RULES.iter().filter(|rule| !rule.paths().is_empty());
    seen.extend(paths.map(|rule| rule.id));
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(seen, all, "every rule has a defect");
}

#[test]
fn each_forbidden_path_is_found_by_its_rule_and_by_no_other() {
    let mut wrong = Vec::new();
    for rule in RULES.iter().filter(|rule| !rule.paths().is_empty()) {
        let golden = good();
        let denied = rule
            .paths()
            .iter()
            .filter(|pattern| !pattern.starts_with('!'));
        let paths: BTreeSet<String> = denied.flat_map(|pattern| examples(pattern)).collect();
        // What may be empty is found when it is not.
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
            wrong.push(format!("{}: planted {paths:?}: {report}", rule.id));
        }
    }
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
fn an_image_without_k3s_says_so() {
    let golden = good();
    fs::remove_file(golden.root("usr/local/bin/k3s")).expect("it was there");
    golden.append("usr/lib/gild/image-release", "GILD_K3S=none\n");
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
            .ends_with("its partition table is not there"),
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

/// The good image, with the sum of the file that names the build host.
fn good() -> Golden {
    let golden = Golden::new();
    let output = std::process::Command::new("md5sum")
        .arg(golden.root("usr/share/doc/forge/README"))
        .output()
        .expect("coreutils");
    let sum = String::from_utf8_lossy(&output.stdout)[..32].to_owned();
    let line = format!("{sum}  usr/share/doc/forge/README\n");
    golden.append("var/lib/dpkg/info/forge.md5sums", &line);
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
