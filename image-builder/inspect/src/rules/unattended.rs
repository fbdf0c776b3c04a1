//! Whether a node installs security updates by itself, and nothing else.

use crate::image::Image;
use crate::report::Finding;

use super::apt_conf::{AptConf, FOLDER};
use super::behaviour::is_masked;
use super::held;

/// apt's own: the first fetches the lists, the second starts unattended-upgrades.
const TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];
const WANTED: &str = "etc/systemd/system/timers.target.wants";
const PACKAGE: &str = "unattended-upgrades";
/// Where the origins of packages are named that it installs.
const ORIGINS: [&str; 2] = [
    "Unattended-Upgrade::Origins-Pattern",
    "Unattended-Upgrade::Allowed-Origins",
];

pub fn upgrades(image: &Image) -> Vec<Finding> {
    if image.is_without_security_updates() || image.is_without_unattended_upgrades() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let status = image.root_text(held::STATUS).unwrap_or_default();
    let state = held::states(&status).get(PACKAGE).copied();
    if !state.is_some_and(|state| state.ends_with(" installed")) {
        findings.push(Finding::new(
            held::STATUS,
            format!("{PACKAGE} is not installed"),
        ));
    }
    for timer in TIMERS {
        let link = format!("{WANTED}/{timer}");
        if image.root.kind(&link).is_none() {
            findings.push(Finding::new(link, "is missing"));
        } else if is_masked(image, timer) {
            findings.push(Finding::new(
                format!("etc/systemd/system/{timer}"),
                "is masked",
            ));
        }
    }
    let said = of_apt(&AptConf::of(image));
    findings.extend(said.into_iter().map(|what| Finding::new(FOLDER, what)));
    findings
}

/// What is wrong with apt's configuration.
fn of_apt(conf: &AptConf) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, unless_said) in [
        ("APT::Periodic::Enable", "1"),
        ("APT::Periodic::Update-Package-Lists", "0"),
        ("APT::Periodic::Unattended-Upgrade", "0"),
    ] {
        if conf.value(name).unwrap_or(unless_said) == "0" {
            wrong.push(format!("{name} is off"));
        }
    }
    let reboots = conf.value("Unattended-Upgrade::Automatic-Reboot");
    if reboots.is_some_and(|said| !["false", "no", "off", "0"].contains(&said)) {
        wrong.push("Unattended-Upgrade::Automatic-Reboot is on".to_owned());
    }
    let origins: Vec<&str> = ORIGINS.iter().flat_map(|name| conf.list(name)).collect();
    if origins.is_empty() {
        wrong.push(format!("{} names no origin", ORIGINS[0]));
    }
    let others = origins.into_iter().filter(|origin| !is_security(origin));
    wrong.extend(others.map(|origin| format!("{origin:?} is not the security archive")));
    wrong
}

/// Does a pattern fit the security archive alone? All its parts must fit a package, so one is enough.
fn is_security(pattern: &str) -> bool {
    pattern.split(',').any(|part| {
        let (key, value) = part.split_once('=').unwrap_or(("", part));
        let value = value.trim();
        match key.trim() {
            "label" | "l" => value == "Debian-Security",
            "codename" | "n" | "suite" | "archive" | "a" => value.ends_with("-security"),
            _ => false,
        }
    })
}
