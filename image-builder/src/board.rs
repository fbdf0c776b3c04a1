//! The board that an option names.

use anyhow::{Result, anyhow};
use gild_boards::Board;
use gild_card_format::likeliest;

/// The board of this name, for an option.
pub fn parse(name: &str) -> Result<&'static Board, String> {
    named(name).map_err(|error| error.to_string())
}

/// The board of this name.
pub fn named(name: &str) -> Result<&'static Board> {
    gild_boards::by_name(name).ok_or_else(|| {
        let known = || gild_boards::all().iter().map(|board| &*board.name);
        let meant = likeliest(name, known())
            .map_or_else(String::new, |known| format!(" (did you mean `{known}`?)"));
        let names = known().collect::<Vec<_>>().join(", ");
        anyhow!("`{name}` is not a board that gild knows{meant}; next: give one of {names}")
    })
}
