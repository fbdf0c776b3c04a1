//! What starts at the first boot, and what must not.

use std::io::Read;

use crate::image::{Image, missing};
use crate::report::Finding;
use crate::root::Kind;

use super::has_ending;

const SYSTEM: &str = "etc/systemd/system";

/// Units and the folder in which one of them has to be wanted.
pub(super) const ENABLED: [(&[&str], &str); 15] = [
    (&["gild-seed.service"], "cloud-init.target.wants"),
    (&["k3s-init.service"], "cloud-init.target.wants"),
    (&["gild-seed-retry.timer"], "timers.target.wants"),
    (&["gild-mac.service"], "sysinit.target.wants"),
    (&["gild-network.service"], "sysinit.target.wants"),
    (&["gild-on-trial.service"], "sysinit.target.wants"),
    (&["gild-trial-deadline.timer"], "sysinit.target.wants"),
    (&["gild-prove.service"], "multi-user.target.wants"),
    (&["gild-visit-card.service"], "cloud-init.target.wants"),
    (&["ssh.service"], "multi-user.target.wants"),
    (&["systemd-networkd.service"], "multi-user.target.wants"),
    (
        &["systemd-networkd-wait-online.service"],
        "network-online.target.wants",
    ),
    (&["systemd-resolved.service"], "sysinit.target.wants"),
    (&["systemd-timesyncd.service"], "sysinit.target.wants"),
    (
        &["cloud-init-network.service", "cloud-init.service"],
        "cloud-init.target.wants",
    ),
];

/// Units that nothing may want: k3s-init starts the agent, a vendor's first boot is not ours, and nothing writes firmware.
const NOT_ENABLED: [&str; 10] = [
    "k3s-agent.service",
    "k3s.service",
    "gild-seed-retry.service",
    "armbian-firstrun.service",
    "armbian-firstrun-config.service",
    "armbian-resize-filesystem.service",
    "userconfig.service",
    "sshswitch.service",
    "NetworkManager.service",
    "rpi-eeprom-update.service",
];

/// Settings by which a unit starts another one.
const STARTS: [&str; 7] = [
    "Wants",
    "Requires",
    "BindsTo",
    "Upholds",
    "OnSuccess",
    "OnFailure",
    "Unit",
];
/// What k3s-init alone starts.
const K3S: [&str; 2] = ["k3s-agent.service", "k3s.service"];

fn is_wanted(folder: &str) -> bool {
    ["wants", "requires", "upholds"]
        .iter()
        .any(|ending| has_ending(folder, ending))
}

/// Does a line of this unit or drop-in start k3s?
fn starts_k3s(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| STARTS.contains(&key.trim()))
        .flat_map(|(_, units)| units.split_whitespace())
        .any(|unit| K3S.contains(&unit))
}

pub(super) fn is_masked(image: &Image, unit: &str) -> bool {
    let link = image.root.kind(&format!("{SYSTEM}/{unit}"));
    match link {
        Some(Kind::Symlink(target)) => target == "/dev/null",
        link => link == Some(&Kind::File(0)),
    }
}

pub fn units_enabled(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (units, folder) in ENABLED {
        let link = |unit: &&&str| {
            image
                .root
                .kind(&format!("{SYSTEM}/{folder}/{unit}"))
                .is_some()
        };
        let unit = units[0];
        let Some(unit) = units.iter().find(link) else {
            findings.push(Finding::new(
                format!("{SYSTEM}/{folder}/{unit}"),
                "is missing",
            ));
            continue;
        };
        let path = format!("{SYSTEM}/{folder}/{unit}");
        if image.root.resolve(&path).is_none() {
            findings.push(Finding::new(path, "points to no unit"));
        }
        let places = [SYSTEM, "usr/lib/systemd/system"];
        if !places
            .iter()
            .any(|place| image.root.kind(&format!("{place}/{unit}")).is_some())
        {
            findings.push(missing(format!("usr/lib/systemd/system/{unit}")));
        }
    }
    findings
}

