//! Why an image could not be built.

use std::path::PathBuf;

use crate::assemble::AssembleError;
use crate::base::BaseError;
use crate::base_image::BaseImageError;
use crate::boot::BootError;
use crate::cache::CacheError;
use crate::first_boot::FirstBootError;
use crate::k3s::K3sError;
use crate::k3s_settings::K3sSettingsError;
use crate::overlay::OverlayError;
use crate::recipe::RecipeError;
use crate::settings::SettingsError;
use crate::site::SiteError;
use crate::tree::TreeError;
use crate::units::UnitError;
use crate::updates::UpdatesError;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BuildError {
    /// A package's name that cannot be one.
    #[error("{name:?} is not the name of a Debian package")]
    PackageName {
        /// What was given.
        name: String,
    },
    /// A folder that is none.
    #[error("{} is not a folder; next: give a folder that exists", path.display())]
    NotAFolder {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing to make the root file system with.
    #[error("there is no mke2fs that reads tar files at {}; next: make setup", path.display())]
    NoMke2fs {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The input may have changed since it was checked.
    #[error(
        "{what} changed while the image was built, and no image was made of it; next: build again"
    )]
    Changed {
        /// What changed.
        what: String,
    },
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    BaseImage(#[from] BaseImageError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    K3s(#[from] K3sError),
    #[error(transparent)]
    K3sSettings(#[from] K3sSettingsError),
    #[error(transparent)]
    FirstBoot(#[from] FirstBootError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error(transparent)]
    Updates(#[from] UpdatesError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("cannot describe the image as JSON")]
    Json(#[from] serde_json::Error),
}
