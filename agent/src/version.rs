//! The agent's version, as the program itself and `gild card build` know it.

use gild_card_format::agent_version::MARK;

/// `gild card build` looks for this in the program.
const MARKED: &str = concat!("gild-agent-version=", env!("CARGO_PKG_VERSION"), "\n");

/// The version. It is a part of [`MARKED`], which the program therefore has as a whole.
pub const VERSION: &str = MARKED
    .split_at(MARK.len())
    .1
    .split_at(env!("CARGO_PKG_VERSION").len())
    .0;

#[cfg(test)]
mod tests {
    use gild_card_format::agent_version::in_program;

    use super::*;

    #[test]
    fn a_card_gets_the_version_that_the_agent_says() {
        assert_eq!(VERSION, env!("CARGO_PKG_VERSION"));
        assert_eq!(in_program(MARKED.as_bytes()), Some(VERSION));
    }
}
