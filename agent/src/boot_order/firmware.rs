//! The firmware files on the card: read, and compared with the card's own list of digests.

use gild_card_format::sums::{self, SUMS};

use super::BootOrderError;
use crate::card::folder::Folder;

const REPAIR: &str = "write the card again: its firmware files are damaged";

/// The files, or `None` if the card has none of them. If it has one, all must be there and undamaged.
pub fn read<const N: usize>(
    card: &dyn Folder,
    paths: [&str; N],
) -> Result<Option<[Vec<u8>; N]>, BootOrderError> {
    let sums = card.read(SUMS)?.unwrap_or_default();
    let listed = sums::read(&String::from_utf8_lossy(&sums))
        .map_err(|error| BootOrderError::not_possible(error, REPAIR))?;
    let mut files = [const { Vec::new() }; N];
    let mut missing = Vec::new();
    for (path, file) in paths.iter().zip(&mut files) {
        let Some(content) = card.read(path)? else {
            missing.push(*path);
            continue;
        };
        if listed.get(*path) != Some(&sums::sha256(&content)) {
            return Err(BootOrderError::not_possible(
                format!("{path} on the card is not what {SUMS} there says"),
                REPAIR,
            ));
        }
        *file = content;
    }
    if missing.is_empty() {
        return Ok(Some(files));
    }
    if missing.len() == N && !paths.iter().any(|path| listed.contains_key(*path)) {
        return Ok(None);
    }
    Err(BootOrderError::not_possible(
        format!("the card lacks {}", missing.join(", ")),
        REPAIR,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn files_are_whole_or_refused_or_none() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(read(&card, ["a/b", "a/c"]), Ok(None));
        card.put_firmware("a/b", b"one");
        read(&card, ["a/b", "a/c"]).expect_err("one of two");
        card.put_firmware("a/c", b"two");
        assert_eq!(
            read(&card, ["a/b", "a/c"]),
            Ok(Some([b"one".to_vec(), b"two".to_vec()]))
        );
        card.put("a/c", b"tw0");
        let error = read(&card, ["a/b", "a/c"]).expect_err("a damaged file");
        assert!(error.reason.contains("a/c"), "{error}");
        card.remove("a/b").expect("a card");
        card.remove("a/c").expect("a card");
        let error = read(&card, ["a/b", "a/c"]).expect_err("the card had them");
        assert!(error.reason.contains("lacks a/b, a/c"), "{error}");
        card.put("a/b", b"one");
        card.put("SHA256SUMS", b"");
        read(&card, ["a/b"]).expect_err("a file that is not listed");
    }
}
