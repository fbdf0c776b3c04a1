//! Packs the content of a flash, which is mostly one repeated byte, into a file that `zstd -d` unpacks.
//!
//! The agent has room for zstd's decoder but not for its encoder. So this writes the simplest frames of the format (RFC 8878): unpacked
//! blocks, and blocks of one repeated byte.

use std::io;

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// One segment, whose length stands in the next four bytes; no checksum.
const DESCRIPTOR: u8 = 0b1010_0000;
/// The longest block that a decoder accepts.
const BLOCK: usize = 128 << 10;
/// The unit that is examined: an erase block of the flash.
const PART: usize = 4096;

const RAW: usize = 0;
const REPEATED: usize = 1;

/// Packs these bytes.
pub fn pack(content: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.push(DESCRIPTOR);
    let length = u32::try_from(content.len()).expect("no boot flash has 4 GiB");
    file.extend(length.to_le_bytes());
    let mut rest = content;
    loop {
        let (kind, length) = first_block(rest);
        let (block, after) = rest.split_at(length);
        let is_last = usize::from(after.is_empty());
        let header = block.len() << 3 | kind << 1 | is_last;
        file.extend(&header.to_le_bytes()[..3]);
        file.extend(if kind == REPEATED { &block[..1] } else { block });
        if after.is_empty() {
            return file;
        }
        rest = after;
    }
}

/// The kind and the length of the block that these bytes begin with.
fn first_block(bytes: &[u8]) -> (usize, usize) {
    let mut parts = bytes.chunks(PART).map(repeated);
    let first = parts.next().flatten();
    let more = parts.take_while(|part| match first {
        Some(byte) => *part == Some(byte),
        None => part.is_none(),
    });
    let length = PART * (1 + more.count());
    let kind = if first.is_some() { REPEATED } else { RAW };
    (kind, length.min(BLOCK).min(bytes.len()))
}

/// The byte of which this part entirely consists.
fn repeated(part: &[u8]) -> Option<u8> {
    let first = *part.first()?;
    // A single comparison is fast however the program is compiled.
    (part[1..] == part[..part.len() - 1]).then_some(first)
}

/// Unpacks a file to this many bytes. Fails if it is another kind of file or has another length.
pub fn unpack(file: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let content = zstd::bulk::decompress(file, length)?;
    if content.len() == length {
        Ok(content)
    } else {
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_by_the_library() {
        let noise: Vec<u8> = (0..=250_u8).cycle().take(300_000).collect();
        let erased = vec![0xff; 300_000];
        for content in [
            Vec::new(),
            vec![7],
            noise.clone(),
            erased.clone(),
            [&noise[..], &erased, &[0; 5000], &noise[..4097]].concat(),
            [&erased[..], &noise].concat(),
        ] {
            let packed = pack(&content);
            let found = unpack(&packed, content.len()).expect("a frame");
            assert!(found == content, "{} bytes", content.len());
            assert!(unpack(&packed[..packed.len() - 1], content.len()).is_err());
            assert!(unpack(&packed, content.len() + 1).is_err());
        }
        assert!(pack(&erased).len() < 50);
    }
}