pub fn units_not_enabled(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, node) in &image.root.nodes {
        let mut parts = path.rsplit('/');
        let (Some(unit), Some(folder)) = (parts.next(), parts.next()) else {
            continue;
        };
        if matches!(node.kind, Kind::Folder) || !path.contains("systemd/") || !is_wanted(folder) {
            continue;
        }
        // Wanted by multi-user.target, this one closes an ordering cycle, and systemd then leaves out a unit of its choice.
        let cycle = ["k3s-init.service", "gild-seed.service"].contains(&unit)
            && folder != "cloud-init.target.wants";
        if (NOT_ENABLED.contains(&unit) && !is_masked(image, unit)) || cycle {
            findings.push(Finding::new(path, "must not be enabled"));
        }
    }
    let units = image.root.nodes.iter().filter(|(path, node)| {
        path.contains("systemd/system") && matches!(node.kind, Kind::File(_))
    });
    findings.extend(
        units
            .filter(|(path, _)| image.root_text(path).is_some_and(|text| starts_k3s(&text)))
            .map(|(path, _)| Finding::new(path, "must not start the k3s agent")),
    );
    let preset = image
        .root
        .nodes
        .keys()
        .filter(|path| has_ending(path, "preset"))
        .filter_map(|path| image.root_text(path))
        .any(|text| {
            text.lines()
                .any(|line| line.trim() == "disable k3s-agent.service")
        });
    if !preset {
        let place = "usr/lib/systemd/system-preset";
        findings.push(Finding::new(
            place,
            "no preset says `disable k3s-agent.service`",
        ));
    }
    findings
}

/// What belongs to people and not to the system.
pub fn owners(image: &Image) -> Vec<Finding> {
    let is_ordinary = |uid: u32| (1000..65_000).contains(&uid);
    let nodes = image.root.nodes.iter();
    nodes
        .filter(|(path, node)| is_ordinary(node.uid) && !path.starts_with("home/"))
        .map(|(path, node)| Finding::new(path, format!("belongs to user {}", node.uid)))
        .collect()
}

/// An arm64 program that only root can change.
fn program(image: &Image, path: &str) -> Option<Finding> {
    let Some(node) = image.root.nodes.get(path) else {
        return Some(missing(path));
    };
    let mut header = [0; 20];
    let what = if !matches!(node.kind, Kind::File(_)) {
        "is not a regular file"
    } else if node.mode & 0o7777 != 0o755 || node.uid != 0 {
        "is not root's with mode 0755"
    } else if image
        .root
        .file(path)
        .and_then(|mut file| file.read_exact(&mut header))
        .is_err()
    {
        "is not a program"
    } else if &header[..4] != b"\x7fELF" || header[4] != 2 || header[18..20] != [183, 0] {
        "is not a program for arm64"
    } else {
        return None;
    };
    Some(Finding::new(path, what))
}

pub fn gild_programs(image: &Image) -> Vec<Finding> {
    ["usr/lib/gild/gild-seed", "usr/sbin/gild-reprovision"]
        .into_iter()
        .filter_map(|path| program(image, path))
        .collect()
}

pub fn k3s(image: &Image) -> Vec<Finding> {
    if image.is_without_k3s() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = program(image, "usr/local/bin/k3s").into_iter().collect();
    let unit = format!("{SYSTEM}/k3s-agent.service");
    let Some(text) = image.root_text(&unit) else {
        findings.push(missing(unit));
        return findings;
    };
    let drop_ins = image
        .root
        .nodes
        .keys()
        .filter(|path| path.contains("/k3s-agent.service.d/"));
    let mut texts = drop_ins
        .filter_map(|path| image.root_text(path))
        .chain([text]);
    let condition = "ConditionPathExists=/etc/rancher/k3s/config.yaml";
    if !texts.any(|text| text.lines().any(|line| line.trim() == condition)) {
        let what = "starts without a configuration, and then again and again";
        findings.push(Finding::new(unit, what));
    }
    findings
}
