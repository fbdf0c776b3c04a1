//! Answers of an NFS server: the record marks, the head of a message, and the results that carry bytes. No result is longer
//! than its limit, and each reader takes as many bytes as it says.

use gild_nfs::replies::{
    LookupReply, MAX_MESSAGE, MAX_PATH, MAX_READ, MountReply, ReadReply, ReadlinkReply, Record,
    check_verifier,
};
use nfs3_types::xdr_codec::Unpack;

const MAX_HANDLE: usize = 64;

fn unpack<T: Unpack>(input: &[u8]) -> Option<T> {
    let mut rest = input;
    let (found, length) = T::unpack(&mut rest).ok()?;
    assert_eq!(length, input.len() - rest.len());
    assert!(length.is_multiple_of(4));
    Some(found)
}

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let mut record = Record::default();
    let mut length = 0;
    for mark in input.as_chunks::<4>().0 {
        let Ok(fragment) = record.next(*mark) else {
            break;
        };
        length += fragment.length;
        assert!(length <= MAX_MESSAGE as usize);
    }
    let _ = check_verifier(input);
    if let Some(MountReply(Ok(handle))) = unpack(input) {
        assert!(handle.data.len() <= MAX_HANDLE);
    }
    if let Some(LookupReply(Ok(entry))) = unpack(input) {
        assert!(entry.handle.data.len() <= MAX_HANDLE);
    }
    if let Some(ReadlinkReply(Ok(target))) = unpack(input) {
        assert!(target.len() <= MAX_PATH);
    }
    if let Some(ReadReply(Ok(data))) = unpack(input) {
        assert!(data.bytes.len() <= MAX_READ as usize);
    }
}
