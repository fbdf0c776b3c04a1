//! Content that is secret.

use std::fs;

use super::Defect::{After, Before};
use super::{EXAMPLE, Planted, key, token};
use crate::common::{debugfs, initrd};

pub fn defects() -> Vec<Planted> {
    vec![
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
                );
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
            "private-keys",
            "another one in a package's example",
            Before(|golden| golden.append(EXAMPLE, &key())),
        ),
        (
            "private-keys",
            "in a package that is not known for it",
            Before(|golden| golden.package("usr/share/site/key", &key())),
        ),
        (
            "k3s-tokens",
            "across two blocks",
            Before(|golden| {
                golden.put(
                    "opt/app/state",
                    format!("{}{}", " ".repeat(4096 - 30), token()),
                );
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
    ]
}
