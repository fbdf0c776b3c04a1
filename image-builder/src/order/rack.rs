//! What a desk's folder says, also while the desk runs: its nodes, their names, its orders.

use std::path::Path;

use anyhow::Result;
use gild_boards::mac::Mac;
use gild_desk::folder::Folder;
use gild_desk::journal;
use gild_desk::metadata::Groups;
use gild_desk::orders::{self, Keys, Queued, Shelf};
use gild_desk::rack::{Happened, Rack};

/// A desk, read once.
pub struct Desk {
    pub folder: Folder,
    pub groups: Groups,
}

impl Desk {
    /// Opens the folder that `gild init` made.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Folder::open(path)?;
        Ok(Self {
            groups: Groups::read(path),
            folder,
        })
    }

    /// The desk in whose folder `orders/` this file is.
    pub fn around(file: &Path) -> Option<Self> {
        let folder = file.parent()?.parent()?;
        let is_ours = file.parent() == Some(&*Folder::new(folder).orders());
        Self::open(folder).ok().filter(|_| is_ours)
    }

    pub fn shelf(&self) -> Shelf {
        Shelf::new(self.folder.orders())
    }

    /// Its orders, the oldest first.
    pub fn orders(&self) -> Result<Vec<Queued>> {
        Ok(self.shelf().read(Keys::read(&self.folder).as_ref())?)
    }

    /// What the desk has heard and done.
    pub fn rack(&self) -> Result<Rack> {
        let mut rack = Rack::default();
        for happened in journal::look::<Happened>(&self.folder.journal())? {
            rack.apply(&happened);
        }
        Ok(rack)
    }

    pub fn name(&self, mac: Mac) -> Option<String> {
        orders::name(&self.groups, mac)
    }
}
