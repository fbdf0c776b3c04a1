//! The board that an option names.

use std::ffi::OsStr;

use anyhow::{Result, anyhow};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use gild_boards::Board;
use gild_card_format::likeliest;

/// Reads the board of an option. The help and the completions list the boards.
#[derive(Clone)]
pub struct Named;

impl TypedValueParser for Named {
    type Value = &'static Board;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let parse = |name: &str| named(name).map_err(|error| error.to_string());
        parse.parse_ref(command, option, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = gild_boards::all().iter().map(|board| &*board.name);
        Some(Box::new(names.map(PossibleValue::new)))
    }
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
