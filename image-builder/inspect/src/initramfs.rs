//! The initramfs: one cpio archive after the other, the last of them usually compressed.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use cpio::newc;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use crate::packed::XZ_MEMORY;

/// An archive that is packed more often than this is not an initramfs: the kernel unpacks once.
const MOST_PACKED: u32 = 4;
/// The longest path that Linux has.
const LONGEST_NAME: u32 = 4096;
/// Bytes of the header of a file in an archive, and where in it the length of the name is.
const HEADER: usize = 110;
const NAME_LENGTH: std::ops::Range<usize> = 94..102;

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Calls `visit` with the path and the content of every file.
pub fn read(
    file: impl Read,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    archives(&mut BufReader::new(file), MOST_PACKED, visit)
}

fn archives(
    reader: &mut dyn BufRead,
    deeper: u32,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        skip_zeros(reader)?;
        let mut start = [0; 6];
        let mut length = 0;
        while length < start.len() {
            match reader.read(&mut start[length..])? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 {
            return Ok(());
        }
        let inner = deeper.checked_sub(1);
        let inner = inner.ok_or_else(|| invalid("nested too often"));
        // Every reader below takes no more than its archive: what follows may be another one.
        let mut rest = start[..length].chain(&mut *reader);
        match start {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2'] => archive(&mut rest, visit)?,
            [0x1f, 0x8b, ..] => {
                archives(&mut BufReader::new(GzDecoder::new(rest)), inner?, visit)?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::Decoder::with_buffer(rest)?.single_frame();
                archives(&mut BufReader::new(decoder), inner?, visit)?;
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                let decoder = XzReader::new_mem_limit(rest, false, XZ_MEMORY);
                archives(&mut BufReader::new(decoder), inner?, visit)?;
            }
            _ => {
                return Err(invalid(
                    "neither a cpio archive nor one compressed with gzip, zstd or xz",
                ));
            }
        }
    }
}

fn archive(
    mut reader: &mut dyn Read,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        // The crate takes memory for the name before it looks for its bytes.
        let mut header = [0; HEADER];
        reader.read_exact(&mut header)?;
        let length = str::from_utf8(&header[NAME_LENGTH]).ok();
        let length = length.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if length.is_none_or(|length| length > LONGEST_NAME) {
            return Err(invalid("a file with a name that is too long"));
        }
        let mut entry = newc::Reader::new(header.chain(reader))?;
        if entry.entry().is_trailer() {
            entry.finish()?;
            return Ok(());
        }
        let name = entry.entry().name().to_owned();
        visit(name.trim_start_matches("./"), &mut entry)?;
        reader = entry.finish()?.into_inner().1;
    }
}

fn skip_zeros(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
        let more = zeros > 0 && zeros == buffer.len();
        reader.consume(zeros);
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = newc::Builder::new("init").write(Vec::new(), 4);
        writer.write_all(b"text").expect("into memory");
        newc::trailer(writer.finish().expect("into memory")).expect("into memory")
    }

    fn packed(mut bytes: Vec<u8>, times: u32) -> Vec<u8> {
        for _ in 0..times {
            let fast = flate2::Compression::fast();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), fast);
            gzip.write_all(&bytes).expect("into memory");
            bytes = gzip.finish().expect("into memory");
        }
        bytes
    }

    fn names(file: &[u8]) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        read(file, &mut |name, _| {
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn what_is_packed_again_and_again_is_refused() {
        for times in 0..=MOST_PACKED {
            let found = names(&packed(archive(), times)).expect("an initramfs");
            assert_eq!(found, ["init"]);
        }
        // So often that the stack would not do.
        for times in [MOST_PACKED + 1, 1000] {
            let refused = names(&packed(archive(), times)).expect_err("too deep");
            assert!(refused.to_string().contains("nested"), "{refused}");
        }
    }

    #[test]
    fn a_name_of_gigabytes_takes_no_memory() {
        for length in [b"fffffff0", b"00001001", b"no digit"] {
            let mut bytes = archive();
            bytes[NAME_LENGTH].copy_from_slice(length);
            let refused = names(&bytes).expect_err("too long");
            assert!(refused.to_string().contains("too long"), "{refused}");
        }
    }
}
