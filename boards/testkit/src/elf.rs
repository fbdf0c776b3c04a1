//! Files that look like programs for the boards.

/// The least that is a static aarch64 program by its headers: one segment, loaded. Nothing runs it.
pub fn elf() -> Vec<u8> {
    elf_of(2, 8, 64, 56)
}

/// The same as a 32-bit program, which the processor's 64-bit kernel need not run.
pub fn elf32() -> Vec<u8> {
    elf_of(1, 4, 52, 32)
}

fn elf_of(class: u8, word: usize, header: u64, segment: u64) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    file.resize(16, 0);
    for (value, width) in [
        (2, 2),   // executable
        (183, 2), // aarch64
        (1, 4),
        (0x40_0000, word),
        (header, word), // where the segments' table is
        (0, word),
        (0, 4),
        (header, 2),
        (segment, 2), // size of one entry there
        (1, 2),       // number of entries
        (0, 2),
        (0, 2),
        (0, 2),
        (1, 4), // loaded
    ] {
        file.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    file.resize(usize::try_from(header + segment).expect("small"), 0);
    file
}
