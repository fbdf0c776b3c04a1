//! The `.sig` file beside an EEPROM image. Accepted input is the same after it is written and read again.

use gild_boards::rpi_eeprom::Signature;

/// Says what holds of this input.
pub fn check_input(input: &str) {
    if let Ok(signature) = Signature::parse(input) {
        assert_eq!(Signature::parse(&signature.to_text()), Ok(signature));
    }
}
