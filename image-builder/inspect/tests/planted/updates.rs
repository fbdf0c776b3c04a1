//! Nodes that do not get security updates.

use std::fs;

use super::Defect::Before;
use super::Planted;
use crate::common::{SOURCES, UPGRADES, sources};

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "security-updates",
            "no source of them",
            Before(|golden| golden.put(SOURCES, sources("trixie-updates"))),
        ),
        (
            "security-updates",
            "the updates of another release",
            Before(|golden| golden.put(SOURCES, sources("bookworm-security"))),
        ),
        (
            "security-updates",
            "switched off",
            Before(|golden| {
                let text = sources("trixie-security").replace("Types:", "Enabled: no\nTypes:");
                golden.put(SOURCES, text);
            }),
        ),
        (
            "security-updates",
            "a part of them without the main one",
            Before(|golden| {
                let text = sources("trixie-security").replace("main", "non-free-firmware");
                golden.put(SOURCES, text);
            }),
        ),
        (
            "security-updates",
            "on the node itself",
            Before(|golden| {
                let text = sources("trixie-security").replace("mirror.example", "localhost:3142");
                golden.put(SOURCES, text);
            }),
        ),
        (
            "security-updates",
            "a list that apt does not read",
            Before(|golden| {
                golden.put(SOURCES, sources("trixie-updates"));
                let list = "deb http://mirror.example/security trixie-security main\n";
                golden.put("etc/apt/sources.list.d/security.list.off", list);
            }),
        ),
        (
            "security-updates",
            "a release without a name",
            Before(|golden| golden.put("usr/lib/os-release", "ID=debian\n")),
        ),
    ]
}

/// A file of the site's.
const OWN: &str = "etc/apt/apt.conf.d/99own";

pub fn unattended() -> Vec<Planted> {
    let rule = "unattended-upgrades";
    vec![
        (
            rule,
            "no such package",
            Before(|golden| {
                let status = "var/lib/dpkg/status";
                let text = fs::read_to_string(golden.root(status)).expect("it was there");
                golden.put(
                    status,
                    text.replace("Package: unattended-upgrades", "Package: other"),
                );
            }),
        ),
        (
            rule,
            "a timer that is not enabled",
            Before(|golden| {
                let link = "etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer";
                fs::remove_file(golden.root(link)).expect("it was there");
            }),
        ),
        (
            rule,
            "a timer that is masked",
            Before(|golden| golden.link("/dev/null", "etc/systemd/system/apt-daily.timer")),
        ),
        (
            rule,
            "a service that is masked",
            Before(|golden| {
                golden.link("/dev/null", "etc/systemd/system/apt-daily-upgrade.service");
            }),
        ),
        (
            rule,
            "a timer that leads nowhere",
            Before(|golden| {
                let unit = "usr/lib/systemd/system/apt-daily.timer";
                fs::remove_file(golden.root(unit)).expect("it was there");
            }),
        ),
    ]
}

/// In apt's configuration.
pub fn configured() -> Vec<Planted> {
    let rule = "unattended-upgrades";
    vec![
        (
            rule,
            "all packages kept back",
            Before(|golden| {
                golden.put(OWN, "Unattended-Upgrade::Package-Blacklist { \".*\"; };\n");
            }),
        ),
        (
            rule,
            "all packages but one kept back",
            Before(|golden| {
                golden.put(OWN, "Unattended-Upgrade::Package-Whitelist { \"vim\"; };\n");
            }),
        ),
        (
            rule,
            "a file of apt's that names another",
            Before(|golden| golden.put(OWN, "#include \"/etc/site/apt.conf\";\n")),
        ),
        (
            rule,
            "switched off",
            Before(|golden| golden.put(OWN, "APT::Periodic::Unattended-Upgrade \"0\";\n")),
        ),
        (
            rule,
            "lists that nobody fetches",
            Before(|golden| golden.put(OWN, "apt { periodic { update-package-lists 0; }; };\n")),
        ),
        (
            rule,
            "all of apt's timers without effect",
            Before(|golden| golden.put("etc/apt/apt.conf", "APT::Periodic::Enable \"0\";\n")),
        ),
        (
            rule,
            "restarts by itself",
            Before(|golden| golden.put(OWN, "Unattended-Upgrade::Automatic-Reboot \"true\";\n")),
        ),
        (
            rule,
            "all that Debian has",
            Before(|golden| {
                let more =
                    "Unattended-Upgrade::Origins-Pattern:: \"origin=Debian,label=Debian\";\n";
                golden.put(OWN, more);
            }),
        ),
        (
            rule,
            "nothing to install",
            Before(|golden| golden.put(OWN, "#clear Unattended-Upgrade::Origins-Pattern;\n")),
        ),
        (
            rule,
            "only what the package says",
            Before(|golden| {
                let text = fs::read_to_string(golden.root(UPGRADES)).expect("it was there");
                golden.put(UPGRADES, text.replace("#clear", "# clear"));
            }),
        ),
    ]
}
