//! Secrets in compressed files.

use std::fs;
use std::io::Write;

use lzma_rust2::{XzOptions, XzWriter};

use super::Defect::Before;
use super::{Planted, key, token};
use crate::common::{gzip, initrd};

pub fn defects() -> Vec<Planted> {
    vec![
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
    ]
}
