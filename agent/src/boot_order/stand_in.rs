//! Stand-ins in memory for the card and the flash. Their power can be cut at every single change.
//!
//! An interrupted change is half done: half of a file beside the old one, or half of the pages. The block or page at which the power went
//! is [torn](Torn). The stand-in does not show what a real FAT looks like after a cut.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use gild_boards::nor::PAGE;
use sha2::{Digest, Sha256};

use super::nor::Nor;
use crate::card::folder::Folder;

/// Power for a limited number of changes. Everything on one board shares it.
#[derive(Clone)]
pub struct Power(Rc<Cell<Option<u32>>>);

#[derive(PartialEq, Eq)]
enum Supply {
    Whole,
    Half,
}

impl Power {
    /// Unlimited power.
    pub fn on() -> Self {
        Self(Rc::new(Cell::new(None)))
    }

    /// Cuts the power in the middle of the change that comes after this many.
    pub fn cut_after(&self, changes: u32) {
        self.0.set(Some(changes));
    }

    /// How many changes are left, if the power is limited.
    pub fn left(&self) -> Option<u32> {
        self.0.get()
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.is_on().is_err()
    }

    /// Brings it back.
    pub fn restore(&self) {
        self.0.set(None);
    }

    fn is_on(&self) -> io::Result<()> {
        match self.0.get() {
            Some(u32::MAX) => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    fn take(&self) -> io::Result<Supply> {
        self.is_on()?;
        match self.0.get() {
            None => Ok(Supply::Whole),
            Some(0) => {
                self.0.set(Some(u32::MAX));
                Ok(Supply::Half)
            }
            Some(left) => {
                self.0.set(Some(left - 1));
                Ok(Supply::Whole)
            }
        }
    }
}

/// The state of the block or page in which the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The first half is done, the second is not.
    Half,
    /// Arbitrary bytes after this many bytes. Those first bytes are untouched in an interrupted erase, and already written in an
    /// interrupted write.
    Nonsense(usize),
}

impl Torn {
    /// A clean cut, arbitrary bytes from the first byte on, and arbitrary bytes after the first 8.
    pub const ALL: [Self; 3] = [Self::Half, Self::Nonsense(0), Self::Nonsense(8)];

    fn nonsense(at: usize) -> u8 {
        (at + 1).wrapping_mul(0x9e37_79b1).to_le_bytes()[3]
    }
}

fn off<T>() -> io::Result<T> {
    Err(io::Error::other("the power went"))
}

/// What is on a card, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A card.
pub struct MemoryCard {
    power: Power,
    files: RefCell<Files>,
    /// A file that reads back wrong.
    pub bad: Cell<Option<&'static str>>,
    pub is_read_only: Cell<bool>,
    pub is_full: Cell<bool>,
}

impl MemoryCard {
    pub fn new(power: &Power) -> Self {
        Self {
            power: power.clone(),
            files: RefCell::default(),
            bad: Cell::new(None),
            is_read_only: Cell::new(false),
            is_full: Cell::new(false),
        }
    }

    /// A card with these files.
    pub fn holding(power: &Power, files: Files) -> Self {
        let card = Self::new(power);
        card.files.replace(files);
        card
    }

    pub fn files(&self) -> Files {
        self.files.borrow().clone()
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        self.files
            .borrow_mut()
            .insert(path.to_owned(), content.to_vec());
    }

    /// A file as the builder puts it there, with its digest in the list.
    pub fn put_firmware(&self, path: &str, content: &[u8]) {
        self.put(path, content);
        let mut sums = self.get("SHA256SUMS").unwrap_or_default();
        let digest = hex::encode(Sha256::digest(content));
        sums.extend(format!("{digest}  {path}\n").bytes());
        self.put("SHA256SUMS", &sums);
    }

    /// Another content for such a file, with the digest of it.
    pub fn put_firmware_again(&self, path: &str, content: &[u8]) {
        let sums = self.text("SHA256SUMS").unwrap_or_default();
        let lines = sums.split_inclusive('\n');
        let others: String = lines
            .filter(|line| !line.trim_end().ends_with(path))
            .collect();
        self.put("SHA256SUMS", others.as_bytes());
        self.put_firmware(path, content);
    }

    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.files.borrow().get(path).cloned()
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.get(path)
            .and_then(|bytes| String::from_utf8(bytes).ok())
    }

