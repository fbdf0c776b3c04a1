//! The names of a release's files, and how a reader handles a release that is being replaced.

use std::time::Duration;

use crate::ImageId;
use crate::signature::{PublicKey, SignatureError, verify_any};

/// The current manifest of a board.
pub const GOLDEN: &str = "golden.json";

/// What the manifests begin with that lead to images: the current one's, and those of channels.
const RELEASE: &str = "golden";

/// Ending of every manifest.
const MANIFEST: &str = ".json";

/// Ending of the list of packages.
pub const PACKAGES: &str = "spdx.json";

/// Endings of the files that describe an image: its packages, what went in, what was looked for in it.
pub const ABOUT: [&str; 3] = [PACKAGES, "build.json", "inspection.json"];

/// The manifest of a channel, a line of images beside the current one.
#[must_use]
pub fn channel_manifest(channel: &str) -> String {
    format!("golden-{channel}.json")
}

/// The name of the channel whose manifest has this file name. Whether it can be the name of one, its reader knows.
#[must_use]
pub fn channel_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(MANIFEST)?.strip_prefix(RELEASE)?;
    stem.strip_prefix('-')
}

/// The image whose manifest has this file name.
#[must_use]
pub fn image_of(name: &str) -> Option<ImageId> {
    let id = ImageId::parse(name.strip_suffix(MANIFEST)?).ok()?;
    may_name_an_image(&id).then_some(id)
}

/// Whether the files of an image with this id are not taken for other files of the folder.
#[must_use]
pub fn may_name_an_image(id: &ImageId) -> bool {
    let mut endings = ABOUT
        .iter()
        .filter_map(|ending| ending.strip_suffix(MANIFEST));
    let is_other = |ending: &str| id.as_str().ends_with(&format!(".{ending}"));
    !id.as_str().starts_with(RELEASE) && !endings.any(is_other)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_not_mistaken_for_what_lies_beside_it() {
        assert_eq!(
            image_of("rpi5-20261128-0123456789ab.json"),
            ImageId::parse("rpi5-20261128-0123456789ab").ok()
        );
        for name in [
            "golden.json",
            "golden-canary.json",
            "golden2.json",
            "one.spdx.json",
            "one.build.json",
            "one.inspection.json",
            "one.json.minisig",
            "one.img.zst",
            ".gild-1.json",
            "a\nline.json",
        ] {
            assert_eq!(image_of(name), None, "{name}");
        }
        assert_eq!(channel_of(&channel_manifest("canary")), Some("canary"));
        for name in [GOLDEN, "golden2.json", "golden-canary.json.minisig"] {
            assert_eq!(channel_of(name), None, "{name}");
        }
    }
}
