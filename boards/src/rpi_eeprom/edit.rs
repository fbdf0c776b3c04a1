//! The two changes that the vendor's tool makes to an image, and that this program makes in the same way.

use super::section::{FILE_HEADER, HEADER, magic_of_padding};
use super::{EepromError, FIRST_HALF_END, Image, SCRATCH, SectionKind, UPDATETIME};
use crate::wire::put;

/// The longest configuration that the vendor's tool takes. It forgets four bytes of the header, so more than
/// [`CONFIG_MAX`](super::CONFIG_MAX) bytes reach into the next erase block of the chip.
pub(super) const VENDORS_MAX: usize = 4076;

impl Image {
    /// Replaces the configuration. On an error nothing is changed.
    pub fn set_config(&mut self, text: &[u8]) -> Result<(), EepromError> {
        self.check_editable()?;
        let index = self.config_index()?;
        if text.len() > VENDORS_MAX {
            return Err(EepromError::ConfigTooLong(text.len()));
        }
        let section = &self.sections[index];
        let end = self.sections[index + 1..]
            .iter()
            .find(|later| later.kind != SectionKind::Padding)
            .map_or(FIRST_HALF_END.min(self.bytes.len() - SCRATCH), |later| {
                later.offset
            });
        let (header, start) = (section.offset, section.content().start);
        let text_end = start + text.len();
        if text_end > end {
            return Err(EepromError::ConfigDoesNotFit {
                length: text.len(),
                room: end.saturating_sub(start),
            });
        }
        let length = be32_of(text.len() + FILE_HEADER);
        let mut bytes = self.bytes.clone();
        put(&mut bytes, header + 4, &length);
        put(&mut bytes, start, text);
        bytes[text_end..end].fill(0xff);
        let aligned = text_end.next_multiple_of(8);
        // The last section is left open, as the vendor's tool does.
        let is_last = index + 1 == self.sections.len();
        if end - aligned >= HEADER && !is_last {
            let padding = be32_of(end - aligned - HEADER);
            put(&mut bytes, aligned, &magic_of_padding().to_be_bytes());
            put(&mut bytes, aligned + 4, &padding);
        }
        *self = Self::parse(bytes)?;
        Ok(())
    }

    /// Writes the time of the update into the image. On an error nothing is changed. Only updaters that write the chip from Linux need it there; the
    /// updater on the card takes it from the signature file.
    pub fn set_timestamp(&mut self, time: u32) -> Result<(), EepromError> {
        self.check_editable()?;
        let places = timestamp_places(self);
        if self.is_ab() && places.len() != 2 {
            return Err(EepromError::NoTimestamp(places.len()));
        }
        let mut bytes = self.bytes.clone();
        for place in places {
            put(&mut bytes, place, &(!time).to_le_bytes());
            put(&mut bytes, place + 4, &time.to_le_bytes());
        }
        // A damaged image may have a section where the time belongs.
        *self = Self::parse(bytes)?;
        Ok(())
    }

    fn check_editable(&self) -> Result<(), EepromError> {
        if self.is_live() {
            return Err(EepromError::LiveChip);
        }
        if self.is_signed() {
            return Err(EepromError::Signed);
        }
        Ok(())
    }
}

/// The number as sections store it.
fn be32_of(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("no length in an image exceeds 2 MiB")
        .to_be_bytes()
}

/// Where an image keeps the time of its update: in its last bytes, or in the files made for it.
pub(super) fn timestamp_places(image: &Image) -> Vec<usize> {
    if !image.is_ab() {
        return vec![image.bytes.len() - 8];
    }
    let files = image
        .sections
        .iter()
        .filter(|section| section.is_file(UPDATETIME) && section.content().len() >= 8);
    files.map(|section| section.content().start).collect()
}