    fn change(&self) -> io::Result<Supply> {
        if self.is_read_only.get() {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        self.power.take()
    }
}

impl Folder for MemoryCard {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.power.is_on()?;
        let mut content = self.get(path);
        if let (Some(bytes), true) = (&mut content, self.bad.get() == Some(path)) {
            bytes[0] ^= 1;
        }
        Ok(content)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        if self.is_full.get() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let supply = self.change()?;
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let beside = format!("{stem}.new");
        if supply == Supply::Half {
            self.put(&beside, &content[..content.len() / 2]);
            return off();
        }
        self.files.borrow_mut().remove(&beside);
        self.put(name, content);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let supply = self.change()?;
        if supply == Supply::Half {
            return off();
        }
        let content = self.files.borrow_mut().remove(from);
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.put(to, &content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let supply = self.change()?;
        if supply == Supply::Half {
            return off();
        }
        self.files.borrow_mut().remove(name);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.power.is_on()?;
        let files = self.files.borrow();
        let in_root = files.keys().filter(|path| !path.contains('/'));
        Ok(in_root.cloned().collect())
    }
}

/// A NOR flash: erasing sets all bits of a block, programming only clears bits.
pub struct MemoryNor {
    power: Power,
    block: usize,
    pub bytes: RefCell<Vec<u8>>,
    pub is_locked: Cell<bool>,
    /// What a cut leaves.
    pub torn: Cell<Torn>,
    /// A byte that can no longer be programmed.
    pub worn: Cell<Option<usize>>,
}

impl MemoryNor {
    pub fn new(power: &Power, block: usize, bytes: Vec<u8>) -> Self {
        Self {
            power: power.clone(),
            block,
            bytes: RefCell::new(bytes),
            is_locked: Cell::new(false),
            torn: Cell::new(Torn::Nonsense(0)),
            worn: Cell::new(None),
        }
    }
}

impl Nor for MemoryNor {
    fn size(&self) -> usize {
        self.bytes.borrow().len()
    }

    fn block(&self) -> usize {
        self.block
    }

    fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>> {
        self.power.is_on()?;
        Ok(self.bytes.borrow()[place].to_vec())
    }

    /// A pin of the chip locks it, so no program can unlock it.
    fn unlock(&self) {}

    fn erase(&self, place: Range<usize>) -> io::Result<()> {
        assert!(place.start.is_multiple_of(self.block) && place.len().is_multiple_of(self.block));
        let supply = self.power.take()?;
        if self.is_locked.get() {
            return Ok(());
        }
        let mut bytes = self.bytes.borrow_mut();
        if supply == Supply::Half {
            match self.torn.get() {
                Torn::Half => bytes[place.start..place.start + place.len() / 2].fill(0xff),
                Torn::Nonsense(after) => {
                    for at in place.start + after..place.end {
                        bytes[at] = Torn::nonsense(at);
                    }
                }
            }
            return off();
        }
        bytes[place].fill(0xff);
        Ok(())
    }

    fn write(&self, at: usize, content: &[u8]) -> io::Result<()> {
        let supply = self.power.take()?;
        let page = content.len() / 2 - content.len() / 2 % PAGE;
        let length = match (&supply, self.torn.get()) {
            (Supply::Whole, _) => content.len(),
            (Supply::Half, Torn::Half) => page + PAGE / 2,
            (Supply::Half, Torn::Nonsense(after)) => page + after,
        };
        let mut bytes = self.bytes.borrow_mut();
        for (byte, new) in bytes[at..].iter_mut().zip(&content[..length]) {
            *byte &= new;
        }
        if supply == Supply::Half && self.torn.get() != Torn::Half {
            for at in at + length..at + page + PAGE {
                bytes[at] &= Torn::nonsense(at);
            }
        }
        if let Some(worn) = self
            .worn
            .get()
            .filter(|worn| (at..at + length).contains(worn))
        {
            bytes[worn] = 0xff;
        }
        if supply == Supply::Half {
            return off();
        }
        Ok(())
    }
}
