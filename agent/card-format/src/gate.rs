//! The gate: which images have proven themselves. docs/card.md says who reads and writes it when.

use gild_format::ImageId;

use crate::per_board::PerBoard;

/// The file's name on the card.
pub const GATE: &str = "gate.env";
/// The name of a file of the same form for one start of the disk: with the image that it carries, or with the UUID of its first
/// partition, in lower case, where U-Boot may not see which image that is. U-Boot removes the file before the start.
pub const TRIAL: &str = "trial.env";
/// The file on the disk's boot partition by which an image says that it is on trial.
pub const ON_TRIAL: &str = "gild-trial/on";

/// The images that have proven themselves, one for each kind of board. A line that cannot be read opens no gate.
pub type Gate = PerBoard<ImageId>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_board_has_its_image() {
        let mut gate = Gate::parse("");
        assert_eq!(gate.get("rpi5"), None);
        let id = |text| ImageId::parse(text).expect("an image id");
        gate.set("rpi5", id("rpi5-0123456789ab"));
        gate.set("rock5b", id("rock5b-1"));
        gate.set("rock5b", id("rock5b-2"));
        assert_eq!(gate.to_text(), "rock5b=rock5b-2\nrpi5=rpi5-0123456789ab\n");
        assert_eq!(Gate::parse(&gate.to_text()), gate);
        gate.remove("rock5b");
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
                .get("rpi5")
                .map(ImageId::as_str),
            Some("rpi5-01")
        );
    }
}
