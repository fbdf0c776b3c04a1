//! Whether a vendor's image is for the board, before packages are added to it, which takes minutes.

use std::path::Path;

use super::BaseImageError;
use crate::boot::{self, BootError};
use crate::recipe::Recipe;
use crate::sbom::dpkg;
use crate::tree::Tree;

const STATUS: &str = "var/lib/dpkg/status";
const ARCHITECTURE: &str = "arm64";
/// The second is a link to the first, where both are there.
const RELEASES: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];

/// Refuses a root whose programs or whose kernel are not for the board, and one of another release than the packages that are
/// added to it.
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
    let found = release(tree)?;
    if found.as_deref() != Some(&recipe.suite) {
        return Err(BaseImageError::OtherRelease {
            path: image.to_owned(),
            found: found.unwrap_or_else(|| "of no release that it names".to_owned()),
            suite: recipe.suite.clone(),
        });
    }
    boot::check(tree, recipe).map_err(|source| match source {
        BootError::Tree(error) => error.into(),
        lack => BaseImageError::OtherBoard {
            path: image.to_owned(),
            board: board.to_owned(),
            lack: Box::new(lack),
        },
    })
}

/// The name of the distribution's release.
fn release(tree: &Tree) -> Result<Option<String>, BaseImageError> {
    let Some(path) = RELEASES.iter().find(|path| tree.contains(path)) else {
        return Ok(None);
    };
    let text = tree.read_text(path)?;
    let mut names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("VERSION_CODENAME="));
    Ok(names
        .next_back()
        .map(|name| name.trim_matches(['"', '\'']).to_owned()))
}
