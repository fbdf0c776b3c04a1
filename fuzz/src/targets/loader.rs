//! U-Boot's file for the flash of a Rock 5B, in pieces. A changed boot order gives a file that can be read and has that order.

use crate::sparse;
use gild_boards::rk3588::{Image, Medium, NVME_FIRST};

const LENGTH: usize = 0x6_8000;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let bytes = sparse::unpack(input, LENGTH, 0xff);
    let Ok(image) = Image::parse(bytes.clone(), Medium::Spi) else {
        return;
    };
    assert!(image.bytes() == bytes);
    assert!(image.has_loader_of(&image));
    let _ = (
        image.boards(),
        image.command("fatrm"),
        image.is_nvme_first(),
    );
    let Ok(changed) = image.with_boot_targets(&NVME_FIRST) else {
        return;
    };
    assert_eq!(changed.bytes().len(), bytes.len());
    assert_eq!(changed.is_nvme_then_card(), Ok(true));
    let read = Image::parse(changed.bytes().to_vec(), Medium::Spi);
    assert!(read.as_ref() == Ok(&changed));
    assert!(changed.with_boot_targets(&NVME_FIRST).as_ref() == Ok(&changed));
}
