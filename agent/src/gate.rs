//! The gate: the file on the card that says which image has proven itself on boards of each kind. U-Boot's script starts a disk
//! that carries it without the agent. docs/card.md has the rule.

use std::io;

use gild_boards::Board;
use gild_card_format::{GATE, Gate};
use gild_format::ImageId;

use crate::card::folder::Folder;

/// Notes on the card that this image has proven itself on boards of this kind.
pub fn remember(card: &dyn Folder, board: &Board, image_id: &str) -> io::Result<()> {
    let mut gate = read(card)?;
    let image_id = ImageId::parse(image_id).map_err(io::Error::other)?;
    if gate.get(&board.name) == Some(&image_id) {
        return Ok(());
    }
    gate.set(&board.name, image_id);
    card.write(GATE, gate.to_text().as_bytes())
}

/// Closes the gate for boards of this kind before their boot flash is written. After a power cut an open gate would start the disk, and the
/// flash would stay half written.
pub fn close(card: &dyn Folder, board: &Board) -> io::Result<()> {
    let mut gate = read(card)?;
    if gate.get(&board.name).is_none() {
        return Ok(());
    }
    gate.remove(&board.name);
    // A full card has no room for the new file. If the file is missing, the gate is closed too.
    card.write(GATE, gate.to_text().as_bytes())
        .or_else(|_| card.remove(GATE))
}

fn read(card: &dyn Folder) -> io::Result<Gate> {
    let text = card.read(GATE)?.unwrap_or_default();
    Ok(Gate::parse(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn each_kind_of_board_has_its_line_and_no_one_touches_another_s() {
        let card = MemoryCard::new(&Power::on());
        let board = |name| gild_boards::by_name(name).expect("a board");
        remember(&card, board("rpi5"), "rpi5-1").expect("a line");
        remember(&card, board("rock5b"), "rock5b-1").expect("a line");
        remember(&card, board("rpi5"), "rpi5-2").expect("a line");
        close(&card, board("rock5b")).expect("closed");
        assert_eq!(card.text(GATE).as_deref(), Some("rpi5=rpi5-2\n"));
    }
}
