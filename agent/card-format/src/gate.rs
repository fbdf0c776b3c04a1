//! The gate: which images a card has seen finished. docs/card.md says who reads and writes it when.

use std::collections::BTreeMap;

use gild_format::ImageId;

/// The file's name on the card.
pub const GATE: &str = "gate.env";
/// The name of a file of the same form with one image on trial, for one start of the disk. U-Boot removes it before that.
pub const TRIAL: &str = "trial.env";

/// The images that this card's agent has seen finished, one for each kind of board. U-Boot imports the file, so that it is
/// a list of `NAME=VALUE` lines and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate(BTreeMap<String, ImageId>);

impl Gate {
    /// Reads the file. A line that cannot be read opens no gate.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_word = |text: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && text.chars().all(good)
        };
        let line = |line: &str| {
            let (board, image_id) = line.split_once('=')?;
            let image_id = ImageId::parse(image_id).ok()?;
            is_word(board).then(|| (board.to_owned(), image_id))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// The image that is finished on boards of this kind.
    #[must_use]
    pub fn image_id(&self, board: &str) -> Option<&ImageId> {
        self.0.get(board)
    }

    /// Says that this image is finished on boards of this kind.
    pub fn set(&mut self, board: &str, image_id: ImageId) {
        self.0.insert(board.to_owned(), image_id);
    }

    /// Says that no image is finished on boards of this kind.
    pub fn close(&mut self, board: &str) {
        self.0.remove(board);
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.0.iter();
        lines.fold(String::new(), |text, (board, image_id)| {
            text + board + "=" + image_id.as_str() + "\n"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_board_has_its_image() {
        let mut gate = Gate::parse("");
        assert_eq!(gate.image_id("rpi5"), None);
        let id = |text| ImageId::parse(text).expect("an image id");
        gate.set("rpi5", id("rpi5-0123456789ab"));
        gate.set("rock5b", id("rock5b-1"));
        gate.set("rock5b", id("rock5b-2"));
        assert_eq!(gate.to_text(), "rock5b=rock5b-2\nrpi5=rpi5-0123456789ab\n");
        assert_eq!(Gate::parse(&gate.to_text()), gate);
        gate.close("rock5b");
        assert_eq!(gate.to_text(), "rpi5=rpi5-0123456789ab\n");
    }

    #[test]
    fn what_is_damaged_opens_no_gate() {
        for text in [
            "rpi5=",
            "=rpi5-1",
            "rpi5",
            "rpi5=a b",
            "rpi5=a;b",
            "rpi5=.a",
            "rpi5=\0\0\0",
            "rp i5=a",
        ] {
            assert_eq!(Gate::parse(text), Gate::default(), "{text}");
        }
        // A cut in the middle of writing: the name is another one, and matches no image.
        assert_eq!(
            Gate::parse("rpi5=rpi5-01\nrock")
                .image_id("rpi5")
                .map(ImageId::as_str),
            Some("rpi5-01")
        );
    }
}
