//! The version of the agent on a card. A node whose disk is to be written again reads it, because an image may need a newer agent.

use gild_format::version_numbers;

/// The card's file with the version in it, on one line.
pub const AGENT_VERSION: &str = "agent.txt";
/// The agent's program has this before its version, and a line feed after it.
pub const MARK: &str = "gild-agent-version=";

/// The version in the agent's program. A program without the mark has none.
#[must_use]
pub fn in_program(program: &[u8]) -> Option<&str> {
    let mut rest = program;
    while let Some(at) = memchr::memmem::find(rest, MARK.as_bytes()) {
        rest = &rest[at + MARK.len()..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let version = length.and_then(|length| str::from_utf8(&rest[..length]).ok());
        if let Some(version) = version.filter(|version| version_numbers(version).is_some()) {
            return Some(version);
        }
    }
    None
}

/// The version in the card's file.
#[must_use]
pub fn in_file(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| version_numbers(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_its_version_behind_the_mark() {
        let program = format!("\x7fELF {MARK}\0{MARK}none\n{MARK}1.20.3\nand more {MARK}9.9.9\n");
        assert_eq!(in_program(program.as_bytes()), Some("1.20.3"));
        for none in ["", MARK, "1.2.3\n"] {
            assert_eq!(in_program(none.as_bytes()), None, "{none}");
        }
        assert_eq!(in_program(format!("{MARK}1.2.3").as_bytes()), None);
    }

    #[test]
    fn what_is_no_version_counts_as_none() {
        assert_eq!(in_file("0.2.0\n"), Some("0.2.0"));
        for none in ["", "0.2", "0.2.0.1", "0.+2.0", "a.b.c", "0.2.-1"] {
            assert_eq!(in_file(none), None, "{none}");
        }
    }
}
