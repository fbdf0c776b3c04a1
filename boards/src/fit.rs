//! U-Boot's FIT: a device tree that describes images, with their hashes, and holds them or is followed by them.
//!
//! The format is described in U-Boot's `doc/usage/fit/`. Hashes are checked when a FIT is read. Signatures are only
//! noticed: a change of signed data makes the image useless.

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::fdt::{self, Fdt, FdtError, Property};
use crate::wire::be32;

pub use crate::fdt::FdtError as DeviceTreeError;

/// More images or configurations than any real FIT has.
const MAX_NODES: usize = 256;

/// Why bytes are not a whole FIT.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FitError {
    /// The device tree cannot be read.
    #[error("damaged FIT: {0}")]
    DeviceTree(#[from] FdtError),
    /// It is a device tree, but it describes no images.
    #[error("a device tree, but no FIT: it has no images")]
    NoImages,
    /// Too much of something.
    #[error("more than {MAX_NODES} images or configurations")]
    TooMany,
    /// An image has no data, or it is said in two ways.
    #[error("damaged FIT: image `{0}` does not say where its data is")]
    NoData(String),
    /// An image's data lies outside the file.
    #[error(
        "damaged FIT: the data of image `{name}` should end at {end:#x}, the file ends at {length:#x}"
    )]
    CutOff {
        /// The image.
        name: String,
        /// Where its data ends.
        end: usize,
        /// Where the file ends.
        length: usize,
    },
    /// An image is not what its hash says.
    #[error("damaged FIT: the {algorithm} of image `{name}` differs from the stored one")]
    Hash {
        /// The image.
        name: String,
        /// The algorithm of the hash.
        algorithm: String,
    },
    /// Nothing says what an image should be.
    #[error(
        "image `{0}` of the FIT has no hash of the kind `sha256` or `crc32`, so damage in it could not be detected"
    )]
    Unchecked(String),
}

/// A whole FIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its images, in the order of their names.
    pub images: Vec<Image>,
    /// Descriptions of its configurations, which name a board's device tree each.
    pub configurations: Vec<String>,
    /// Whether a part of it is signed with a key.
    pub is_signed: bool,
    /// Bytes from its start to the end of the last image.
    pub length: usize,
}

/// One image in a FIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its node's name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Its `type`, as `firmware` or `flat_dt`.
    pub kind: String,
    /// How its data is compressed.
    pub compression: String,
    /// Where its data is, from the FIT's start.
    pub data: Range<usize>,
    /// Its hashes. All that this program knows have been checked, and that is one at least.
    pub hashes: Vec<Hash>,
    /// The `compatible` of the device tree, if it is a readable device tree.
    pub compatible: Vec<String>,
}

/// A hash of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    /// Its algorithm, as FIT calls it.
    pub algorithm: String,
    /// Where its value is, from the FIT's start.
    pub place: Range<usize>,
}

impl Image {
    /// Whether its data is stored as it is.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.compression.as_str(), "" | "none")
    }

    /// Whether it is something that runs, U-Boot among others, and not a device tree.
    #[must_use]
    pub fn is_program(&self) -> bool {
        self.kind != "flat_dt"
    }
}

/// The hash of this data, in the form in which FIT stores it, if the algorithm is known.
#[must_use]
pub fn hash(algorithm: &str, data: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        "sha256" => Some(Sha256::digest(data).to_vec()),
        "crc32" => Some(crc32fast::hash(data).to_be_bytes().to_vec()),
        _ => None,
    }
}

/// What is said about one image, before it is put together.
#[derive(Default)]
struct Draft {
    image: Image,
    embedded: Option<Range<usize>>,
    size: Option<usize>,
    offset: Option<usize>,
    position: Option<usize>,
    hashes: BTreeMap<String, Hash>,
}

