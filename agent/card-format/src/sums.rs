//! `SHA256SUMS`: the digests of what the builder put on the card, as `sha256sum -c` reads them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::names::CONFIG;

/// The list's name.
pub const SUMS: &str = "SHA256SUMS";

/// The list of all these files but `gild.toml`, which an operator may edit.
#[must_use]
pub fn write(files: &BTreeMap<String, Vec<u8>>) -> String {
    let line = |(path, content): (&String, &Vec<u8>)| format!("{}  {path}\n", sha256(content));
    files
        .iter()
        .filter(|(path, _)| path.as_str() != CONFIG)
        .map(line)
        .collect()
}

/// Lower-case hex digits of a SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Digests by path; a line that is not one of a list is an error.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    let line = |line: &str| {
        let (digest, path) = line.split_once("  ")?;
        let is_digest = digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit());
        (is_digest && !path.is_empty()).then(|| (path.to_owned(), digest.to_ascii_lowercase()))
    };
    text.lines()
        .map(|text| {
            line(text).ok_or_else(|| format!("{SUMS} has the line `{text}`, which is not a digest"))
        })
        .collect()
}
