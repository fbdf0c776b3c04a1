//! The Raspberry Pi's EEPROM image: which of the two sizes, the configuration to set, and the image in pieces. An edit that
//! works gives an image with that configuration, and an edit that fails changes nothing.

use crate::{parts, sparse};
use gild_boards::rpi_eeprom::Image;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [kind, config, pieces] = parts(input);
    let size = if kind.first() == Some(&4) {
        512 << 10
    } else {
        2 << 20
    };
    let bytes = sparse::unpack(pieces, size, 0xff);
    let Ok(mut image) = Image::parse(bytes.clone()) else {
        return;
    };
    assert!(image.bytes() == bytes);
    let mut end = 0;
    for section in image.sections() {
        assert!(section.offset >= end && section.content().end <= size);
        end = section.content().end;
    }
    let _ = (
        image.timestamp(),
        image.build_timestamp(),
        image.mfg_version(),
    );
    match image.set_config(config) {
        Ok(()) => {
            assert!(!image.is_live() && !image.is_signed());
            assert_eq!(image.config(), Ok(config));
        }
        Err(_) => assert!(image.bytes() == bytes),
    }
    if image.set_timestamp(1_750_000_000).is_ok() {
        assert_eq!(image.timestamp(), Some(1_750_000_000));
    }
    assert!(Image::parse(image.bytes().to_vec()).as_ref() == Ok(&image));
}
