//! The least rollback counter of an image: the highest that has proven itself, as the disk and the card remember it.

use std::io;

use gild_boards::Board;
use gild_card_format::PerBoard;
use gild_card_format::names::ROLLBACK;
use log::warn;

use crate::card::folder::Folder;

/// The least counter that the card knows for boards of this kind.
pub fn on_card(card: Option<&dyn Folder>, board: &Board) -> io::Result<u64> {
    let read = |card: &dyn Folder| Ok(counters(card)?.get(&board.name).copied().unwrap_or(0));
    card.map_or(Ok(0), read)
}

/// Raises the card's counter to that of an image that has proven itself. It never lowers it.
pub fn raise(card: &dyn Folder, board: &Board, counter: u64) {
    let raise = || -> io::Result<()> {
        if on_card(Some(card), board)? >= counter {
            return Ok(());
        }
        let mut counters = counters(card)?;
        counters.set(&board.name, counter);
        card.write(ROLLBACK, counters.to_text().as_bytes())
    };
    if let Err(error) = raise() {
        warn!("the card does not remember rollback counter {counter}: {error}");
    }
}

fn counters(card: &dyn Folder) -> io::Result<PerBoard<u64>> {
    let text = card.read(ROLLBACK)?.unwrap_or_default();
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
        for (counter, expected) in [(7, 7), (5, 7), (8, 8)] {
            raise(&card, board("rpi5"), counter);
            assert_eq!(floor("rpi5"), expected);
        }
        assert_eq!(floor("rock5b"), 0);
        raise(&card, board("rock5b"), u64::MAX);
        assert_eq!((floor("rpi5"), floor("rock5b")), (8, u64::MAX));
    }
}
