//! Which of the published images an order means.

use std::fmt;

use gild_format::ImageId;
use gild_format::release::{GOLDEN, channel_manifest};

/// Longest name of a channel.
const MAX_CHANNEL: usize = 32;

/// What the name of a channel may be, for error messages.
pub const CHANNEL_RULE: &str =
    "1 to 32 lower-case letters, digits and dashes, starting with a letter";

/// A line of images beside the current one, `canary` for example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(String);

/// Which image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The board's current one.
    #[default]
    Current,
    /// The one that a channel has at that time.
    Channel(Channel),
    /// This one.
    Image(ImageId),
}

impl Channel {
    /// Takes a text that can name a channel: [`CHANNEL_RULE`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = text.len() <= MAX_CHANNEL
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(is_plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Choice {
    /// Refuses an image other than the one that the order names: a server may offer another signed image under that name.
    pub fn check(&self, image: &str) -> Result<(), String> {
        match self {
            Self::Image(id) if id.to_string() != image => Err(format!(
                "it is of image {image}, and the order chooses {id}"
            )),
            _ => Ok(()),
        }
    }

    /// The name of its manifest in the board's folder.
    #[must_use]
    pub fn manifest(&self) -> String {
        match self {
            Self::Current => GOLDEN.to_owned(),
            Self::Channel(channel) => channel_manifest(channel.as_str()),
            Self::Image(image) => format!("{image}.json"),
        }
    }
}

/// As in a sentence: "the image of the channel canary".
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the current image"),
            Self::Channel(channel) => write!(f, "the image of the channel {}", channel.as_str()),
            Self::Image(image) => write!(f, "the image {image}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_has_its_manifest() {
        let channel = Channel::parse("canary").expect("a channel");
        let image = ImageId::parse("rpi5-0123456789ab").expect("an id");
        for (choice, manifest) in [
            (Choice::Current, "golden.json"),
            (Choice::Channel(channel), "golden-canary.json"),
            (Choice::Image(image), "rpi5-0123456789ab.json"),
        ] {
            assert_eq!(choice.manifest(), manifest);
        }
    }

    #[test]
    fn an_image_that_is_named_is_no_other() {
        let image = Choice::Image(ImageId::parse("rpi5-0").expect("an id"));
        assert!(image.check("rpi5-0").is_ok() && image.check("rpi5-1").is_err());
        assert!(Choice::Current.check("rpi5-1").is_ok());
    }

    #[test]
    fn a_channel_cannot_name_another_file() {
        for wrong in ["", "Canary", "a/b", "../a", "1a", "a.b", &"a".repeat(33)] {
            assert_eq!(Channel::parse(wrong), None, "{wrong}");
        }
    }
}
