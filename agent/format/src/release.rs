//! The names of a release's files, and how a reader handles a release that is being replaced.

use std::time::Duration;

use crate::signature::{PublicKey, SignatureError, verify_any};

/// The current manifest of a board.
pub const GOLDEN: &str = "golden.json";

/// The manifest of a channel, a line of images beside the current one.
#[must_use]
pub fn channel_manifest(channel: &str) -> String {
    format!("golden-{channel}.json")
}

/// How often a reader reads a manifest and a signature that do not fit.
pub const READS: u32 = 4;
/// The time between two reads.
pub const BETWEEN_READS: Duration = Duration::from_secs(1);

/// The name of a manifest's signature.
#[must_use]
pub fn signature_of(manifest: &str) -> String {
    format!("{manifest}.minisig")
}

/// The bytes of a manifest that is signed with one of these keys, and that key; or what is wrong with its signature.
///
/// A release replaces the manifest and its signature one after the other. A reader may meet the new one with the old, so it
/// waits and reads both again.
pub fn read_signed<'k, E>(
    keys: &[&'k PublicKey],
    mut read: impl FnMut() -> Result<(Vec<u8>, String), E>,
    mut wait: impl FnMut(Duration),
) -> Result<Result<(Vec<u8>, &'k PublicKey), SignatureError>, E> {
    let mut reads = 1;
    loop {
        let (manifest, minisig) = read()?;
        match verify_any(keys, &manifest, &minisig) {
            Ok(key) => return Ok(Ok((manifest, key))),
            Err(SignatureError::Mismatch) if reads < READS => {
                reads += 1;
                wait(BETWEEN_READS);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}
