//! How long a list of an image's paths may get: folders of a damaged file system can lead into each other.

use std::io::{self, ErrorKind};
use std::mem::size_of;

use crate::plain::plain;
use crate::root::Node;

/// What is left for a list.
pub struct Budget(usize);

impl Budget {
    /// For a list of so many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Makes room for a path, and for what it says beside that.
    pub fn take(&mut self, path: &str, more: usize) -> io::Result<()> {
        // A list keeps the path as text and as bytes.
        let bytes = size_of::<Node>() + 2 * path.len() + more;
        self.0 = self.0.checked_sub(bytes).ok_or_else(too_many)?;
        Ok(())
    }
}

fn too_many() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "it claims to have more files than an image has",
    )
}

/// Why a folder is not read that lies deeper than any.
pub fn too_deep() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "its folders lead into each other")
}

/// Why a folder is not read that has a name twice: one file would hide the other.
pub fn two_of(path: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("it has two files of the name {}", plain(path)),
    )
}

/// Why a file is not read that is longer than the partition: its clusters lead back to its beginning, or it is one of holes, which
/// takes no room and time without end.
pub fn too_long() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "it claims to be longer than its partition",
    )
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_list_has_an_end() {
        let mut budget = Budget::of(1 << 20);
        let paths = (0..).take_while(|_| budget.take("etc/hosts", 0).is_ok());
        assert!((1000..20_000).contains(&paths.count()));
        let mut budget = Budget::of(1 << 20);
        let refused = budget.take("etc/link", 1 << 20).expect_err("too long");
        assert!(refused.to_string().contains("more files than"), "{refused}");
    }
}
