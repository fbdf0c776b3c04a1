//! The answers that carry bytes of a length the server chooses.
//!
//! The decoders of `nfs3_types` allocate the length that the message claims, up to 16 GiB, and then
//! look whether the bytes are there. These know the limits of RFC 1813.

use std::io::Read;

use nfs3_types::mount::{FHSIZE3, mountstat3};
use nfs3_types::nfs3::{Nfs3Option, ftype3, nfs_fh3, nfsstat3, post_op_attr};
use nfs3_types::xdr_codec::{Error, Opaque, Result, Unpack};

use crate::limits::{MAX_PATH, MAX_READ};

const MAX_AUTH_FLAVORS: u32 = 64;
const MAX_HANDLE: usize = FHSIZE3;

/// MNT, with the handle of the directory.
pub struct MountReply(pub std::result::Result<nfs_fh3, mountstat3>);

impl Unpack for MountReply {
    fn unpack(input: &mut impl Read) -> Result<(Self, usize)> {
        let (status, mut length) = mountstat3::unpack(input)?;
        if !matches!(status, mountstat3::MNT3_OK) {
            return Ok((Self(Err(status)), length));
        }
        let (handle, handle_length) = handle(input)?;
        let (flavors, flavors_length) = u32::unpack(input)?;
        length += handle_length + flavors_length;
        if flavors > MAX_AUTH_FLAVORS {
            return Err(Error::InvalidLength(flavors as usize));
        }
        for _ in 0..flavors {
            length += u32::unpack(input)?.1;
        }
        Ok((Self(Ok(handle)), length))
    }
}

/// LOOKUP.
pub struct LookupReply(pub std::result::Result<Entry, nfsstat3>);

/// What a LOOKUP found.
#[derive(Debug)]
pub struct Entry {
    /// Its handle.
    pub handle: nfs_fh3,
    /// What it is, if the server says so.
    pub kind: Option<ftype3>,
}

impl Unpack for LookupReply {
    fn unpack(input: &mut impl Read) -> Result<(Self, usize)> {
        let (status, mut length) = nfsstat3::unpack(input)?;
        let result = if status == nfsstat3::NFS3_OK {
            let (handle, handle_length) = handle(input)?;
            let (attributes, attributes_length) = post_op_attr::unpack(input)?;
            length += handle_length + attributes_length;
            let kind = kind_of(&attributes);
            Ok(Entry { handle, kind })
        } else {
            Err(status)
        };
        length += post_op_attr::unpack(input)?.1;
        Ok((Self(result), length))
    }
}

/// What something with these attributes is.
pub fn kind_of(attributes: &post_op_attr) -> Option<ftype3> {
    match attributes {
        Nfs3Option::Some(attributes) => Some(attributes.type_),
        Nfs3Option::None => None,
    }
}

/// READLINK, with the target of the link.
pub struct ReadlinkReply(pub std::result::Result<Vec<u8>, nfsstat3>);

impl Unpack for ReadlinkReply {
    fn unpack(input: &mut impl Read) -> Result<(Self, usize)> {
        let (status, status_length) = nfsstat3::unpack(input)?;
        let (_, attributes_length) = post_op_attr::unpack(input)?;
        let mut length = status_length + attributes_length;
        if status != nfsstat3::NFS3_OK {
            return Ok((Self(Err(status)), length));
        }
        let (target, target_length) = opaque(input, MAX_PATH)?;
        length += target_length;
        Ok((Self(Ok(target)), length))
    }
}

/// READ.
pub struct ReadReply(pub std::result::Result<ReadData, nfsstat3>);

/// What a READ brought.
#[derive(Debug)]
pub struct ReadData {
    /// The file after the read.
    pub attributes: post_op_attr,
    /// Whether the server saw the end of the file.
    pub eof: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Unpack for ReadReply {
    fn unpack(input: &mut impl Read) -> Result<(Self, usize)> {
        let (status, status_length) = nfsstat3::unpack(input)?;
        let (attributes, attributes_length) = post_op_attr::unpack(input)?;
        let mut length = status_length + attributes_length;
        if status != nfsstat3::NFS3_OK {
            return Ok((Self(Err(status)), length));
        }
        let (count, count_length) = u32::unpack(input)?;
        let (eof, eof_length) = bool::unpack(input)?;
        let (bytes, bytes_length) = opaque(input, MAX_READ as usize)?;
        length += count_length + eof_length + bytes_length;
        if bytes.len() != count as usize {
            return Err(Error::InvalidLength(bytes.len()));
        }
        let data = ReadData {
            attributes,
            eof,
            bytes,
        };
        Ok((Self(Ok(data)), length))
    }
}

fn handle(input: &mut impl Read) -> Result<(nfs_fh3, usize)> {
    let (bytes, length) = opaque(input, MAX_HANDLE)?;
    let data = Opaque::owned(bytes);
    Ok((nfs_fh3 { data }, length))
}

/// Bytes behind their length, padded to a multiple of four.
fn opaque(input: &mut impl Read, limit: usize) -> Result<(Vec<u8>, usize)> {
    let (length, length_length) = u32::unpack(input)?;
    let length = length as usize;
    if length > limit {
        return Err(Error::InvalidLength(length));
    }
    let mut bytes = Vec::with_capacity(length);
    input.take(length as u64).read_to_end(&mut bytes)?;
    let padding = length.wrapping_neg() % 4;
    input.read_exact(&mut [0; 3][..padding])?;
    if bytes.len() != length {
        return Err(Error::InvalidLength(bytes.len()));
    }
    Ok((bytes, length_length + length + padding))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use nfs3_types::xdr_codec::{Error, Unpack};

    use super::{LookupReply, MountReply, ReadReply, ReadlinkReply};

    fn words(words: &[u32]) -> Cursor<Vec<u8>> {
        Cursor::new(words.iter().flat_map(|word| word.to_be_bytes()).collect())
    }

    fn invalid_length<T: Unpack>(message: &[u32]) -> usize {
        match T::unpack(&mut words(message)) {
            Err(Error::InvalidLength(length)) => length,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the message was believed"),
        }
    }

    #[test]
    fn a_length_of_gigabytes_is_refused_before_memory_is_taken() {
        let huge = 0xffff_fff0;
        assert_eq!(invalid_length::<MountReply>(&[0, huge]), huge as usize);
        assert_eq!(
            invalid_length::<MountReply>(&[0, 4, 7, huge]),
            huge as usize
        );
        assert_eq!(invalid_length::<LookupReply>(&[0, huge]), huge as usize);
        assert_eq!(
            invalid_length::<ReadlinkReply>(&[0, 0, huge]),
            huge as usize
        );
        assert_eq!(
            invalid_length::<ReadReply>(&[0, 0, huge, 0, huge]),
            huge as usize
        );
    }

    #[test]
    fn a_count_that_is_not_the_length_of_the_data_is_refused() {
        assert_eq!(invalid_length::<ReadReply>(&[0, 0, 8, 0, 4, 7]), 4);
        assert_eq!(invalid_length::<ReadReply>(&[0, 0, 4, 0, 8, 7]), 4);
    }

    #[test]
    fn a_message_that_ends_early_is_refused() {
        let whole = [0, 0, 6, 1, 6, 0x6162_6364, 0x6566_0000];
        let (reply, length) = ReadReply::unpack(&mut words(&whole)).expect("a proper READ");
        assert_eq!(length, 28);
        let data = reply.0.expect("status OK");
        assert_eq!(data.bytes, b"abcdef");
        assert!(data.eof);
        for end in 0..whole.len() {
            assert!(ReadReply::unpack(&mut words(&whole[..end])).is_err());
        }
    }
}
