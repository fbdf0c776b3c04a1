//! Whether a vendor's image is for the board, before packages are added to it, which takes minutes.

use std::path::Path;

use super::BaseImageError;
use crate::boot::{self, BootError};
use crate::recipe::Recipe;
use crate::sbom::dpkg;
use crate::tree::Tree;

const STATUS: &str = "var/lib/dpkg/status";
const ARCHITECTURE: &str = "arm64";

/// Refuses a root whose programs or whose kernel are not for the board.
pub fn check(
    tree: &Tree,
    recipe: &Recipe,
    board: &str,
    image: &Path,
) -> Result<(), BaseImageError> {
    if tree.contains(STATUS) {
        let mut packages = dpkg::installed(&tree.read_text(STATUS)?);
        packages.retain(|package| package.architecture != "all");
        let is_ours = |package: &dpkg::Package| package.architecture == ARCHITECTURE;
        if let Some(other) = packages.first()
            && !packages.iter().any(is_ours)
        {
            return Err(BaseImageError::Architecture {
                path: image.to_owned(),
                found: other.architecture.clone(),
            });
        }
    }
    boot::check(tree, recipe).map_err(|source| match source {
        BootError::Tree(error) => error.into(),
        source => BaseImageError::OtherBoard {
            path: image.to_owned(),
            board: board.to_owned(),
            source: Box::new(source),
        },
    })
}
