//! The least rollback counter that an image must have: the highest that has proven itself, as the disk and the card remember it.

use std::io;

use gild_boards::Board;
use gild_card_format::PerBoard;
use gild_card_format::names::{ROLLBACK, SIGNED};
use log::{info, warn};

use crate::card::folder::Folder;

/// The least counter that the card has for boards of this kind.
pub fn on_card(card: Option<&dyn Folder>, board: &Board) -> io::Result<u64> {
    let read = |card: &dyn Folder| Ok(proven(card)?.get(&board.name).copied().unwrap_or(0));
    card.map_or(Ok(0), read)
}

/// Notes the counter of an image, because a key of this card has signed it.
pub fn keep_signed(card: &dyn Folder, board: &Board, counter: u64) {
    // If this file is damaged, it says nothing, and starts again: it only keeps a disk from raising the counter by its own word.
    let keep = || raise_in(card, SIGNED, signed(card)?, board, counter);
    if let Err(error) = keep() {
        warn!("the card does not remember that rollback counter {counter} was signed: {error}");
    }
}

/// Raises the card's counter to that of an image that has proven itself, and never lowers it. Only a counter that the card has seen in a
/// signed manifest counts. Nobody signs what a disk says of itself, and a counter that is too high would make all boards of this kind
/// refuse their images.
pub fn raise(card: &dyn Folder, board: &Board, counter: u64) {
    let raise = || -> io::Result<()> {
        let signed = signed(card)?.get(&board.name).copied();
        if signed.unwrap_or(0) < counter {
            info!(
                "the card's rollback counter stays: the disk has {counter}, and this card has seen no signed image with that"
            );
            return Ok(());
        }
        raise_in(card, ROLLBACK, proven(card)?, board, counter)
    };
    if let Err(error) = raise() {
        warn!("the card does not remember rollback counter {counter}: {error}");
    }
}

fn raise_in(
    card: &dyn Folder,
    name: &str,
    mut counters: PerBoard<u64>,
    board: &Board,
    counter: u64,
) -> io::Result<()> {
    if counters
        .get(&board.name)
        .is_some_and(|before| *before >= counter)
    {
        return Ok(());
    }
    counters.set(&board.name, counter);
    card.write(name, counters.to_text().as_bytes())
}

/// The counters that have proven themselves. If the file is damaged, that is an error: a counter that is lost must not count as 0.
fn proven(card: &dyn Folder) -> io::Result<PerBoard<u64>> {
    let file = card.read(ROLLBACK)?;
    gild_card_format::counters(file.as_deref()).map_err(io::Error::other)
}

/// The counters that were signed.
fn signed(card: &dyn Folder) -> io::Result<PerBoard<u64>> {
    let text = card.read(SIGNED)?.unwrap_or_default();
    Ok(PerBoard::parse(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn the_card_s_counter_only_rises_and_each_kind_of_board_has_its_own() {
        let card = MemoryCard::new(&Power::on());
        let board = |name| gild_boards::by_name(name).expect("a board");
        let floor = |name| on_card(Some(&card), board(name)).expect("it can be read");
        assert_eq!(on_card(None, board("rpi5")).expect("no card"), 0);
        assert_eq!(floor("rpi5"), 0);
        raise(&card, board("rpi5"), 7);
        assert_eq!(floor("rpi5"), 0, "no image with this counter was signed");
        for name in ["rpi5", "rock5b"] {
            keep_signed(&card, board(name), 9);
            keep_signed(&card, board(name), 8);
        }
        raise(&card, board("rpi5"), 10);
        assert_eq!(floor("rpi5"), 0, "it is above all that were signed");
        for (counter, expected) in [(7, 7), (5, 7), (8, 8)] {
            raise(&card, board("rpi5"), counter);
            assert_eq!(floor("rpi5"), expected);
        }
        assert_eq!(floor("rock5b"), 0);
        raise(&card, board("rock5b"), 9);
        assert_eq!((floor("rpi5"), floor("rock5b")), (8, 9));
    }
    #[test]
    fn a_damaged_file_of_counters_is_an_error_and_stays_as_it_is() {
        let rpi5 = gild_boards::by_name("rpi5").expect("a board");
        let rock5b = gild_boards::by_name("rock5b").expect("a board");
        for damaged in ["", "\0\0\0\0\0\0\0\0", "rpi5=7\n\0\0\0"] {
            let card = MemoryCard::new(&Power::on());
            keep_signed(&card, rpi5, 9);
            card.write(ROLLBACK, damaged.as_bytes()).expect("a card");
            for board in [rpi5, rock5b] {
                let error = on_card(Some(&card), board).expect_err(damaged);
                assert!(error.to_string().contains("next: delete it"), "{error}");
            }
            raise(&card, rpi5, 5);
            assert_eq!(card.text(ROLLBACK).as_deref(), Some(damaged));
            card.write(SIGNED, b"\0\0").expect("a card");
            keep_signed(&card, rpi5, 9);
            assert_eq!(card.text(SIGNED).as_deref(), Some("rpi5=9\n"));
        }
    }
}
