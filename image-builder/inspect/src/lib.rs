//! Proves that a finished golden image carries no identity and no secret, and has what a node needs. Says what the files of two
//! images differ in.
//!
//! It opens the raw image as anybody who has it could: read only, unmounted, without root. It shares no code with
//! the code that builds and seals images, so a mistake there is not repeated here.

#![cfg_attr(
    feature = "fuzz",
    allow(
        clippy::len_without_is_empty,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "the readers are public only for the fuzz targets"
    )
)]

mod blocks;
mod boot_script;
mod budget;
mod canary;
mod content;
mod diff;
mod error;
mod fat;
mod gpt;
mod image;
mod initramfs;
mod kernel;
mod lack;
mod options;
mod packages;
mod packed;
mod place;
mod plain;
mod range;
mod report;
mod root;
mod rules;
mod scan;
mod secrets;

use std::path::Path;

pub use canary::{Canary, Origin};
pub use diff::{Change, Difference, Differences, Disk, Side, UnreadError, Which, differences};
pub use error::InspectError;
pub use lack::Lack;
pub use options::{Exemption, Options};
pub use plain::plain;
pub use range::Storage;
pub use report::{Finding, Report, RuleResult};
pub use rules::{KNOWN, Known, RULES, Rule};

use image::Image;
use scan::Scanner;

/// What reads an image's bytes, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub mod readers {
    pub use crate::blocks::{Blocks, Use};
    pub use crate::diff::between;
    pub use crate::diff::tree::{boot, root};
    pub use crate::fat::Fat;
    pub use crate::gpt::read as gpt;
    pub use crate::initramfs::read as initramfs;
    pub use crate::kernel::read as kernel;
    pub use crate::packed::open as packed;
    pub use crate::range::Range;
    pub use crate::root::Root;
}

/// Judges a raw disk image by all rules.
pub fn inspect(path: &Path, options: &Options) -> Result<Report, InspectError> {
    let image = Image::open(path, &Scanner::new(options.canaries.clone()))?;
    let exempt = options.exempt()?;
    let rules = RULES
        .iter()
        .map(|rule| {
            let is_exempt = |finding: &Finding| {
                exempt
                    .iter()
                    .any(|(id, paths)| *id == rule.id && paths.is_match(&finding.path))
            };
            let (exempted, findings): (Vec<_>, Vec<_>) =
                rule.findings(&image).into_iter().partition(is_exempt);
            RuleResult {
                id: rule.id,
                passed: findings.is_empty(),
                findings,
                exempted,
            }
        })
        .collect();
    let mut env = image.image_env();
    let canaries = options.canaries.iter().map(|canary| canary.origin);
    Ok(Report {
        image_sha256: image.content.sha256.clone(),
        image_size: image.disk.len(),
        board: env.remove("board"),
        image_id: env.remove("image_id"),
        files: image.content.files,
        canaries: in_words(canaries),
        not_looked_for: in_words(options.not_looked_for.iter().copied()),
        lacks: Lack::of(&image),
        rules,
    })
}

fn in_words(origins: impl Iterator<Item = Origin>) -> Vec<String> {
    origins.map(|origin| origin.what().to_owned()).collect()
}
