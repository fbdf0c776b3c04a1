//! The `.sig` file beside an EEPROM image. What is accepted is the same after it is written and read again.
#![no_main]

use gild_boards::rpi_eeprom::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(signature) = Signature::parse(input) {
        assert_eq!(Signature::parse(&signature.to_text()), Ok(signature));
    }
});
