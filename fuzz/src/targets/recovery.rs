//! A `recovery.bin`, in pieces.

use crate::sparse;
use gild_boards::rpi_eeprom::{RECOVERY_LENGTH, Recovery, day};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    assert_eq!(Recovery::of(input.get(..100).unwrap_or(input)), None);
    let program = sparse::unpack(input, *RECOVERY_LENGTH.start(), 0);
    if let Some(found) = Recovery::of(&program) {
        let is_shown = |line: &String| line.chars().all(|c| (' '..='~').contains(&c));
        assert!(found.line.as_ref().is_none_or(is_shown));
        if let Some(built) = found.built {
            assert_eq!(day(built).len(), "2026-01-01".len());
        }
    }
}
