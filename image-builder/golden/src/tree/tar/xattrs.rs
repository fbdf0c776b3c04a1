//! Reads extended attributes from pax headers.
//!
//! The tar crate ends a pax record at its first newline. File capabilities are bytes of any value, so the records are
//! read here by their lengths, as the format says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header};

use super::XATTR;

const BLOCK: usize = 512;
/// More than any file system lets a file have.
const MAX_RECORDS: u64 = 1 << 20;

/// The attributes that the extension headers between two entries give to the second.
pub fn between(file: &File, start: u64, end: u64) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut xattrs = BTreeMap::new();
    let mut at = start;
    while at + (BLOCK as u64) <= end {
        let mut header = Header::new_old();
        file.read_exact_at(header.as_mut_bytes(), at)?;
        at += BLOCK as u64;
        let size = header.entry_size()?;
        if header.entry_type() == EntryType::XHeader {
            if size > MAX_RECORDS {
                return Err(invalid("a pax header of more than 1 MiB"));
            }
            let mut records = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            file.read_exact_at(&mut records, at)?;
            parse(&records, &mut xattrs)?;
        }
        at += size.next_multiple_of(BLOCK as u64);
    }
    Ok(xattrs)
}

/// Records of the form `LENGTH KEY=VALUE\n`, the length counting all of it.
fn parse(mut records: &[u8], xattrs: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    while !records.is_empty() {
        let (key, value, rest) =
            split(records).ok_or_else(|| invalid("a pax record that does not fit its length"))?;
        if let Some(name) = key.strip_prefix(XATTR) {
            xattrs.insert(name.to_owned(), value.to_vec());
        } else if key.starts_with("GNU.sparse.") {
            return Err(invalid(
                "a sparse file, which an image cannot take; next: write the tar without --sparse",
            ));
        }
        records = rest;
    }
    Ok(())
}

fn split(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = str::from_utf8(&record[..equals]).ok()?;
    Some((key, &record[equals + 1..], &records[length..]))
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
