//! The images that a folder keeps: the current one and earlier ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_format::manifest::MAX_MANIFEST_BYTES;
use gild_format::release::{GOLDEN, image_of};
use gild_format::{ImageId, Manifest};

use super::pack::timestamp;
use super::release::{Names, PUBLISH_AGAIN, channel_of};
use crate::input::must_exist;
use crate::published::Place;

const GIVE: &str =
    "give the folder of `gild image build`, `pack` or `publish`, or a board's folder in it";

/// One image in a board's folder.
pub struct Kept {
    /// By the name of its manifest.
    pub image_id: ImageId,
    /// The manifest, if it can be read and belongs to this image and to the folder's board.
    pub manifest: Result<Manifest>,
    /// Does `golden.json` name it?
    pub is_current: bool,
    /// The channels that have it, `canary` for `golden-canary.json`.
    pub channels: Vec<String>,
    /// Is the stored image there, with its whole length?
    pub is_whole: bool,
}

/// A board's folder, and its images: the highest rollback counter first, then the latest build.
pub struct Shelf {
    /// Where it is.
    pub path: PathBuf,
    /// What `golden.json` says, if it can be read.
    pub current: Option<Manifest>,
    /// What the channels have: the manifest's file name, and what it says, if it can be read.
    pub channels: BTreeMap<String, Option<Manifest>>,
    /// Damaged ones are the last.
    pub images: Vec<Kept>,
}

impl Shelf {
    /// What `golden.json` in a folder says, if it can be read.
    pub fn current_of(path: &Path) -> Option<Manifest> {
        parsed(path, GOLDEN).ok()
    }

    /// Looks at the images of one folder. Signatures are not looked at.
    pub fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot read the folder {}", path.display());
        // `.` has no name.
        let resolved = path.canonicalize().with_context(context)?;
        let name = resolved.file_name().and_then(|name| name.to_str());
        let board = name.filter(|name| gild_boards::all().iter().any(|board| board.name == *name));
        let current = Self::current_of(path);
        let current = current.filter(|current| board.is_none_or(|board| current.board == board));
        let board = board.or(current.as_ref().map(|current| &*current.board));
        let mut names = Vec::new();
        for entry in fs::read_dir(path).with_context(context)? {
            let name = entry.with_context(context)?.file_name().into_string();
            // What is not a file could be waited for forever.
            names.extend(name.ok().filter(|name| path.join(name).is_file()));
        }
        let channels = channels(path, &names, board);
        let mut images = Vec::new();
        for name in &names {
            let Some(image_id) = image_of(name) else {
                continue;
            };
            let manifest = parsed(path, &Names::of(image_id.as_str()).manifest)
                .and_then(|manifest| is_at_home(manifest, &image_id, board))
                .and_then(|manifest| Ok((has_stored(path, &manifest)?, manifest)));
            images.push(Kept {
                is_current: current
                    .as_ref()
                    .is_some_and(|current| current.image_id == image_id.as_str()),
                channels: channels_with(&channels, &image_id),
                is_whole: manifest.as_ref().is_ok_and(|(is_whole, _)| *is_whole),
                image_id,
                manifest: manifest.map(|(_, manifest)| manifest),
            });
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.age()));
        Ok(Self {
            path: path.to_owned(),
            current,
            channels,
            images,
        })
    }

    /// The folder itself, or the boards' folders in it; each has at least one image.
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

    /// The only shelf that has this image.
    pub fn with<'a>(shelves: &'a [Self], folder: &Path, id: &ImageId) -> Result<&'a Self> {
        let found = shelves
            .iter()
            .flat_map(|shelf| shelf.images.iter().map(move |image| (shelf, image)))
            .filter(|(_, image)| image.image_id == *id);
        match found.collect::<Vec<_>>()[..] {
            [(shelf, image)] => match &image.manifest {
                Ok(_) => Ok(shelf),
                Err(error) => bail!(
                    "image {id} in {} cannot be used: {error:#}; next: {PUBLISH_AGAIN}",
                    shelf.path.display()
                ),
            },
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

    /// The manifest of an image that [`Shelf::with`] found here.
    pub fn manifest(&self, id: &ImageId) -> Result<Manifest> {
        let image = self.images.iter().find(|image| image.image_id == *id);
        let manifest = image.and_then(|image| image.manifest.as_ref().ok());
        manifest
            .cloned()
            .ok_or_else(|| anyhow!("image {id} is not in {}", self.path.display()))
    }

    /// A manifest that was read once more, if it still belongs to this image, and to the same board.
    pub fn is_of(&self, manifest: Manifest, id: &ImageId) -> Result<Manifest> {
        let board = self.manifest(id)?.board;
        is_at_home(manifest, id, Some(&board))
    }

    /// The images that are understood, the current one and the channels' beside them: their own manifests may be lost.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        let images = self.images.iter();
        let images = images.filter_map(|image| image.manifest.as_ref().ok());
        let channels = self.channels.values().flatten();
        images.chain(&self.current).chain(channels)
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

/// What the channels of a folder have.
fn channels(
    path: &Path,
    names: &[String],
    board: Option<&str>,
) -> BTreeMap<String, Option<Manifest>> {
    let names = names.iter().filter(|name| channel_of(name).is_some());
    let channels = names.map(|name| {
        let manifest = parsed(path, name).ok();
        let is_ours = |manifest: &Manifest| board.is_none_or(|board| manifest.board == board);
        (name.clone(), manifest.filter(is_ours))
    });
    channels.collect()
}

fn channels_with(channels: &BTreeMap<String, Option<Manifest>>, image_id: &ImageId) -> Vec<String> {
    let with = channels.iter().filter(|(_, manifest)| {
        let manifest = manifest.as_ref();
        manifest.is_some_and(|manifest| manifest.image_id == image_id.as_str())
    });
    let names = with.filter_map(|(name, _)| channel_of(name));
    names.map(|channel| channel.as_str().to_owned()).collect()
}

/// Anyone who can write to a share can replace one image's manifest by another's, or put it into another board's folder.
fn is_at_home(manifest: Manifest, image_id: &ImageId, board: Option<&str>) -> Result<Manifest> {
    ensure!(
        manifest.image_id == image_id.as_str(),
        "it belongs to image {}",
        manifest.image_id
    );
    if let Some(board) = board {
        ensure!(
            manifest.board == board,
            "it is for {}, and this folder is for {board}",
            manifest.board
        );
    }
    timestamp(manifest.build_time)?;
    Ok(manifest)
}

fn parsed(folder: &Path, name: &str) -> Result<Manifest> {
    let bytes = Place::Folder(folder.to_owned()).read(name, MAX_MANIFEST_BYTES)?;
    Ok(Manifest::parse(&bytes)?)
}

/// Whether the stored image is there, in full. It may be there if the folder cannot be read, so that is an error.
fn has_stored(folder: &Path, manifest: &Manifest) -> Result<bool> {
    let path = folder.join(&manifest.stored_file);
    match fs::metadata(&path) {
        Ok(about) => Ok(about.is_file() && about.len() == manifest.stored_size),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}
