//! The name of an image, which names one content forever.

use std::fmt;
use std::str::FromStr;

/// Longest image id: the commit record and, with its suffixes, a file name must hold it.
pub const MAX_IMAGE_ID: usize = 128;

/// No image has this id: on the card it stands for whatever image there is.
const RESERVED_ID: &str = "any";

/// The id of an image, as every valid manifest has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

/// A text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// It has too many bytes.
    #[error("longer than {0} bytes")]
    Long(usize),
    /// It has something else than the few characters that a name may have.
    #[error("{0:?} is not a name of letters, digits, '.', '_', '-' that starts without a dot")]
    Characters(String),
    /// It means something else.
    #[error("\"{RESERVED_ID}\" stands for every image")]
    Reserved,
}

impl ImageId {
    /// Takes a text that can be the id of an image.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        name(text, MAX_IMAGE_ID)?;
        if text == RESERVED_ID {
            return Err(NotAName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageId {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        Self::parse(text)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses what is not a name: one path component everywhere, that no shell, URL or FAT would read as something else.
pub(crate) fn name(text: &str, limit: usize) -> Result<(), NotAName> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.len() > limit {
        Err(NotAName::Long(limit))
    } else if text.is_empty() || text.starts_with('.') || !text.bytes().all(good) {
        Err(NotAName::Characters(text.to_owned()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_id_is_a_plain_name_of_limited_length() {
        for good in ["rpi5-0123456789ab", "a", "A_1.b", &"x".repeat(MAX_IMAGE_ID)] {
            let id = ImageId::parse(good).expect("an image id");
            assert_eq!((id.as_str(), id.to_string().as_str()), (good, good));
        }
        for bad in [
            "",
            ".a",
            "a b",
            "a/b",
            "a;b",
            "ä",
            &"x".repeat(MAX_IMAGE_ID + 1),
        ] {
            ImageId::parse(bad).expect_err(bad);
        }
    }
}
