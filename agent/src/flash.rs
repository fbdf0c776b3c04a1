//! Steps 7 to 9: make the target carry the image, or find that it already does.

use std::io;

use gild_disk::select::Candidate;
use gild_disk::{BlockDevice, Target};
use gild_faults::{Fault, HasFault};
use gild_flash::{FlashError, Job, Options, Report};
use gild_share::ShareError;

use crate::discards::Discards;
use crate::failure::{Remedy, StepError};
use crate::machine::Machine;
use crate::manifest::Image;
use crate::progress::Progress;

/// A disk whose image is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The disk.
    pub target: Candidate,
    /// The image, or `None` if the record is damaged.
    pub image_id: Option<String>,
}

/// The target does not carry the image.
#[derive(Debug, thiserror::Error)]
pub enum FlashStepError {
    /// The disk cannot be opened.
    #[error("opening {disk} failed: {error}")]
    Disk {
        /// Device.
        disk: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The stored image cannot be read.
    #[error("opening the image: {0}")]
    Image(ShareError),
    /// The engine gave up.
    #[error(transparent)]
    Engine(#[from] FlashError),
}

impl HasFault for FlashStepError {
    fn fault(&self) -> Fault {
        match self {
            Self::Disk { .. } => Fault::TargetFailed,
            Self::Image(error) => error.fault(),
            Self::Engine(error) => error.fault(),
        }
    }
}

impl StepError for FlashStepError {
    fn remedy(&self) -> Remedy {
        match self.fault() {
            Fault::TargetFailed => Remedy::Restart,
            _ => Remedy::LookAgain,
        }
    }
}

/// Opens the disk for this process alone.
pub fn open(target: &Candidate) -> Result<BlockDevice, FlashStepError> {
    BlockDevice::open(&target.path).map_err(|error| FlashStepError::Disk {
        disk: target.path.display().to_string(),
        error,
    })
}

/// Writes, verifies and commits the image.
pub fn flash(
    machine: &'static Machine,
    image: &Image,
    disk: &dyn Target,
    options: &Options,
    discards: &Discards,
) -> Result<Report, FlashStepError> {
    let source = image
        .share
        .open(&image.manifest.stored_file, image.manifest.stored_size)
        .map_err(FlashStepError::Image)?;
    let job = Job {
        manifest: &image.manifest,
        manifest_sha256: image.sha256,
        source: &source,
        target: disk,
        clock: machine,
        observer: &Progress::new(machine, discards),
        options,
    };
    Ok(gild_flash::flash(&job)?)
}
