//! The sections of an image.

use std::ops::Range;

use super::{BOOTSYS, EepromError, JOURNALS};
use crate::wire::be32;

/// Every section's magic without the bits of [`KIND`]. As it is, the magic of the boot code.
pub(super) const MAGIC: u32 = 0x55aa_f00f;
/// The bits of a magic that say what the section is.
const KIND: u32 = 0x0000_0ff0;
/// Magic and length.
pub(super) const HEADER: usize = 8;
/// The name, and four zero bytes.
pub(super) const FILE_HEADER: usize = 16;
const NAME: usize = 12;
/// Real images have less than a hundred.
const MAX_SECTIONS: usize = 1024;

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// What the processor's ROM starts.
    Bootcode,
    /// A file of this name, which may be replaced.
    File(String),
    /// Nothing.
    Padding,
    /// A part of the firmware.
    Module,
    /// Something that this program does not know, with its magic.
    Other(u32),
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// Where its header begins.
    pub offset: usize,
    /// Bytes after magic and length.
    pub length: usize,
}

impl Section {
    /// Where its content is: for a file, what comes after its name.
    #[must_use]
    pub fn content(&self) -> Range<usize> {
        let start = self.offset + HEADER;
        let name = match self.kind {
            SectionKind::File(_) => FILE_HEADER,
            _ => 0,
        };
        start + name..start + self.length
    }

    /// Whether it is the file of this name.
    #[must_use]
    pub fn is_file(&self, name: &str) -> bool {
        matches!(&self.kind, SectionKind::File(found) if found == name)
    }
}

/// Whether the image holds the firmware in two halves. Smaller ones have no room for them, whatever they say.
pub(super) fn is_ab(bytes: &[u8]) -> bool {
    let (name, offset) = BOOTSYS;
    let name_at = offset + HEADER;
    bytes.len() > JOURNALS
        && be32(bytes, offset) == Some(magic_of_a_file())
        && bytes.get(name_at..name_at + NAME).map(until_nul) == Some(name.as_bytes())
}

/// Walks through all sections.
pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Section>, EepromError> {
    // The journals behind the sections of an A/B image are not sections.
    let end = if is_ab(bytes) { JOURNALS } else { bytes.len() };
    let mut sections = Vec::new();
    let mut offset = 0;
    while let (Some(magic), Some(length)) =
        (be32(&bytes[..end], offset), be32(&bytes[..end], offset + 4))
    {
        if magic == 0 || magic == u32::MAX {
            break;
        }
        if magic & !KIND != MAGIC & !KIND {
            return Err(match offset {
                0 => EepromError::NoBootcode,
                _ => EepromError::Magic { offset, magic },
            });
        }
        if sections.len() == MAX_SECTIONS {
            return Err(EepromError::TooManySections(MAX_SECTIONS));
        }
        let section = read(bytes, offset, magic, length)?;
        if section.content().end > end {
            return Err(EepromError::Length { offset, length });
        }
        offset = section.content().end.next_multiple_of(8);
        sections.push(section);
    }
    match sections.first() {
        Some(first) if first.kind == SectionKind::Bootcode => Ok(sections),
        _ => Err(EepromError::NoBootcode),
    }
}

fn read(bytes: &[u8], offset: usize, magic: u32, length: u32) -> Result<Section, EepromError> {
    let damaged = || EepromError::Length { offset, length };
    let size = usize::try_from(length).map_err(|_| damaged())?;
    let kind = match (magic & KIND) >> 4 {
        0x00 => SectionKind::Bootcode,
        0x11 => {
            if size < FILE_HEADER {
                return Err(damaged());
            }
            let field = bytes
                .get(offset + HEADER..offset + HEADER + NAME)
                .ok_or_else(damaged)?;
            let name =
                std::str::from_utf8(until_nul(field)).map_err(|_| EepromError::Name(offset))?;
            if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic()) {
                return Err(EepromError::Name(offset));
            }
            SectionKind::File(name.to_owned())
        }
        0x33 | 0x44 => SectionKind::Module,
        0xee => SectionKind::Padding,
        _ => SectionKind::Other(magic),
    };
    Ok(Section {
        kind,
        offset,
        length: size,
    })
}

fn magic_of_a_file() -> u32 {
    MAGIC | 0x11 << 4
}

pub(super) fn magic_of_padding() -> u32 {
    MAGIC | 0xee << 4
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}
