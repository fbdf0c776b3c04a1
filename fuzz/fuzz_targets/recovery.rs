//! A `recovery.bin`, in pieces.
#![no_main]

use gild_boards::rpi_eeprom::{RECOVERY_LENGTH, Recovery, day};
use gild_fuzz::sparse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    assert_eq!(Recovery::of(input.get(..100).unwrap_or(input)), None);
    let program = sparse::unpack(input, *RECOVERY_LENGTH.start(), 0);
    if let Some(found) = Recovery::of(&program) {
        let is_shown = |line: &String| line.chars().all(|c| (' '..='~').contains(&c));
        assert!(found.line.as_ref().is_none_or(is_shown));
        if let Some(built) = found.built {
            assert_eq!(day(built).len(), "2026-01-01".len());
        }
    }
});
