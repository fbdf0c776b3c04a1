//! The initramfs: one cpio archive after the other, the last of them usually compressed.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use cpio::newc;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

/// Calls `visit` with the path and the content of every file.
pub fn read(
    file: impl Read,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    archives(&mut BufReader::new(file), visit)
}

fn archives(
    reader: &mut dyn BufRead,
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
        // Every reader below takes no more than its archive: what follows may be another one.
        let mut rest = start[..length].chain(&mut *reader);
        match start {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2'] => archive(&mut rest, visit)?,
            [0x1f, 0x8b, ..] => archives(&mut BufReader::new(GzDecoder::new(rest)), visit)?,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::Decoder::with_buffer(rest)?.single_frame();
                archives(&mut BufReader::new(decoder), visit)?;
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                archives(&mut BufReader::new(XzReader::new(rest, false)), visit)?;
            }
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
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
        let mut entry = newc::Reader::new(reader)?;
        if entry.entry().is_trailer() {
            entry.finish()?;
            return Ok(());
        }
        let name = entry.entry().name().to_owned();
        visit(name.trim_start_matches("./"), &mut entry)?;
        reader = entry.finish()?;
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
