//! What would make two nodes the same machine.

use crate::image::Image;
use crate::report::Finding;
use crate::root::Kind;

pub fn machine_id(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    let what = match image.root.kind("etc/machine-id") {
        Some(Kind::File(0)) => None,
        Some(Kind::File(_)) => Some("is not empty"),
        Some(_) => Some("is not a regular file"),
        None => Some("is missing; an empty file keeps systemd from its first-boot steps"),
    };
    findings.extend(what.map(|what| Finding::new("etc/machine-id", what)));
    let dbus = "var/lib/dbus/machine-id";
    if !matches!(image.root.kind(dbus), None | Some(Kind::Symlink(_))) {
        let what = "is a separate file, which systemd copies back";
        findings.push(Finding::new(dbus, what));
    }
    findings
}

pub fn host_name(image: &Image) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ["etc/hostname", "etc/machine-info", "etc/mailname"]
        .into_iter()
        .filter(|path| {
            image
                .root_text(path)
                .is_some_and(|text| !text.trim().is_empty())
        })
        .map(|path| Finding::new(path, "is not empty"))
        .collect();
    let hosts = image.root_text("etc/hosts").unwrap_or_default();
    if hosts
        .lines()
        .any(|line| line.trim_start().starts_with("127.0.1.1"))
    {
        findings.push(Finding::new("etc/hosts", "has a line for 127.0.1.1"));
    }
    findings
}

pub fn iscsi(image: &Image) -> Vec<Finding> {
    let path = "etc/iscsi/initiatorname.iscsi";
    let what = match image.root_text(path) {
        // Without open-iscsi there is nothing to name.
        None if image.root.kind("etc/iscsi").is_none() => return Vec::new(),
        None => "is missing, and iscsid does not start without it",
        Some(text) => {
            let mut lines = text.lines().map(str::trim);
            let mut settings = lines
                .by_ref()
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            if settings.next() == Some("GenerateName=yes") && settings.next().is_none() {
                return Vec::new();
            }
            "is not GenerateName=yes"
        }
    };
    vec![Finding::new(path, what)]
}

pub fn resolver(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stub = |target: &str| {
        target.trim_start_matches("../").trim_start_matches('/')
            == "run/systemd/resolve/stub-resolv.conf"
    };
    if !matches!(image.root.kind("etc/resolv.conf"), Some(Kind::Symlink(target)) if stub(target)) {
        let what = "is not the link to systemd-resolved's stub";
        findings.push(Finding::new("etc/resolv.conf", what));
    }
    let copy = "etc/.resolv.conf.systemd-resolved.bak";
    if image.root.kind(copy).is_some() {
        findings.push(Finding::new(copy, "has the build host's name server"));
    }
    findings
}

/// Interfaces that are named or configured by the address of one machine.
pub fn hardware_addresses(image: &Image) -> Vec<Finding> {
    let folders = [
        "etc/systemd/network",
        "etc/netplan",
        "etc/network/interfaces.d",
    ];
    let files = folders
        .into_iter()
        .flat_map(|folder| image.root.in_folder(folder));
    files
        .filter_map(|(path, _)| Some((path, image.root_text(path)?)))
        .filter(|(_, text)| {
            text.lines().any(|line| {
                let line = line.trim().to_lowercase();
                ["macaddress", "permanentmacaddress", "hwaddress"]
                    .iter()
                    .any(|key| line.starts_with(key))
            })
        })
        .map(|(path, _)| Finding::new(path, "has a hardware address"))
        .collect()
}
