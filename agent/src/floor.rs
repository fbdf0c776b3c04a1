//! The least rollback counter that an image must have: the highest that has proven itself, as the disk and the card remember it.

use std::io;

use gild_boards::Board;
use gild_card_format::PerBoard;
use gild_card_format::names::{ROLLBACK, SIGNED};
use log::{info, warn};

use crate::card::folder::Folder;

/// The least counter that the card has for boards of this kind.
pub fn on_card(card: Option<&dyn Folder>, board: &Board) -> io::Result<u64> {
    let read = |card: &dyn Folder| {
        Ok(counters(card, ROLLBACK)?
            .get(&board.name)
            .copied()
            .unwrap_or(0))
    };
    card.map_or(Ok(0), read)
}

/// Notes the counter of an image, because a key of this card has signed it.
pub fn keep_signed(card: &dyn Folder, board: &Board, counter: u64) {
    if let Err(error) = raise_in(card, SIGNED, board, counter) {
        warn!("the card does not remember that rollback counter {counter} was signed: {error}");
    }
}

/// Raises the card's counter to that of an image that has proven itself, and never lowers it. Only a counter that the card has seen in a
/// signed manifest counts. Nobody signs what a disk says of itself, and a counter that is too high would make all boards of this kind
/// refuse their images.
pub fn raise(card: &dyn Folder, board: &Board, counter: u64) {
    let raise = || -> io::Result<()> {
        let signed = counters(card, SIGNED)?.get(&board.name).copied();
        if signed.unwrap_or(0) < counter {
            info!(
                "the card's rollback counter stays: the disk has {counter}, and this card has seen no signed image with that"
            );
            return Ok(());
        }
        raise_in(card, ROLLBACK, board, counter)
    };
    if let Err(error) = raise() {
        warn!("the card does not remember rollback counter {counter}: {error}");
    }
}

fn raise_in(card: &dyn Folder, name: &str, board: &Board, counter: u64) -> io::Result<()> {
    let mut counters = counters(card, name)?;
    if counters
        .get(&board.name)
        .is_some_and(|before| *before >= counter)
    {
        return Ok(());
    }
    counters.set(&board.name, counter);
    card.write(name, counters.to_text().as_bytes())
}

fn counters(card: &dyn Folder, name: &str) -> io::Result<PerBoard<u64>> {
    let text = card.read(name)?.unwrap_or_default();
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
}
