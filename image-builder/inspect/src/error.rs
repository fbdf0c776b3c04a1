//! Why an image could not be inspected.

use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be inspected at all. The faults of an image are in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The image or a list could not be read.
    #[error("cannot read {path}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This is not a disk image of gild's layout.
    #[error(
        "{path} is not a golden image that can be inspected: {why}; next: give a disk image of `gild image build`, or a published golden.json"
    )]
    NotAnImage {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The outside check could not be run.
    #[error("cannot run e2fsck, which checks the root file system: install e2fsprogs")]
    E2fsck {
        /// What the system said.
        source: io::Error,
    },
    /// A canary that would be found by chance.
    #[error(
        "{path}, line {line}: a canary needs at least {minimum} bytes, otherwise gild finds it by chance"
    )]
    ShortCanary {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The shortest that is taken.
        minimum: usize,
    },
    /// An exemption names no rule, or has no pattern that can be matched.
    #[error(
        "cannot use the exemption {text}: {why}; write RULE=PATH, the path without a leading slash"
    )]
    Exemption {
        /// As it was given.
        text: String,
        /// What is wrong.
        why: String,
    },
}

impl InspectError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn not_an_image(path: &Path, why: impl Into<String>) -> Self {
        Self::NotAnImage {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}
