//! Which part of a file may be requested.

/// A read beyond the end of a file was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {offset}..{end} were asked for, and it has only {size}")]
pub struct OutOfRange {
    /// First byte.
    pub offset: u64,
    /// One past the last byte.
    pub end: u64,
    /// The size of the file.
    pub size: u64,
}

impl OutOfRange {
    /// Refuses a read of this length that goes beyond the end of a file of this size.
    pub fn check(size: u64, offset: u64, length: usize) -> Result<(), Self> {
        let end = offset.saturating_add(length as u64);
        if end <= size {
            return Ok(());
        }
        Err(Self { offset, end, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_ends_at_the_end_of_the_file() {
        assert_eq!(OutOfRange::check(10, 4, 6), Ok(()));
        assert_eq!(OutOfRange::check(10, 10, 0), Ok(()));
        for (offset, length, end) in [(4, 7, 11), (11, 0, 11), (u64::MAX, 2, u64::MAX)] {
            let error = OutOfRange {
                offset,
                end,
                size: 10,
            };
            assert_eq!(OutOfRange::check(10, offset, length), Err(error));
        }
    }
}
