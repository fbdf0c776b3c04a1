//! What the folder `images/` offers that an order can name: the images and the channels of each board.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gild_boards::mac::Mac;
use gild_format::release::{channel_of, image_of};
use gild_orders::{Action, Channel, Choice, Order};

use crate::rack::Rack;

/// A message lists at most this many names, and gives the number of the others.
const NAMED: usize = 8;

/// The images and the channels of each board that has any.
#[derive(Clone, Debug)]
pub struct Offered {
    folder: PathBuf,
    boards: BTreeMap<String, Names>,
}

/// What the manifests in the folder of a board lead to.
#[derive(Clone, Debug, Default)]
struct Names {
    images: BTreeSet<String>,
    channels: BTreeSet<String>,
}

/// The boards of an order would not find what it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOffered(String);

impl Offered {
    /// Looks into the folder. What cannot be read offers nothing.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let boards = gild_boards::all().iter().map(|board| &board.name);
        let boards = boards.map(|board| (board.clone(), Names::read(&folder.join(board))));
        Self {
            folder: folder.to_owned(),
            boards: boards.filter(|(_, names)| !names.is_empty()).collect(),
        }
    }

    /// Refuses an order that names an image or a channel which one of its boards will not find here. The current image cannot be checked,
    /// because it may still change. If the folder has no image for a kind of board, such boards get their images elsewhere, and this check
    /// does not cover them.
    pub fn check(&self, order: &Order, rack: &Rack) -> Result<(), NotOffered> {
        let choice = match &order.action {
            Action::Flash(flash) if !self.boards.is_empty() => &flash.choice,
            _ => return Ok(()),
        };
        let known = order.nodes.iter().map(|mac| board_of(rack, *mac));
        for board in known.collect::<BTreeSet<_>>() {
            let is_elsewhere = board.is_some_and(|board| !self.boards.contains_key(board));
            if !is_elsewhere && !self.of(board).any(|names| names.has(choice)) {
                return Err(NotOffered(self.lacks(choice, board)));
            }
        }
        Ok(())
    }

    /// A note for the operator about an image or a channel that this check does not cover.
    #[must_use]
    pub fn unseen(&self, order: &Order, rack: &Rack) -> Option<String> {
        let choice = match &order.action {
            Action::Flash(flash) if flash.choice != Choice::Current => &flash.choice,
            _ => return None,
        };
        let known = order.nodes.iter().filter_map(|mac| board_of(rack, *mac));
        let elsewhere = known.filter(|board| !self.boards.contains_key(*board));
        let elsewhere: BTreeSet<&str> = elsewhere.collect();
        let whose = match elsewhere.len() {
            _ if self.boards.is_empty() => String::new(),
            0 => return None,
            _ => format!(" for {}", Vec::from_iter(elsewhere).join(", ")),
        };
        Some(format!(
            "{} has no image{whose}, so nobody has looked whether there is {choice}; next: look where your boards get their images",
            self.folder.display()
        ))
    }

    /// The names of this kind of board, or of all kinds if it is not known.
    fn of<'a>(&'a self, board: Option<&'a str>) -> impl Iterator<Item = &'a Names> {
        let boards = self.boards.iter();
        let boards = boards.filter(move |(name, _)| board.is_none_or(|board| board == *name));
        boards.map(|(_, names)| names)
    }

    fn lacks(&self, choice: &Choice, board: Option<&str>) -> String {
        let folder = self.folder.display();
        let whose = board.map_or_else(String::new, |board| format!(" for {board}"));
        let (list, publish) = match choice {
            Choice::Channel(channel) => (
                listed(self.of(board).flat_map(|names| &names.channels)),
                format!(
                    "give the channel an image first: gild image current {folder} IMAGE --key KEY --channel {}",
                    channel.as_str()
                ),
            ),
            Choice::Image(_) | Choice::Current => (
                listed(self.of(board).flat_map(|names| &names.images)),
                "build or publish it there first".to_owned(),
            ),
        };
        let next = match list {
            Some(list) => format!("name what is there ({list}), or {publish}"),
            None => format!("{publish}, because none is there"),
        };
        format!("{choice} is not in {folder}{whose}; next: {next}")
    }
}

impl Names {
    fn read(folder: &Path) -> Self {
        let mut names = Self::default();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Anyone who may write to the folder can choose the files' names, and the names appear in messages.
            let channel = channel_of(&name).and_then(Channel::parse);
            names
                .channels
                .extend(channel.map(|channel| channel.as_str().to_owned()));
            names
                .images
                .extend(image_of(&name).map(|image| image.to_string()));
        }
        names
    }

    fn is_empty(&self) -> bool {
        self.images.is_empty() && self.channels.is_empty()
    }

    fn has(&self, choice: &Choice) -> bool {
        match choice {
            Choice::Current => true,
            Choice::Image(image) => self.images.contains(image.as_str()),
            Choice::Channel(channel) => self.channels.contains(channel.as_str()),
        }
    }
}

/// The kind of a board, as far as its card or its node has said it.
fn board_of(rack: &Rack, mac: Mac) -> Option<&str> {
    let node = rack.node(mac).filter(|node| !node.is_stranger())?;
    node.board.as_deref()
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let first: Vec<&str> = names.iter().take(NAMED).copied().collect();
    match names.len() - first.len() {
        _ if first.is_empty() => None,
        0 => Some(first.join(", ")),
        more => Some(format!("{} and {more} more", first.join(", "))),
    }
}
