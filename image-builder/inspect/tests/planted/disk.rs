//! The disk and its file systems.

use std::fs;

use super::Defect::{After, Before, Changed};
use super::{Planted, token};
use crate::common::{SIZE, debugfs, mtools_name, poke, run};

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "partition-table",
            "no backup",
            After(|image| poke(image, SIZE - 512, &[0; 8])),
        ),
        (
            "partition-table",
            "boot code",
            After(|image| poke(image, 100, b"\xeb")),
        ),
        (
            "boot-partition",
            "without the attribute",
            Changed(|golden| {
                golden.boot_partition = golden
                    .boot_partition
                    .replace(", attrs=LegacyBIOSBootable", "");
            }),
        ),
        (
            "boot-partition",
            "another label",
            Changed(|golden| golden.fat_label = "OTHER"),
        ),
        (
            "root-partition",
            "another label",
            Changed(|golden| golden.ext4_label = "other"),
        ),
        (
            "partition-names",
            "a mount that is not there",
            Before(|golden| golden.append("etc/fstab", "UUID=0123-4567 /data vfat defaults 0 0\n")),
        ),
        (
            "partition-names",
            "another root",
            Before(|golden| {
                golden.replace_boot("cmdline.txt", "root=PARTUUID=6", "root=PARTUUID=7");
            }),
        ),
        (
            "commit-record",
            "one byte",
            After(|image| poke(image, 0xff800, b"x")),
        ),
        (
            "unused-space",
            "between the partitions",
            After(|image| poke(image, 3 << 20, b"x")),
        ),
        (
            "unused-space",
            "a deleted file with a token",
            After(|image| {
                let secret = image.with_extension("secret");
                fs::write(&secret, token()).expect("the disk has room");
                debugfs(image, &format!("write {} secret", secret.display()));
                debugfs(image, "rm secret");
            }),
        ),
        (
            "unused-space",
            "a deleted file of the boot partition",
            After(|image| {
                let secret = image.with_extension("secret");
                fs::write(&secret, "a letter").expect("the disk has room");
                let boot = mtools_name(image);
                let path = secret.to_str().expect("a path of the test's own");
                run("mcopy", &["-i", &boot, path, "::/secret"]);
                run("mdel", &["-i", &boot, "::/secret"]);
            }),
        ),
        (
            "file-systems",
            "a wrong count of links",
            After(|image| debugfs(image, "set_inode_field /etc/hosts links_count 2")),
        ),
    ]
}
