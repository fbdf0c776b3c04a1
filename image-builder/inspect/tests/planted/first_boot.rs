//! Ways for a node to come up without an identity.

use std::fs;

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    [units(), files(), nobody_asked()]
        .into_iter()
        .flatten()
        .collect()
}

fn units() -> Vec<Planted> {
    vec![
        (
            "units-not-enabled",
            "the agent, upheld",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.upholds/k3s-agent.service";
                golden.link("/etc/systemd/system/k3s-agent.service", link);
            }),
        ),
        (
            "units-not-enabled",
            "the agent, wanted in a drop-in",
            Before(|golden| {
                golden.put(
                    "etc/systemd/system/multi-user.target.d/x.conf",
                    "[Unit]\nWants=site.service k3s-agent.service\n",
                );
            }),
        ),
        (
            "first-boot-units",
            "cloud-init masked",
            Before(|golden| golden.link("/dev/null", "etc/systemd/system/cloud-init.target")),
        ),
        (
            "first-boot-units",
            "masked by an empty file",
            Before(|golden| golden.put("etc/systemd/system/cloud-init-local.service", "")),
        ),
        (
            "first-boot-units",
            "the network masked",
            Before(|golden| {
                golden.link("/dev/null", "etc/systemd/system/systemd-networkd.service");
            }),
        ),
        (
            "first-boot-units",
            "an ordering cycle by a drop-in",
            Before(|golden| {
                golden.put(
                    "etc/systemd/system/gild-seed.service.d/x.conf",
                    "[Unit]\nAfter=network-online.target\n",
                );
            }),
        ),
        (
            "first-boot-units",
            "a drop-in for all whose names begin alike",
            Before(|golden| {
                golden.put(
                    "usr/local/lib/systemd/system/cloud-.service.d/x.conf",
                    "[Service]\nExecStart=\n",
                );
            }),
        ),
        (
            "first-boot-units",
            "another unit instead of it",
            Before(|golden| golden.put("etc/systemd/system/k3s-init.service", "[Unit]\n")),
        ),
        (
            "first-boot-units",
            "a condition on ssh",
            Before(|golden| {
                golden.put(
                    "etc/systemd/system/ssh.service.d/x.conf",
                    "[Unit]\nConditionPathExists=/nowhere\n",
                );
            }),
        ),
    ]
}

fn files() -> Vec<Planted> {
    vec![
        (
            "first-boot-settings",
            "an unknown word",
            Before(|golden| golden.put("etc/gild/first-boot.toml", "match_box = \"http://m\"\n")),
        ),
        (
            "first-boot-settings",
            "no certificates",
            Before(|golden| {
                golden.put(
                    "etc/gild/first-boot.toml",
                    "matchbox = \"https://m.example\"\nca = \"/etc/gild/ca.pem\"\n",
                );
            }),
        ),
        (
            "first-boot-settings",
            "certificates that are none",
            Before(|golden| {
                golden.put("etc/gild/ca.pem", "-----BEGIN CERTIFICATE-----\nx\n");
                golden.put(
                    "etc/gild/first-boot.toml",
                    "matchbox = \"https://m.example\"\nca = \"/etc/gild/ca.pem\"\n",
                );
            }),
        ),
        (
            "first-boot-files",
            "the disk does not grow",
            Before(|golden| {
                fs::remove_file(golden.root("usr/bin/growpart")).expect("it was there");
            }),
        ),
        (
            "first-boot-files",
            "no network, by a link in /etc",
            Before(|golden| {
                golden.link("/dev/null", "etc/systemd/network/20-gild-wired.network");
            }),
        ),
    ]
}

fn nobody_asked() -> Vec<Planted> {
    const SETTINGS: &str = "etc/gild/first-boot.toml";
    vec![
        (
            "matchbox",
            "no settings",
            Before(|golden| fs::remove_file(golden.root(SETTINGS)).expect("it was there")),
        ),
        (
            "matchbox",
            "settings without an address",
            Before(|golden| golden.put(SETTINGS, "deadline_seconds = 300\n")),
        ),
        (
            "matchbox",
            "the decision, taken back",
            Before(|golden| golden.put(SETTINGS, "without_matchbox = false\n")),
        ),
        (
            "matchbox",
            "the node's own address",
            Before(|golden| golden.put(SETTINGS, "matchbox = \"http://localhost:8080\"\n")),
        ),
    ]
}
