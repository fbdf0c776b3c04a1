//! Nodes that keep their holes.

use super::Defect::Before;
use super::Planted;
use crate::common::{SOURCES, sources};

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "security-updates",
            "no source of them",
            Before(|golden| golden.put(SOURCES, sources("trixie-updates"))),
        ),
        (
            "security-updates",
            "those of another release",
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
