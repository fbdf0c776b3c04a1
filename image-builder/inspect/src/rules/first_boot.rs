//! What first boot needs: its units as gild and Debian made them, and the files that they need.

use gild_node::client::authorities;
use gild_node::settings::Settings;

use crate::image::{Image, missing};
use crate::report::Finding;
use crate::root::Kind;

use super::behaviour::{ENABLED, is_masked};
use super::has_ending;
use super::join::SETTINGS;

/// Where systemd looks for units, what counts most first.
const FOLDERS: [&str; 4] = [
    "etc/systemd/system.control",
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];

/// Units that are good as they are. cloud-init's have other names in other releases.
const UNCHANGED: [&str; 14] = [
    "gild-mac.service",
    "gild-network.service",
    "gild-seed.service",
    "gild-seed-retry.service",
    "gild-seed-retry.timer",
    "k3s-init.service",
    "cloud-init.target",
    "cloud-init-main.service",
    "cloud-init-local.service",
    "cloud-init-network.service",
    "cloud-init.service",
    "cloud-config.target",
    "cloud-config.service",
    "cloud-final.service",
];

/// Files, and the place in /etc where a file or a link of the same name would count instead.
const NEEDED: [(&str, &str); 6] = [
    (
        "usr/lib/systemd/network/20-gild-wired.network",
        "etc/systemd/network/20-gild-wired.network",
    ),
    (
        "usr/lib/systemd/system/sshd-keygen.service.d/10-gild.conf",
        "etc/systemd/system/sshd-keygen.service.d/10-gild.conf",
    ),
    (
        "usr/lib/systemd/system/systemd-networkd-wait-online.service.d/10-gild.conf",
        "etc/systemd/system/systemd-networkd-wait-online.service.d/10-gild.conf",
    ),
    ("etc/modules-load.d/gild.conf", ""),
    ("etc/sysctl.d/90-gild.conf", ""),
    ("usr/bin/growpart", ""),
];

pub fn units(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for unit in UNCHANGED {
        let mut copies = FOLDERS.iter().filter_map(|folder| {
            let path = format!("{folder}/{unit}");
            matches!(image.root.kind(&path), Some(Kind::File(_))).then_some(path)
        });
        let counting = copies.next();
        if is_masked(image, unit) {
            findings.push(masked(unit));
        } else if let (Some(path), Some(_)) = (counting, copies.next()) {
            findings.push(Finding::new(path, "replaces the unit of this name"));
        }
        let changes = drop_ins(image, unit).map(|path| {
            let what = format!("changes {unit}");
            Finding::new(path, what)
        });
        findings.extend(changes);
    }
    let enabled = ENABLED.iter().flat_map(|(units, _)| *units);
    for unit in enabled.filter(|unit| !UNCHANGED.contains(unit)) {
        if is_masked(image, unit) {
            findings.push(masked(unit));
        }
        let conditions = drop_ins(image, unit).filter(|path| {
            image
                .root_text(path)
                .is_some_and(|text| text.lines().any(is_condition))
        });
        findings.extend(conditions.map(|path| {
            let what = format!("puts a condition on {unit}");
            Finding::new(path, what)
        }));
    }
    findings
}

fn masked(unit: &str) -> Finding {
    Finding::new(format!("etc/systemd/system/{unit}"), "is masked")
}

/// An empty value takes a condition away.
fn is_condition(line: &str) -> bool {
    let line = line.trim_start();
    let is_one = line.starts_with("Condition") || line.starts_with("Assert");
    is_one
        && line
            .split_once('=')
            .is_some_and(|(_, value)| !value.trim().is_empty())
}

/// What adds to this unit: by its name, by the beginning of its name up to a dash, by its kind.
fn drop_ins<'a>(image: &'a Image, unit: &str) -> impl Iterator<Item = &'a str> {
    let (stem, kind) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let beginnings = stem
        .match_indices('-')
        .map(|(dash, _)| format!("{}.{kind}.d", &stem[..=dash]));
    let names: Vec<String> = [format!("{unit}.d"), format!("{kind}.d")]
        .into_iter()
        .chain(beginnings)
        .collect();
    FOLDERS
        .iter()
        .flat_map(move |folder| {
            let folders = names.iter().map(move |name| format!("{folder}/{name}"));
            folders.collect::<Vec<_>>()
        })
        .flat_map(|folder| image.root.in_folder(&folder))
        .map(|(path, _)| path)
        .filter(|path| has_ending(path, "conf"))
}

/// Read with the node's own code, because that is what decides.
pub fn settings(image: &Image) -> Vec<Finding> {
    let Some(text) = image.root_text(SETTINGS) else {
        return Vec::new();
    };
    let ca = match Settings::parse(&text) {
        Err(error) => return vec![Finding::new(SETTINGS, format!("nodes refuse it: {error}"))],
        Ok(settings) => settings.ca.map(|path| path.display().to_string()),
    };
    let Some(path) = ca else {
        return Vec::new();
    };
    let what = match image.root_text(path.trim_start_matches('/')) {
        None => Some("is missing, and first-boot.toml names it".to_owned()),
        Some(pem) => authorities(pem.as_bytes())
            .err()
            .map(|error| format!("nodes refuse it: {error}")),
    };
    what.map(|what| Finding::new(path, what))
        .into_iter()
        .collect()
}

pub fn files(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, overruling) in NEEDED {
        if image.root_text(path).is_none_or(|text| text.is_empty()) {
            findings.push(missing(path));
        }
        if image.root.kind(overruling).is_some() {
            let what = format!("counts instead of /{path}");
            findings.push(Finding::new(overruling, what));
        }
    }
    findings
}
