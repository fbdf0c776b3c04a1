//! Texts of the build host and of the operator.

use super::Defect::Before;
use super::{GIVEN, HOST, Planted, README};
use crate::common::initrd;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "build-host",
            "in the initramfs, other than in the package",
            Before(|golden| {
                golden.put_boot("initrd.img", initrd(&[(README, HOST.as_bytes())]));
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
            Before(|golden| golden.append(README, "!\n")),
        ),
        (
            "canaries",
            "in a word",
            Before(|golden| golden.put("opt/app/x", format!("xx{GIVEN}xx"))),
        ),
    ]
}
