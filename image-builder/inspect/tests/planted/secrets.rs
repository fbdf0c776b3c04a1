//! Content that is secret wherever it is.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Defect::{After, Before};
use super::{EXAMPLE, Planted, key, token};
use crate::common::{debugfs, initrd};

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "private-keys",
            "in DER",
            Before(|golden| {
                // PKCS #8, Ed25519.
                let head = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
                golden.put("opt/app/tls.der", [&head[..], &[0xa5; 32]].concat());
            }),
        ),
        (
            "k3s-tokens",
            "in a script of the site's",
            Before(|golden| {
                golden.put(
                    "usr/local/bin/join",
                    "#!/bin/sh\nexport K3S_TOKEN=a-password\n",
                );
            }),
        ),
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
                golden.put_boot("initrd.img", initrd(&[("conf/key", key().as_bytes())]));
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
            "private-keys",
            "in a kubeconfig",
            Before(|golden| {
                golden.put(
                    "opt/admin.yaml",
                    format!("    client-key-data: {}\n", STANDARD_NO_PAD.encode(key())),
                );
            }),
        ),
    ]
}
