//! Stand-ins for the vendors' files, made from the documented formats. They contain no vendor's program, because this
//! project may not distribute one. For tests only.
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test that cannot have its files panics, and none makes files that it does not use"
)]

mod campaign;
mod eeprom;
mod elf;
mod u_boot;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

pub use campaign::Campaign;
pub use eeprom::{
    BOOTCODE, CONFIG, FILE, LZ4_MODULE, MODULE, PADDING, eeprom_2711, eeprom_2712, eeprom_ab, file,
    section,
};
pub use elf::{elf, elf32};
pub use u_boot::{FitSettings, MAINLINE, ROCK5B, Workshop};

/// Bytes that do not repeat soon.
pub fn pattern(length: usize) -> Vec<u8> {
    bytes(length, |i| i * 7 + 3)
}

pub(crate) fn bytes(length: usize, at: impl Fn(usize) -> usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(at(i) % 256).expect("a byte"))
        .collect()
}

/// The digest, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Runs a tool of the field in this folder. It must be installed: `toolchain/setup` does that.
pub fn run<S: AsRef<OsStr>>(
    folder: &Path,
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("SOURCE_DATE_EPOCH", "1750000000")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} (make setup installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}{said}");
    said
}
