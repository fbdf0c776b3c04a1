//! What is in a compressed file: one level of gzip, xz or zstd.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Larger content is not inspected, and reported as unreadable: it would take forever.
const LONGEST: u64 = 4 << 30;
/// KiB that xz may take; what `xz -9` makes needs 65 MiB. zstd has its own limit.
pub const XZ_MEMORY: u32 = 256 << 10;

type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// The content of a compressed file; `None` for any other file. The content ends where the file is broken, because no other
/// program can read further either.
pub fn open<'a>(mut file: impl Read + 'a) -> io::Result<Option<Unpacked<'a>>> {
    let mut start = Vec::new();
    (&mut file).take(6).read_to_end(&mut start)?;
    let whole =
        |start: Vec<u8>| -> BufReader<Whole<_>> { BufReader::new(Cursor::new(start).chain(file)) };
    let decoder: Box<dyn Read + 'a> = match start[..] {
        [0x1f, 0x8b, 8, ..] => Box::new(MultiGzDecoder::new(whole(start))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(XzReader::new_mem_limit(whole(start), true, XZ_MEMORY))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(whole(start))?),
        _ => return Ok(None),
    };
    Ok(Some(Unpacked {
        decoder,
        left: LONGEST,
    }))
}

/// A reader of what a compressed file holds.
pub struct Unpacked<'a> {
    decoder: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.decoder.read(buffer) {
            Err(error) if error.to_string().contains("memory") => return Err(error),
            read => read.unwrap_or(0),
        };
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than 4 GiB"))?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let mut file = open(bytes).expect("memory can be read")?;
        file.read_to_end(&mut all).expect("short");
        Some(all)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).expect("into memory");
        gzip.finish().expect("into memory")
    }

    #[test]
    fn all_members_of_a_file_are_read_and_a_broken_one_to_where_it_breaks() {
        let one = gzip(b"one ");
        let both = [&one[..], &gzip(b"two")].concat();
        assert_eq!(unpacked(&both).as_deref(), Some(&b"one two"[..]));
        assert_eq!(unpacked(&both[..one.len()]).as_deref(), Some(&b"one "[..]));
        let broken = [&one[..], b"\x1f\x8b\x08no gzip at all"].concat();
        assert_eq!(unpacked(&broken).as_deref(), Some(&b"one "[..]));
    }

    #[test]
    fn other_files_are_not_unpacked() {
        for bytes in [&b""[..], b"\x1f\x8b", b"plain text"] {
            assert_eq!(unpacked(bytes), None);
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut file = Unpacked {
            decoder: Box::new(io::repeat(0)),
            left: 1 << 20,
        };
        let error = io::copy(&mut file, &mut io::sink()).expect_err("too long");
        assert!(error.to_string().contains("more than 4 GiB"), "{error}");
    }
}
