//! Identity, and what is left behind.

use std::fs;

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "machine-id",
            "one",
            Before(|golden| golden.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")),
        ),
        (
            "machine-id",
            "uninitialized",
            Before(|golden| golden.put("etc/machine-id", "uninitialized\n")),
        ),
        (
            "machine-id",
            "dbus",
            Before(|golden| golden.put("var/lib/dbus/machine-id", "")),
        ),
        (
            "host-name",
            "one",
            Before(|golden| golden.put("etc/hostname", "node\n")),
        ),
        (
            "host-name",
            "one, by a link",
            Before(|golden| {
                golden.put("usr/share/site/name", "node\n");
                golden.link("/usr/share/site/name", "etc/hostname");
            }),
        ),
        (
            "host-name",
            "in hosts",
            Before(|golden| golden.append("etc/hosts", "127.0.1.1 node\n")),
        ),
        (
            "iscsi-name",
            "a fixed one",
            Before(|golden| {
                golden.put(
                    "etc/iscsi/initiatorname.iscsi",
                    "InitiatorName=iqn.1993-08.org.debian:01:abc\n",
                );
            }),
        ),
        (
            "name-server",
            "a file",
            Before(|golden| {
                fs::remove_file(golden.root("etc/resolv.conf")).expect("it was there");
                golden.put("etc/resolv.conf", "nameserver 192.0.2.1\n");
            }),
        ),
        (
            "hardware-addresses",
            "a link file",
            Before(|golden| {
                golden.put(
                    "etc/systemd/network/10-eth.link",
                    "[Match]\nMACAddress=02:00:00:00:00:01\n",
                );
            }),
        ),
        (
            "logs",
            "one line",
            Before(|golden| golden.put("var/log/dpkg.log", "installed\n")),
        ),
        (
            "dumps-and-swap",
            "a core",
            Before(|golden| golden.put("core", "memory")),
        ),
    ]
}
