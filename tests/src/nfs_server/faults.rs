//! What the server can do wrong.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nfs3_server::nfs3_types::nfs3::nfsstat3;

/// What the server does wrong. The default is nothing.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Faults {
    /// How long each READ takes.
    pub read_delay: Duration,
    /// The most bytes that a READ brings.
    pub short_reads: Option<u32>,
    /// The next READs are answered with these errors, one each.
    pub read_errors: VecDeque<nfsstat3>,
    /// Bits that arrive wrong.
    pub flips: Vec<BitFlip>,
    /// This many READs return four bytes more than were asked for.
    pub oversized_reads: u32,
    /// The read size that FSINFO names, when it is not 1 MiB.
    pub read_size: Option<u32>,
    /// Answers come without the attributes of the file, as the protocol allows.
    pub no_attributes: bool,
    /// This many times the server does not know the attributes of a file or folder. A LOOKUP asks twice.
    pub missing_attributes: u32,
    /// Only the export itself can be mounted, not a directory below it.
    pub only_whole_export: bool,
    /// This many mounts are refused.
    pub refused_mounts: u32,
    /// Every call is rejected because of its caller.
    pub refuse_callers: bool,
    /// Answers are held back, and are sent when this is over.
    pub held: bool,
    /// Answers come in fragments of this many bytes, after an empty one.
    pub fragments: Option<usize>,
    /// Connections are accepted, but no answer comes.
    pub silent: bool,
    /// A connection is closed after this many more bytes of answers, on all connections together. Then the fault is over.
    pub close_after: Option<u64>,
    /// Connections are closed as soon as they are accepted. To refuse connections, stop the server.
    pub close_on_accept: bool,
}

/// A bit of a file that arrives wrong in this many READs.
#[derive(Clone, Debug)]
pub struct BitFlip {
    /// The file, relative to the exported directory.
    pub file: PathBuf,
    /// The byte in the file.
    pub offset: u64,
    /// The bit in the byte, 0 to 7.
    pub bit: u8,
    /// In how many READs that cover the byte.
    pub times: u32,
}

impl Faults {
    /// How many of the next bytes of answers to send, and whether to close then.
    pub(super) fn answer(&mut self, length: usize) -> (usize, bool) {
        if self.silent {
            return (0, false);
        }
        let Some(left) = self.close_after else {
            return (length, false);
        };
        let after = left.checked_sub(length as u64);
        self.close_after = after;
        match after {
            Some(_) => (length, false),
            None => (usize::try_from(left).unwrap_or(length), true),
        }
    }

    /// Turns the bits that are wrong among these bytes of a file.
    pub(super) fn flip_bits(&mut self, file: &Path, start: u64, bytes: &mut [u8]) {
        let flips = self.flips.iter_mut();
        for flip in flips.filter(|flip| flip.file == file && flip.times > 0) {
            let index = flip
                .offset
                .checked_sub(start)
                .and_then(|index| usize::try_from(index).ok());
            if let Some(byte) = index.and_then(|index| bytes.get_mut(index)) {
                *byte ^= 1 << flip.bit;
                flip.times -= 1;
            }
        }
    }
}
