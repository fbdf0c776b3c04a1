//! Whether two files begin with the same programs: U-Boot's build makes one file for the flash and one for cards.
//!
//! The two differ in one thing. U-Boot's `binman` writes into the SPL where in the file the FIT is, as a little-endian
//! number, and with that the hashes in the ID block differ too.

use super::id_block::hashes;
use super::{Image, Medium};

/// More numbers of this kind than an SPL has: mainline's has one.
const MOST_NUMBERS: usize = 4;
const NUMBER: usize = 4;

impl Image {
    /// Whether the ID block of the other file is this one's, except for the place of the FIT and what follows from it. The
    /// hashes of both were checked when they were read, so they need not be compared.
    #[must_use]
    pub fn has_loader_of(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.loader().to_vec(), other.loader().to_vec());
        for hash in hashes(self.id_block.images.len()) {
            own[hash.clone()].fill(0);
            others[hash].fill(0);
        }
        // The header says how long the programs are: a loader with longer programs differs there.
        let numbers = own.chunks(NUMBER).zip(others.chunks(NUMBER));
        let different: Vec<_> = numbers.filter(|(own, others)| own != others).collect();
        let is_place = |(own, others): &(&[u8], &[u8])| {
            **own == place_of_fit(self.medium) && **others == place_of_fit(other.medium)
        };
        different.len() <= MOST_NUMBERS && different.iter().all(is_place)
    }

    fn loader(&self) -> &[u8] {
        let start = self.medium.id_block_offset();
        &self.bytes[start..start + self.id_block.length]
    }
}

/// As the SPL holds it.
fn place_of_fit(medium: Medium) -> [u8; NUMBER] {
    u32::try_from(medium.fit_offset())
        .expect("no file is longer than a flash of 16 MiB")
        .to_le_bytes()
}
