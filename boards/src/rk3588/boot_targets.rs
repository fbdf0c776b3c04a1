//! The boot order inside U-Boot: the variable `boot_targets` of its built-in environment.
//!
//! Mainline U-Boot for the Rock 5B keeps no environment, so the order can only be changed inside U-Boot itself.
//! The text keeps its length; the hash of the image around it is made again.

use std::ops::Range;

use memchr::{memchr, memmem};
use thiserror::Error;

use super::Image;
use crate::fit::{self, Fit, hash};
use crate::wire::put;

/// The order that gild wants, as far as a U-Boot knows its names: NVMe, SD card, eMMC.
pub const NVME_FIRST: [&str; 3] = ["nvme", "mmc1", "mmc0"];

const VARIABLE: &[u8] = b"boot_targets=";

/// Why the boot order cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootTargetsError {
    /// The variable is not there, or more than once.
    #[error(
        "it has {0} default boot orders (`boot_targets=`) instead of 1: build a U-Boot with the wanted BOOT_TARGETS"
    )]
    NotOne(usize),
    /// U-Boot is compressed.
    #[error(
        "its image `{name}` is compressed ({compression}), and the boot order with it: build U-Boot uncompressed, or with the wanted BOOT_TARGETS"
    )]
    Compressed {
        /// The image in the FIT.
        name: String,
        /// How it is compressed.
        compression: String,
    },
    /// The FIT is signed.
    #[error(
        "its FIT is signed: a change would make the signature wrong; build and sign a U-Boot with the wanted BOOT_TARGETS"
    )]
    Signed,
    /// The variable is not in an image that has a hash.
    #[error("its boot order is outside the images of the FIT")]
    Outside,
    /// The value is not a list of names.
    #[error("its boot order is not a list of names")]
    Value,
    /// The image has a hash that cannot be made.
    #[error(
        "its image `{name}` has a hash of the kind `{algorithm}`, which this program cannot make"
    )]
    Algorithm {
        /// The image in the FIT.
        name: String,
        /// The hash's algorithm.
        algorithm: String,
    },
    /// A wanted name is not in the list, so the list would get longer.
    #[error("it cannot boot from `{wanted}`: it knows {known}")]
    Unknown {
        /// The name that was asked for.
        wanted: String,
        /// The names that it knows.
        known: String,
    },
    /// A name was asked for twice.
    #[error("`{0}` is named twice")]
    Twice(String),
}

impl Image {
    /// The default boot order, first to last.
    pub fn boot_targets(&self) -> Result<Vec<String>, BootTargetsError> {
        let (_, place) = self.find_boot_targets()?;
        let names = self.names(place)?;
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Whether the default boot order begins with the NVMe disk.
    pub fn is_nvme_first(&self) -> Result<bool, BootTargetsError> {
        Ok(self
            .boot_targets()?
            .first()
            .is_some_and(|name| name == NVME_FIRST[0]))
    }

    /// Whether the SD card comes after the NVMe disk: what a board starts from when the disk is empty.
    pub fn is_nvme_then_card(&self) -> Result<bool, BootTargetsError> {
        let names = self.boot_targets()?;
        let is_card = |name: &String| name == NVME_FIRST[1] || name == "mmc";
        Ok(names.first().is_some_and(|name| name == NVME_FIRST[0]) && names.iter().any(is_card))
    }

    /// The file with these names first in its boot order. Its other names follow in their order.
    pub fn with_boot_targets(&self, wanted: &[&str]) -> Result<Self, BootTargetsError> {
        let (image, place) = self.find_boot_targets()?;
        let known = self.names(place.clone())?;
        for (index, name) in wanted.iter().enumerate() {
            if !known.contains(name) {
                return Err(BootTargetsError::Unknown {
                    wanted: (*name).to_owned(),
                    known: known.join(" "),
                });
            }
            if wanted[..index].contains(name) {
                return Err(BootTargetsError::Twice((*name).to_owned()));
            }
        }
        let rest = known.iter().filter(|name| !wanted.contains(name));
        let order = wanted
            .iter()
            .chain(rest)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        let mut bytes = self.bytes.clone();
        // The same names with single spaces between them: the length is the same.
        put(&mut bytes, place.start, order.as_bytes());
        let base = self.medium.fit_offset();
        for stored in &image.hashes {
            let data = &bytes[base + image.data.start..base + image.data.end];
            let value =
                hash(&stored.algorithm, data).ok_or_else(|| BootTargetsError::Algorithm {
                    name: image.name.clone(),
                    algorithm: stored.algorithm.clone(),
                })?;
            put(&mut bytes, base + stored.place.start, &value);
        }
        // Where images overlap, another one's hash may have become wrong.
        if Fit::parse(&bytes[base..]).as_ref() != Ok(&self.fit) {
            return Err(BootTargetsError::Outside);
        }
        Ok(Self {
            bytes,
            ..self.clone()
        })
    }

    /// The image in the FIT that holds the boot order, and where its value is in the file.
    ///
    /// Only what this U-Boot is made of is looked at: in a flash an earlier one may have left its own order elsewhere.
    fn find_boot_targets(&self) -> Result<(&fit::Image, Range<usize>), BootTargetsError> {
        if self.fit.is_signed {
            return Err(BootTargetsError::Signed);
        }
        let base = self.medium.fit_offset();
        let place_of = |image: &fit::Image| base + image.data.start..base + image.data.end;
        let mut found: Vec<(usize, &fit::Image)> = Vec::new();
        for image in self.fit.images.iter().filter(|image| image.is_plain()) {
            let data = place_of(image);
            let places = memmem::find_iter(&self.bytes[data.clone()], VARIABLE).take(100);
            for at in places.map(|at| data.start + at) {
                // Images may share their bytes.
                if found.iter().all(|(other, _)| *other != at) {
                    found.push((at, image));
                }
            }
        }
        let [(at, image)] = found[..] else {
            return Err(self.not_one(found.len()));
        };
        let data = place_of(image);
        let start = at + VARIABLE.len();
        let value = &self.bytes[start..data.end];
        let value = &value[..memchr(0, value).ok_or(BootTargetsError::Value)?];
        // Only a variable, not the end of a longer word.
        if at == data.start || self.bytes[at - 1] != 0 {
            return Err(BootTargetsError::Value);
        }
        // Some U-Boots leave a space at the end.
        Ok((image, start..start + value.trim_ascii_end().len()))
    }

    fn not_one(&self, count: usize) -> BootTargetsError {
        if count > 0 {
            return BootTargetsError::NotOne(count);
        }
        let is_packed = |image: &&fit::Image| image.is_program() && !image.is_plain();
        match self.fit.images.iter().find(is_packed) {
            Some(image) => BootTargetsError::Compressed {
                name: image.name.clone(),
                compression: image.compression.clone(),
            },
            None if memmem::find(&self.bytes, VARIABLE).is_some() => BootTargetsError::Outside,
            None => BootTargetsError::NotOne(0),
        }
    }

    fn names(&self, place: Range<usize>) -> Result<Vec<&str>, BootTargetsError> {
        let text = std::str::from_utf8(&self.bytes[place]).map_err(|_| BootTargetsError::Value)?;
        let names: Vec<&str> = text.split(' ').collect();
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
        let distinct = (1..names.len()).all(|index| !names[..index].contains(&names[index]));
        if names.iter().all(is_name) && distinct {
            Ok(names)
        } else {
            Err(BootTargetsError::Value)
        }
    }
}
