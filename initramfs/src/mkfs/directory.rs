//! A directory's bytes: long names, and the short ones that go with them.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one entry.
const ENTRY: usize = 32;
/// Characters of a long name in one entry, and where they are.
const PIECE: usize = 13;
const PIECE_AT: [usize; PIECE] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;
const LAST_PIECE: u8 = 0x40;
/// The first of January 1980.
const DATE: u16 = 0x0021;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    File { cluster: u32, length: u32 },
    Directory { cluster: u32 },
}

/// The names in one directory.
#[derive(Debug)]
pub struct Directory {
    /// With their short names.
    names: BTreeMap<String, [u8; 11]>,
    entries: BTreeMap<String, Entry>,
}

impl Directory {
    pub fn new(names: BTreeSet<String>) -> Self {
        let mut taken = BTreeSet::new();
        let names = names.into_iter().map(|name| {
            let short = short_name(&name, &taken);
            taken.insert(short);
            (name, short)
        });
        Self {
            names: names.collect(),
            entries: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, name: &str, entry: Entry) {
        self.entries.insert(name.to_owned(), entry);
    }

    /// How many bytes it takes: the label in the root, the two names of itself and its parent elsewhere.
    pub fn bytes(&self, is_root: bool) -> usize {
        let own = if is_root { 1 } else { 2 };
        let names: usize = self.names.keys().map(|name| pieces(name).len() + 1).sum();
        (own + names) * ENTRY
    }

    /// The root directory, with the label.
    pub fn root(&self, label: &str) -> Vec<u8> {
        let mut bytes = entry(&padded(label), VOLUME_LABEL, 0, 0).to_vec();
        self.write(&mut bytes);
        bytes
    }

    /// Another directory. A parent that is the root has no number.
    pub fn below(&self, own: u32, parent: Option<u32>) -> Vec<u8> {
        let mut bytes = entry(&padded("."), DIRECTORY, own, 0).to_vec();
        bytes.extend(entry(
            &padded(".."),
            DIRECTORY,
            parent.unwrap_or_default(),
            0,
        ));
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for (name, found) in &self.entries {
            let short = &self.names[name];
            let pieces = pieces(name);
            let mut last = LAST_PIECE;
            for (index, piece) in pieces.iter().enumerate().rev() {
                // A path of the card is far from 255 pieces.
                let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
                bytes.extend(long_entry(piece, number | last, checksum(short)));
                last = 0;
            }
            bytes.extend(match *found {
                Entry::File { cluster, length } => entry(short, ARCHIVE, cluster, length),
                Entry::Directory { cluster } => entry(short, DIRECTORY, cluster, 0),
            });
        }
    }
}

/// A name without a dot, as in an entry.
pub fn padded(name: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..name.len()].copy_from_slice(name.as_bytes());
    short
}

fn entry(short: &[u8; 11], attributes: u8, cluster: u32, length: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
    let cluster = cluster.to_le_bytes();
    put(0, short);
    put(11, &[attributes]);
    // Created, read, written.
    for at in [16, 18, 24] {
        put(at, &DATE.to_le_bytes());
    }
    put(20, &cluster[2..]);
    put(26, &cluster[..2]);
    put(28, &length.to_le_bytes());
    entry
}

/// The pieces of a long name in UTF-16. Empty where the short name says it all.
fn pieces(name: &str) -> Vec<Vec<u16>> {
    if exact(name).is_some() && !name.contains(|c: char| c.is_ascii_lowercase()) {
        return Vec::new();
    }
    let name: Vec<u16> = name.encode_utf16().collect();
    name.chunks(PIECE).map(<[u16]>::to_vec).collect()
}

fn long_entry(piece: &[u16], number: u8, checksum: u8) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[0] = number;
    entry[11] = LONG_NAME;
    entry[13] = checksum;
    // The name ends with a zero, and what is left is filled with ones.
    let rest = [0].into_iter().chain(std::iter::repeat(0xffff));
    for (at, unit) in PIECE_AT.into_iter().zip(piece.iter().copied().chain(rest)) {
        entry[at..at + 2].copy_from_slice(&u16::to_le_bytes(unit));
    }
    entry
}

/// Ties a long name to its short one.
fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-~".contains(c))
}

/// The short name that is the name itself, except for its case.
fn exact(name: &str) -> Option<[u8; 11]> {
    let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
    let fits =
        (1..=8).contains(&stem.len()) && suffix.len() <= 3 && is_plain(stem) && is_plain(suffix);
    fits.then(|| join(stem, suffix))
}

fn join(stem: &str, suffix: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.to_ascii_uppercase().as_bytes());
    short[8..8 + suffix.len()].copy_from_slice(suffix.to_ascii_uppercase().as_bytes());
    short
}

/// A short name that no other has yet.
fn short_name(name: &str, taken: &BTreeSet<[u8; 11]>) -> [u8; 11] {
    if let Some(short) = exact(name).filter(|short| !taken.contains(short)) {
        return short;
    }
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let only = |text: &str| {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
    };
    let (stem, suffix) = (only(stem), only(suffix));
    (1..1_000_000)
        .map(|number| {
            let number = format!("~{number}");
            let stem = &stem[..stem.len().min(8 - number.len())];
            join(&format!("{stem}{number}"), &suffix[..suffix.len().min(3)])
        })
        .find(|short| !taken.contains(short))
        .unwrap_or_else(|| padded("~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_the_long_ones_where_they_can_be() {
        let names = [
            "boot.scr",
            "gild.toml",
            "bcm2712-rpi-5-b.dtb",
            "bcm2712d0-rpi-5-b.dtb",
            "SHA256SUMS",
        ];
        let directory = Directory::new(names.map(str::to_owned).into());
        let short = |name: &str| String::from_utf8_lossy(&directory.names[name]).into_owned();
        assert_eq!(short("boot.scr"), "BOOT    SCR");
        assert_eq!(short("gild.toml"), "GILD~1  TOM");
        assert_eq!(short("bcm2712-rpi-5-b.dtb"), "BCM271~1DTB");
        assert_eq!(short("bcm2712d0-rpi-5-b.dtb"), "BCM271~2DTB");
        assert_eq!(short("SHA256SUMS"), "SHA256~1   ");
    }
}
