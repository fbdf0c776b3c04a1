//! EEPROM images of the Raspberry Pi, made from the documented format.

use crate::pattern;

/// Configuration of the EEPROM images that follow.
pub const CONFIG: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf461\n";

/// A section begins with one of these: the first program,
pub const BOOTCODE: u32 = 0x55aa_f00f;
/// a file with a name,
pub const FILE: u32 = 0x55aa_f11f;
/// a module of the firmware,
pub const MODULE: u32 = 0x55aa_f33f;
/// a compressed one,
pub const LZ4_MODULE: u32 = 0x55aa_f44f;
/// nothing.
pub const PADDING: u32 = 0x55aa_feef;

/// Writes a section's header, whose length may be wrong, and its content.
pub fn section(image: &mut [u8], offset: usize, magic: u32, length: usize, content: &[u8]) {
    let length = u32::try_from(length).expect("a length");
    image[offset..offset + 4].copy_from_slice(&magic.to_be_bytes());
    image[offset + 4..offset + 8].copy_from_slice(&length.to_be_bytes());
    image[offset + 8..offset + 8 + content.len()].copy_from_slice(content);
}

/// Writes a section that is a file.
pub fn file(image: &mut [u8], offset: usize, name: &str, content: &[u8]) {
    let mut section_content = [0; 16].to_vec();
    section_content[..name.len()].copy_from_slice(name.as_bytes());
    section_content.extend(content);
    section(image, offset, FILE, section_content.len(), &section_content);
}

/// For a Raspberry Pi 5, as published before May 2026: the configuration is the last section.
pub fn eeprom_2712() -> Vec<u8> {
    let mut image = vec![0xff; 2 << 20];
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    section(&mut image, 0x1000, MODULE, 0x8_eff8, &pattern(0x8_eff8));
    file(&mut image, 0x9_0000, "pubkey.bin", &[0; 264]);
    section(&mut image, 0x9_0120, PADDING, 0x6ed8, &[]);
    file(&mut image, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());
    image
}

/// For a Raspberry Pi 4.
pub fn eeprom_2711() -> Vec<u8> {
    let mut image = vec![0xff; 512 << 10];
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    section(&mut image, 0x1000, MODULE, 0x1_eff8, &pattern(0x1_eff8));
    file(&mut image, 0x2_0000, "pubkey.bin", &[0; 264]);
    section(&mut image, 0x2_0120, PADDING, 0xed8, &[]);
    file(&mut image, 0x2_1000, "bootconf.txt", CONFIG.as_bytes());
    image
}

/// For a Raspberry Pi 5, with the firmware in two halves.
pub fn eeprom_ab() -> Vec<u8> {
    let mut image = vec![0xff; 2 << 20];
    let unset = *b"\0\0\0\0\xff\xff\xff\xff";
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    file(&mut image, 0x1000, "updatetime", &unset);
    section(&mut image, 0x1020, PADDING, 0xefd8, &[]);
    file(&mut image, 0x1_0000, "bootsys", &pattern(0xfe8));
    section(
        &mut image,
        0x1_1000,
        LZ4_MODULE,
        0x7_eff8,
        &pattern(0x7_eff8),
    );
    file(&mut image, 0x9_0000, "updatetime", &unset);
    section(&mut image, 0x9_0020, PADDING, 0x6fd8, &[]);
    file(&mut image, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());
    section(&mut image, 0x9_7040, PADDING, 0x6_ffb8, &[]);
    section(&mut image, 0x10_7000, PADDING, 0xf_6ff8, &[]);
    image
}
