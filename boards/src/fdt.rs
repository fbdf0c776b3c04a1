//! A reader of flattened device trees, the container of U-Boot's FIT images.
//!
//! It says where in the blob each property's value is, because hashes are replaced in place. It takes names as
//! they are: real device trees break the specification's rules for names, and stricter readers refuse them.

use std::ops::Range;

use thiserror::Error;

use crate::wire::be32;

/// The first bytes of every device tree.
pub(crate) const MAGIC: u32 = 0xd00d_feed;
/// Deeper than any real tree.
const MAX_DEPTH: usize = 32;
const HEADER: usize = 40;
/// The version that introduced today's header, and that all tools write.
const VERSION: u32 = 17;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Why bytes are not a device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FdtError {
    /// No device tree begins here.
    #[error("no device tree begins here")]
    Magic,
    /// The header contradicts itself, or the bytes end too early.
    #[error("its header does not fit: {0}")]
    Header(&'static str),
    /// The structure cannot be read.
    #[error("its structure is damaged at {0:#x}")]
    Structure(usize),
}

/// A device tree.
#[derive(Clone, Debug)]
pub(crate) struct Fdt<'a> {
    bytes: &'a [u8],
    structure: Range<usize>,
    strings: Range<usize>,
}

/// A property.
#[derive(Debug)]
pub(crate) struct Property<'a> {
    pub(crate) name: &'a str,
    /// Where its value is in the blob.
    pub(crate) place: Range<usize>,
    pub(crate) value: &'a [u8],
}

impl Property<'_> {
    /// The value as text, if it is one string.
    pub(crate) fn text(&self) -> Option<&str> {
        let (last, text) = self.value.split_last()?;
        let text = std::str::from_utf8(text).ok()?;
        (*last == 0 && !text.contains(|c: char| c.is_control())).then_some(text)
    }

    /// The value as a number, if it is one cell.
    pub(crate) fn number(&self) -> Option<usize> {
        let cell = u32::from_be_bytes(self.value.try_into().ok()?);
        usize::try_from(cell).ok()
    }
}

impl<'a> Fdt<'a> {
    /// Reads the header of the device tree that begins with these bytes. More may follow it.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, FdtError> {
        if be32(bytes, 0) != Some(MAGIC) {
            return Err(FdtError::Magic);
        }
        let field = |index: usize| {
            let value = be32(bytes, index * 4).ok_or(FdtError::Header("it is cut off"))?;
            usize::try_from(value).map_err(|_| FdtError::Header("a size is too large"))
        };
        let total = field(1)?;
        let bytes = bytes
            .get(..total)
            .filter(|bytes| bytes.len() >= HEADER)
            .ok_or(FdtError::Header("the device tree is cut off"))?;
        if !(field(6)?..=field(5)?).contains(&(VERSION as usize)) {
            return Err(FdtError::Header("unknown version"));
        }
        let block = |offset: usize, size: usize| {
            offset
                .checked_add(size)
                .filter(|end| *end <= total)
                .map(|end| offset..end)
                .ok_or(FdtError::Header("a block lies outside"))
        };
        Ok(Self {
            bytes,
            structure: block(field(2)?, field(9)?)?,
            strings: block(field(3)?, field(8)?)?,
        })
    }

    /// Bytes of the whole device tree.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Calls this for each node that begins, with its path and `None`, and for each of its properties. The root's path
    /// is empty.
    pub(crate) fn walk(
        &self,
        mut visit: impl FnMut(&[&'a str], Option<&Property<'a>>),
    ) -> Result<(), FdtError> {
        let structure = &self.bytes[..self.structure.end];
        let mut at = self.structure.start;
        let mut path: Vec<&'a str> = Vec::new();
        let mut seen_root = false;
        loop {
            let damaged = FdtError::Structure(at);
            let token = be32(structure, at).ok_or(damaged)?;
            at += 4;
            match token {
                BEGIN_NODE => {
                    let name = text_at(structure, at).ok_or(damaged)?;
                    if path.len() == MAX_DEPTH || (path.is_empty() && seen_root) {
                        return Err(damaged);
                    }
                    seen_root = true;
                    at = (at + name.len() + 1).next_multiple_of(4);
                    path.push(name);
                    visit(&path[1..], None);
                }
                END_NODE => {
                    path.pop().ok_or(damaged)?;
                }
                PROPERTY => {
                    let size = be32(structure, at).ok_or(damaged)? as usize;
                    let name = be32(structure, at + 4).ok_or(damaged)? as usize;
                    let place = at + 8..at + 8 + size;
                    let value = structure.get(place.clone()).ok_or(damaged)?;
                    let name = self.strings.start.checked_add(name).ok_or(damaged)?;
                    let name = text_at(&self.bytes[..self.strings.end], name).ok_or(damaged)?;
                    at = place.end.next_multiple_of(4);
                    let path = path.get(1..).ok_or(damaged)?;
                    visit(path, Some(&Property { name, place, value }));
                }
                NOP => {}
                END if path.is_empty() && seen_root => return Ok(()),
                _ => return Err(damaged),
            }
        }
    }

    /// The root's `compatible`, the board's first.
    pub(crate) fn compatible(&self) -> Result<Vec<String>, FdtError> {
        let mut found = Vec::new();
        self.walk(|path, property| {
            if let Some(property) = property
                && path.is_empty()
                && property.name == "compatible"
            {
                let entries = property.value.split(|byte| *byte == 0);
                found = entries
                    .filter(|entry| !entry.is_empty())
                    .map(|entry| String::from_utf8_lossy(entry).into_owned())
                    .collect();
            }
        })?;
        Ok(found)
    }
}

fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = memchr::memchr(0, rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}
