//! The card's rollback counters, `rollback.env`.

use thiserror::Error;

use crate::names::ROLLBACK;
use crate::per_board::{DamagedFile, PerBoard};

/// The file is there, but it does not say which images are too old. An image with a known hole could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{ROLLBACK} on the card is damaged ({0}), so nobody knows which images are too old; next: delete it on the card, and set `min_rollback` in \
     gild.toml on the card to the rollback counter of the image that your nodes run"
)]
pub struct DamagedCounters(DamagedFile);

/// The counters in this file. A file that does not exist has none.
pub fn counters(file: Option<&[u8]>) -> Result<PerBoard<u64>, DamagedCounters> {
    match file {
        None => Ok(PerBoard::default()),
        Some(bytes) => PerBoard::whole(&String::from_utf8_lossy(bytes)).map_err(DamagedCounters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_one_without_counters() {
        let of = |text: &str| counters(Some(text.as_bytes()));
        assert_eq!(counters(None), Ok(PerBoard::default()));
        let counters = of("rpi5=7\r\n\nrock5b=9").expect("whole");
        assert_eq!(
            (counters.get("rpi5"), counters.get("rock5b")),
            (Some(&7), Some(&9))
        );
        for (text, reason) in [
            ("", "it is empty"),
            ("\n \n", "it is empty"),
            ("\0\0\0\0", "line 1 is not"),
            ("rpi5=7\n\0\0\0", "line 2 is not"),
            ("rpi5=7\nrock5b=\n", "line 2 is not"),
            ("rpi5=-7\n", "line 1 is not"),
            ("rpi5 = 7\n", "line 1 is not"),
            ("rpi5=7\nrpi5=6\n", "line 2 has a second value"),
        ] {
            let error = of(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(error.contains("; next: delete it"), "{error}");
        }
    }
}
