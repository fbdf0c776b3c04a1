//! The images that a folder keeps: the current one, and those that were current before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gild_format::release::GOLDEN;
use gild_format::{ImageId, Manifest};

use super::release::{ABOUT, Names, Signed};
use crate::input::must_exist;
use crate::published::Place;

const MANIFEST_SUFFIX: &str = ".json";
const GIVE: &str =
    "give the folder of `gild image build`, `pack` or `publish`, or a board's folder in it";

/// One image in a board's folder.
pub struct Kept {
    /// By the name of its manifest.
    pub image_id: String,
    /// What it says, if it can be read.
    pub manifest: Result<Manifest>,
    /// Does `golden.json` name it?
    pub is_current: bool,
    /// Is the stored image there, with its whole length?
    pub is_whole: bool,
}

/// A board's folder, and its images: the highest rollback counter first, then the latest build.
pub struct Shelf {
    /// Where it is.
    pub path: PathBuf,
    /// Damaged ones are the last.
    pub images: Vec<Kept>,
}

impl Shelf {
    /// Looks at the images of one folder.
    pub fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot read the folder {}", path.display());
        let current = parsed(path, GOLDEN).ok().map(|manifest| manifest.image_id);
        let mut images = Vec::new();
        for entry in fs::read_dir(path).with_context(context)? {
            let name = entry.with_context(context)?.file_name();
            let Some(image_id) = name.to_str().and_then(image_of) else {
                continue;
            };
            let manifest = parsed(path, &Names::of(image_id).manifest).and_then(|manifest| {
                ensure!(
                    manifest.image_id == image_id,
                    "its manifest is that of {}",
                    manifest.image_id
                );
                Ok(manifest)
            });
            images.push(Kept {
                is_current: current.as_deref() == Some(image_id),
                is_whole: manifest
                    .as_ref()
                    .is_ok_and(|manifest| has_stored(path, manifest)),
                image_id: image_id.to_owned(),
                manifest,
            });
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.age()));
        Ok(Self {
            path: path.to_owned(),
            images,
        })
    }

    /// The folder itself, or those of the boards in it; each has at least one image.
    pub fn all(path: &Path) -> Result<Vec<Self>> {
        must_exist(path, "the folder", GIVE)?;
        ensure!(
            path.is_dir(),
            "{} is not a folder; next: {GIVE}",
            path.display()
        );
        let boards = gild_boards::all().iter();
        let boards = boards.map(|board| path.join(&board.name));
        let folders = [path.to_owned()].into_iter().chain(boards);
        let shelves: Vec<Self> = folders
            .filter(|folder| folder.is_dir())
            .map(|folder| Self::read(&folder))
            .collect::<Result<_>>()?;
        let shelves: Vec<Self> = shelves
            .into_iter()
            .filter(|shelf| !shelf.images.is_empty())
            .collect();
        ensure!(
            !shelves.is_empty(),
            "no image in {}, nor in a board's folder in it; next: {GIVE}",
            path.display()
        );
        Ok(shelves)
    }

    /// The only one that has this image.
    pub fn with<'a>(shelves: &'a [Self], folder: &Path, id: &ImageId) -> Result<&'a Self> {
        let has_it = |shelf: &&Self| {
            let mut ids = shelf.images.iter().map(|image| &image.image_id);
            ids.any(|image_id| image_id == id.as_str())
        };
        let found: Vec<&Self> = shelves.iter().filter(has_it).collect();
        match found[..] {
            [shelf] => Ok(shelf),
            [] => bail!(
                "image {id} is not in {}; next: give one of `gild image list {0}`",
                folder.display()
            ),
            _ => bail!(
                "several boards have an image {id} in {}; next: give the folder of one board",
                folder.display()
            ),
        }
    }

    /// The highest rollback counter of its images.
    pub fn highest_counter(&self) -> u64 {
        let manifests = self
            .images
            .iter()
            .filter_map(|image| image.manifest.as_ref().ok());
        let counters = manifests.map(|manifest| manifest.rollback_counter);
        counters.max().unwrap_or_default()
    }
}

impl Kept {
    fn age(&self) -> Option<(u64, u64)> {
        let manifest = self.manifest.as_ref().ok()?;
        Some((manifest.rollback_counter, manifest.build_time))
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        match &self.manifest {
            Err(error) => Some(format!("the manifest is damaged: {error:#}")),
            Ok(_) if !self.is_whole => {
                Some("the stored image is not there, or not whole".to_owned())
            }
            Ok(_) => None,
        }
    }
}

fn parsed(folder: &Path, name: &str) -> Result<Manifest> {
    Signed::read(&Place::Folder(folder.to_owned()), name)?.check(None)
}

fn has_stored(folder: &Path, manifest: &Manifest) -> bool {
    fs::metadata(folder.join(&manifest.stored_file))
        .is_ok_and(|about| about.len() == manifest.stored_size)
}

/// The image whose manifest has this file name.
fn image_of(name: &str) -> Option<&str> {
    let about_one = ABOUT
        .iter()
        .any(|ending| name.ends_with(&format!(".{ending}")));
    let image_id = name.strip_suffix(MANIFEST_SUFFIX)?;
    (name != GOLDEN && !about_one && !image_id.starts_with('.')).then_some(image_id)
}

#[cfg(test)]
mod tests {
    use super::image_of;

    #[test]
    fn a_manifest_is_not_mistaken_for_what_lies_beside_it() {
        assert_eq!(
            image_of("rpi5-20261128-0123456789ab.json"),
            Some("rpi5-20261128-0123456789ab")
        );
        for name in [
            "golden.json",
            "one.spdx.json",
            "one.build.json",
            "one.inspection.json",
            "one.json.minisig",
            "one.img.zst",
            ".gild-1.json",
        ] {
            assert_eq!(image_of(name), None, "{name}");
        }
    }
}
