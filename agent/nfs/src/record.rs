//! The checks of an answer before the RPC client reads it: the record marks of RFC 5531, section 11 (an answer may
//! have several), and the head.

use std::io;

use crate::limits::{MAX_FRAGMENTS, MAX_MESSAGE};

/// Set in the mark of the last fragment of a record.
pub const LAST_FRAGMENT: u32 = 1 << 31;

/// RFC 5531, section 8.2: the body of an authentication field.
const MAX_AUTH_BODY: u32 = 400;

/// The marks of one record as they arrive. Nothing is allocated for a fragment before its mark is accepted.
#[derive(Debug, Default)]
pub struct Record {
    length: u32,
    fragments: u32,
}

/// What a mark says about the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// How many bytes.
    pub length: usize,
    /// Whether the record ends with them.
    pub is_last: bool,
}

impl Record {
    /// Takes the next mark, as long as the whole record stays within the limits.
    pub fn next(&mut self, mark: [u8; 4]) -> io::Result<Fragment> {
        let mark = u32::from_be_bytes(mark);
        let length = mark & !LAST_FRAGMENT;
        self.fragments += 1;
        self.length = self.length.saturating_add(length);
        if self.length > MAX_MESSAGE {
            return Err(invalid(format!(
                "an answer of {} bytes, when {MAX_MESSAGE} is the limit",
                self.length
            )));
        }
        if self.fragments > MAX_FRAGMENTS {
            return Err(invalid(format!(
                "an answer in more than {MAX_FRAGMENTS} fragments"
            )));
        }
        Ok(Fragment {
            length: length as usize,
            is_last: mark & LAST_FRAGMENT != 0,
        })
    }

    /// The mark of the same record in one piece.
    #[must_use]
    pub fn whole_mark(&self) -> [u8; 4] {
        (self.length | LAST_FRAGMENT).to_be_bytes()
    }
}

/// The client allocates the length that the verifier of an accepted reply claims before it looks for the bytes. It does the
/// same for a message that is not a reply.
pub fn check_verifier(message: &[u8]) -> io::Result<()> {
    const REPLY: u32 = 1;
    const ACCEPTED: u32 = 0;
    if word(message, 1).is_some_and(|kind| kind != REPLY) {
        return Err(invalid("a message that is not a reply"));
    }
    let accepted = word(message, 2) == Some(ACCEPTED);
    match word(message, 4) {
        Some(length) if accepted && length > MAX_AUTH_BODY => {
            Err(invalid(format!("a verifier of {length} bytes")))
        }
        _ => Ok(()),
    }
}

/// The 32-bit word number `index` of a message.
fn word(message: &[u8], index: usize) -> Option<u32> {
    let bytes = message.get(index * 4..index * 4 + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// An answer that cannot be one.
pub fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

#[cfg(test)]
mod tests {
    use super::{Fragment, LAST_FRAGMENT, Record};
    use crate::limits::{MAX_FRAGMENTS, MAX_MESSAGE};

    fn next(record: &mut Record, mark: u32) -> Result<Fragment, String> {
        let fragment = record.next(mark.to_be_bytes());
        fragment.map_err(|error| error.to_string())
    }

    #[test]
    fn fragments_add_up_to_one_record() {
        let mut record = Record::default();
        for (mark, length, is_last) in [
            (8, 8, false),
            (0, 0, false),
            (0xc | LAST_FRAGMENT, 12, true),
        ] {
            assert_eq!(next(&mut record, mark), Ok(Fragment { length, is_last }));
        }
        assert_eq!(record.whole_mark(), (0x14 | LAST_FRAGMENT).to_be_bytes());
    }

    #[test]
    fn the_limit_counts_for_the_fragments_together() {
        let mut record = Record::default();
        next(&mut record, MAX_MESSAGE).expect("as much as is allowed");
        let said = next(&mut record, 1 | LAST_FRAGMENT).expect_err("a byte too many");
        assert!(said.contains("is the limit"), "{said}");
        let mut record = Record::default();
        next(&mut record, u32::MAX >> 1).expect_err("two gigabytes");
        next(&mut record, u32::MAX >> 1).expect_err("the sum does not wrap around");
        next(&mut record, u32::MAX >> 1).expect_err("the sum does not wrap around");
    }

    #[test]
    fn a_record_of_endless_empty_fragments_is_refused() {
        let mut record = Record::default();
        for _ in 0..MAX_FRAGMENTS {
            next(&mut record, 0).expect("few enough");
        }
        let said = next(&mut record, LAST_FRAGMENT).expect_err("too many");
        assert!(said.contains("fragments"), "{said}");
    }
}