impl Fit {
    /// Whether a device tree begins here, which a FIT is too, whole or not.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        be32(bytes, 0) == Some(fdt::MAGIC)
    }

    /// Reads the FIT that begins with these bytes, and checks its hashes. More may follow it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FitError> {
        let tree = Fdt::new(bytes)?;
        let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
        let mut configurations: BTreeMap<String, String> = BTreeMap::new();
        let mut is_signed = false;
        let mut is_fit = false;
        tree.walk(|path, property| {
            is_signed |= is_signature(path);
            match (path, property) {
                (["images"], None) => is_fit = true,
                // Beyond the limit the rest is not worth keeping, because it is refused below.
                (["images", name, rest @ ..], _) if drafts.len() <= MAX_NODES => {
                    let draft = drafts.entry((*name).to_owned()).or_default();
                    if let Some(property) = property {
                        draft.take(rest, property);
                    }
                }
                (["configurations", name], Some(property))
                    if property.name == "description" && configurations.len() <= MAX_NODES =>
                {
                    let text = property.text().unwrap_or_default().to_owned();
                    configurations.insert((*name).to_owned(), text);
                }
                _ => {}
            }
        })?;
        if !is_fit {
            return Err(FitError::NoImages);
        }
        if drafts.len().max(configurations.len()) > MAX_NODES {
            return Err(FitError::TooMany);
        }
        let images = drafts
            .into_iter()
            .map(|(name, draft)| draft.finish(name, bytes, tree.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let ends = images.iter().map(|image| image.data.end);
        Ok(Self {
            length: ends.fold(tree.len(), usize::max),
            images,
            configurations: configurations.into_values().collect(),
            is_signed,
        })
    }
}

impl Fit {
    /// The boards that it is for: the first `compatible` entry of each device tree in it.
    #[must_use]
    pub fn boards(&self) -> Vec<String> {
        let trees = self.images.iter();
        let mut names: Vec<String> = trees
            .filter_map(|image| image.compatible.first().cloned())
            .collect();
        names.dedup();
        names
    }
}

impl Draft {
    fn take(&mut self, path: &[&str], property: &Property) {
        let text = || property.text().unwrap_or_default().to_owned();
        match (path, property.name) {
            ([], "description") => self.image.description = text(),
            ([], "type") => self.image.kind = text(),
            ([], "compression") => self.image.compression = text(),
            ([], "data") => self.embedded = Some(property.place.clone()),
            ([], "data-size") => self.size = property.number(),
            ([], "data-offset") => self.offset = property.number(),
            ([], "data-position") => self.position = property.number(),
            ([node], name) if node.starts_with("hash") && self.hashes.len() < MAX_NODES => {
                let hash = self.hashes.entry((*node).to_owned()).or_default();
                match name {
                    "algo" => hash.algorithm = text(),
                    "value" => hash.place = property.place.clone(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn finish(self, name: String, bytes: &[u8], tree: usize) -> Result<Image, FitError> {
        let external = |size: usize| {
            let after_tree = || tree.next_multiple_of(4).checked_add(self.offset?);
            let start = self.position.or_else(after_tree)?;
            Some(start..start.checked_add(size)?)
        };
        let data = match (self.embedded.clone(), self.size) {
            (Some(place), None) => Some(place),
            (None, Some(size)) => external(size),
            _ => None,
        };
        let Some(place) = data else {
            return Err(FitError::NoData(name));
        };
        let Some(data) = bytes.get(place.clone()) else {
            return Err(FitError::CutOff {
                name,
                end: place.end,
                length: bytes.len(),
            });
        };
        let hashes: Vec<Hash> = self.hashes.into_values().collect();
        let mut is_checked = false;
        for stored in &hashes {
            let Some(value) = hash(&stored.algorithm, data) else {
                continue;
            };
            if value != bytes[stored.place.clone()] {
                return Err(FitError::Hash {
                    name,
                    algorithm: stored.algorithm.clone(),
                });
            }
            is_checked = true;
        }
        if !is_checked {
            return Err(FitError::Unchecked(name));
        }
        let mut image = Image {
            name,
            data: place,
            hashes,
            ..self.image
        };
        if image.is_plain() && image.kind == "flat_dt" {
            image.compatible = Fdt::new(data).and_then(|tree| tree.compatible())?;
        }
        Ok(image)
    }
}

/// Whether this is the path of a signature of an image or a configuration.
fn is_signature(path: &[&str]) -> bool {
    matches!(path, ["images" | "configurations", _, node] if node.starts_with("signature"))
}
