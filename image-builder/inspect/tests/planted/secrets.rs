//! Content that is secret.

use std::fs;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use lzma_rust2::{XzOptions, XzWriter};

use super::Defect::{After, Before};
use super::{EXAMPLE, Planted, key, token};
use crate::common::{debugfs, gzip, initrd};

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
            "k3s-tokens",
            "in the agent's environment",
            Before(|golden| {
                golden.put(
                    "etc/systemd/system/k3s-agent.service.d/x.conf",
                    "[Service]\nEnvironment=K3S_TOKEN=a-password\n",
                );
            }),
        ),
        (
            "k3s-tokens",
            "in a program's arguments",
            Before(|golden| {
                golden.put(
                    "usr/lib/systemd/system/site.service",
                    "[Service]\nExecStart=/usr/local/bin/k3s agent --token a-password\n",
                );
            }),
        ),
        (
            "k3s-tokens",
            "in the kernel",
            Before(|golden| {
                let mut file = fs::OpenOptions::new()
                    .append(true)
                    .open(golden.boot("vmlinuz.gz"))
                    .expect("it was there");
                file.write_all(&gzip(token().as_bytes()))
                    .expect("the disk has room");
            }),
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
        (
            "private-keys",
            "WireGuard's",
            Before(|golden| {
                golden.put(
                    "etc/systemd/network/50-wg0.netdev",
                    format!(
                        "[WireGuard]\nPrivateKey={}=\n",
                        "aB3/".repeat(11).split_at(43).0
                    ),
                );
            }),
        ),
        (
            "private-keys",
            "in a gzip file",
            Before(|golden| golden.put("opt/app/id.gz", gzip(key().as_bytes()))),
        ),
        (
            "private-keys",
            "in a zstd file",
            Before(|golden| {
                let packed = zstd::encode_all(key().as_bytes(), 1).expect("into memory");
                golden.put("opt/app/id.zst", packed);
            }),
        ),
        (
            "private-keys",
            "in an xz file in the initramfs",
            Before(|golden| {
                let mut xz = XzWriter::new(Vec::new(), XzOptions::default()).expect("into memory");
                xz.write_all(key().as_bytes()).expect("into memory");
                let packed = xz.finish().expect("into memory");
                golden.put_boot("initrd.img", initrd(&[("lib/id.xz", &packed)]));
            }),
        ),
        (
            "configured-passwords",
            "a hash",
            Before(|golden| {
                let hash = format!("$6$salt${}", "a".repeat(86));
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    format!("users:\n  - {{name: pi, passwd: {hash}}}\n"),
                );
            }),
        ),
        (
            "configured-passwords",
            "of cloud-init",
            Before(|golden| {
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    "password: correct horse\nssh_pwauth: true\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "of a registry",
            Before(|golden| {
                golden.append(
                    "etc/rancher/k3s/registries.yaml",
                    "configs:\n  registry.example:\n    auth:\n      username: it\n      password: it\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "the login of a registry",
            Before(|golden| {
                golden.append(
                    "etc/rancher/k3s/registries.yaml",
                    "configs:\n  registry.example:\n    auth: {auth: aXQ6aXQ=}\n",
                );
            }),
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
