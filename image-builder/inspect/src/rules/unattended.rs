//! Whether a node installs security updates by itself, and nothing else.

use regex::Regex;

use crate::image::Image;
use crate::report::Finding;

use super::apt_conf::{AptConf, FOLDER};
use super::behaviour::is_masked;
use super::held;

/// apt's own: the first fetches the lists, the second starts unattended-upgrades.
const TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];
/// What the timers start.
const SERVICES: [&str; 2] = ["apt-daily.service", "apt-daily-upgrade.service"];
const WANTED: &str = "etc/systemd/system/timers.target.wants";
const PACKAGE: &str = "unattended-upgrades";
/// Where the origins of packages are named that it installs.
const ORIGINS: [&str; 2] = [
    "Unattended-Upgrade::Origins-Pattern",
    "Unattended-Upgrade::Allowed-Origins",
];

/// Names that no package has: a configuration that holds these back means all packages, or whole letters of them.
const NOBODY: &str = "0gild-probe";

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
        } else if !is_masked(image, timer) && image.root.resolve(&link).is_none() {
            findings.push(Finding::new(link, "points to no unit"));
        }
    }
    let masked = TIMERS
        .iter()
        .chain(&SERVICES)
        .filter(|unit| is_masked(image, unit));
    findings
        .extend(masked.map(|unit| Finding::new(format!("etc/systemd/system/{unit}"), "is masked")));
    let said = of_apt(&AptConf::of(image));
    findings.extend(said.into_iter().map(|what| Finding::new(FOLDER, what)));
    findings
}

/// What is wrong with apt's configuration.
fn of_apt(conf: &AptConf) -> Vec<String> {
    let mut wrong = Vec::new();
    if conf.includes_others() {
        wrong.push("#include has apt read other files, which gild does not check".to_owned());
    }
    for (name, unless_said) in [
        ("APT::Periodic::Enable", "1"),
        ("APT::Periodic::Update-Package-Lists", "0"),
        ("APT::Periodic::Unattended-Upgrade", "0"),
    ] {
        if conf.value(name).unwrap_or(unless_said) == "0" {
            wrong.push(format!("{name} is off"));
        }
    }
    let kept_back = conf.list("Unattended-Upgrade::Package-Blacklist");
    let kept_back = kept_back.into_iter().filter(|pattern| fits_all(pattern));
    wrong.extend(kept_back.map(|pattern| {
        format!(
            "Unattended-Upgrade::Package-Blacklist holds back all packages that match {pattern:?}"
        )
    }));
    if !conf
        .list("Unattended-Upgrade::Package-Whitelist")
        .is_empty()
    {
        wrong
            .push("Unattended-Upgrade::Package-Whitelist holds back all other packages".to_owned());
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

/// Does a pattern of packages' names fit more than a few? It is Python's, and fits from the beginning of a name.
fn fits_all(pattern: &str) -> bool {
    let Ok(pattern) = Regex::new(&format!("^(?:{pattern})")) else {
        return true;
    };
    let first = ('a'..='z').chain('0'..='9').map(String::from);
    first
        .chain(["lib".to_owned()])
        .any(|first| pattern.is_match(&format!("{first}{NOBODY}")))
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

#[cfg(test)]
mod tests {
    use super::fits_all;

    #[test]
    fn a_package_may_be_kept_back_and_not_all() {
        for pattern in [".*", "", ".", "^", "[a-z]", "l", "lib", "(?!linux)", "("] {
            assert!(fits_all(pattern), "{pattern}");
        }
        for pattern in ["linux-", "libc6$", "vim", "python3.*"] {
            assert!(!fits_all(pattern), "{pattern}");
        }
    }
}
