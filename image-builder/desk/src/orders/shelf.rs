//! The folder `orders/`: `<id>.json` is a draft, and `<id>.order` is the same text with a signature. This module ignores a file whose name
//! is not an id. Whatever a file holds, it is an order only if its signature counts.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use gild_boards::mac::Mac;
use gild_orders::{
    Action, LONGEST_LIFE, MAX_LENGTH, Order, OrderId, SignedOrder, SignedOrderError,
};

use super::keys::{Keys, KeysError};
use super::offered::NotOffered;
use super::wish::{Wish, WishError, latest_id};

/// The folder has at most this many orders. A further draft is refused.
pub const MOST: usize = 128;
/// Only this many are read, the latest ones, because somebody may have copied more files into the folder.
const MOST_READ: usize = 2 * MOST;
const DRAFT: &str = "json";
const SIGNED: &str = "order";
/// Only the desk may use the folder, like everything that the desk keeps.
const PRIVATE: u32 = 0o700;

/// The folder.
#[derive(Clone, Debug)]
pub struct Shelf(PathBuf);

/// An order of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its id, as its file says it.
    pub id: OrderId,
    /// What it says, as far as it can be read. It counts only if it is signed.
    pub order: Option<Order>,
    /// Whether it counts.
    pub standing: Standing,
}

/// Whether an order of the folder counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has signed it.
    Draft,
    /// It is signed with a key that counts: the text that is handed out.
    Signed(String),
    /// Its signature does not count, or the file holds another order.
    Wrong(String),
    /// What it says is unknown. It may be half a file, and it may be a hold. See [`Queued::may_hold`].
    Unreadable(String),
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {error}")]
pub struct ShelfError {
    what: &'static str,
    path: PathBuf,
    error: io::Error,
}

/// A draft was not made.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// It cannot be an order.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// Its boards would not find what it names.
    #[error(transparent)]
    NotOffered(#[from] NotOffered),
    /// There are too many.
    #[error("{MOST} orders are queued already; next: take some back with `gild order cancel`")]
    Full,
    /// The clock was set back, or it was wrong earlier.
    #[error(
        "the order {0} is of a later time than now, and a board that has carried it out would take no new one; next: correct this machine's clock, \
         or take that order back with `gild order cancel` if no board has carried it out"
    )]
    Clock(OrderId),
    /// The disk.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

impl Shelf {
    /// This folder, which may be missing as long as nobody has ordered anything.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file of a draft.
    #[must_use]
    pub fn draft(&self, id: &OrderId) -> PathBuf {
        self.0.join(format!("{id}.{DRAFT}"))
    }

    /// The file of a signed order.
    #[must_use]
    pub fn signed(&self, id: &OrderId) -> PathBuf {
        self.0.join(format!("{id}.{SIGNED}"))
    }

    /// All orders, the oldest first.
    pub fn read(&self, keys: Result<&Keys, &KeysError>) -> Result<Vec<Queued>, ShelfError> {
        let ids = self.ids()?;
        let unread = ids.len().saturating_sub(MOST_READ);
        let left = ids.iter().take(unread).next_back().map(|id| Queued {
            id: id.clone(),
            order: None,
            standing: Standing::Unreadable(format!(
                "{unread} orders are not read, of which this is the latest, because more than {MOST_READ} are here"
            )),
        });
        let latest = ids.iter().skip(unread).map(|id| self.queued(id, keys));
        Ok(left.into_iter().chain(latest).collect())
    }

    /// The order that a wish becomes, if there is room for it. It is not written yet.
    pub fn plan(
        &self,
        wish: &Wish,
        now: u64,
        keys: Result<&Keys, &KeysError>,
    ) -> Result<Order, QueueError> {
        let at = self.time_for_next(now)?;
        let order = wish.order(now, at, std::array::from_fn(|_| fastrand::u8(..)))?;
        self.make_room(now, keys)?;
        Ok(order)
    }

    /// Writes a draft.
    pub fn put(&self, order: &Order) -> Result<PathBuf, ShelfError> {
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE)
            .create(&self.0)
            .map_err(self.failed("cannot make"))?;
        let path = self.draft(&order.id);
        let text = format!("{}\n", order.to_text());
        match gild_whole_file::replace(&path, text.as_bytes()) {
            Ok(()) => Ok(path),
            Err(error) => {
                let what = "cannot write";
                Err(ShelfError { what, path, error })
            }
        }
    }

    /// Whether there is an order of this id.
    #[must_use]
    pub fn has(&self, id: &OrderId) -> bool {
        let mut files = [self.draft(id), self.signed(id)].into_iter();
        files.any(|path| path.symlink_metadata().is_ok())
    }

    /// Takes an order back: its draft and what was signed. Says whether there was one.
    pub fn remove(&self, id: &OrderId) -> Result<bool, ShelfError> {
        let mut was_there = false;
        // The signed order is removed first, because that is what the desk hands out.
        for path in [self.signed(id), self.draft(id)] {
            match fs::remove_file(&path) {
                Ok(()) => was_there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let what = "cannot remove";
                    return Err(ShelfError { what, path, error });
                }
            }
        }
        if was_there {
            gild_whole_file::sync_folder_of(&self.signed(id))
                .map_err(self.failed("cannot write"))?;
        }
        Ok(was_there)
    }

    /// The time for the id of the next order. It is later than that of every order in the folder: a disk that has carried out a later order
    /// refuses an earlier one.
    fn time_for_next(&self, now: u64) -> Result<u64, QueueError> {
        let Some(latest) = self.ids()?.pop_last() else {
            return Ok(now);
        };
        if Some(&latest) > latest_id(now).as_ref() {
            return Err(QueueError::Clock(latest));
        }
        Ok(now.max(latest.made_at().saturating_add(1)))
    }

    /// Removes orders that have expired until there is room, the oldest first. For a signed order, the expiry that was signed counts, not
    /// the draft's.
    fn make_room(&self, now: u64, keys: Result<&Keys, &KeysError>) -> Result<(), QueueError> {
        let mut count = self.ids()?.len();
        if count < MOST {
            return Ok(());
        }
        for queued in self.read(keys)? {
            let is_over = queued.order.is_some_and(|order| !order.counts_at(now));
            if count >= MOST && is_over && self.remove(&queued.id)? {
                count -= 1;
            }
        }
        if count < MOST {
            Ok(())
        } else {
            Err(QueueError::Full)
        }
    }

    fn ids(&self) -> Result<BTreeSet<OrderId>, ShelfError> {
        let failed = self.failed("cannot read");
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(error)),
        };
        let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
        let names: Vec<PathBuf> = names.collect::<io::Result<_>>().map_err(failed)?;
        Ok(names.iter().filter_map(|name| id_of(name)).collect())
    }

    fn queued(&self, id: &OrderId, keys: Result<&Keys, &KeysError>) -> Queued {
        let draft = || {
            let order = Order::parse(&read(&self.draft(id))?).map_err(|error| error.to_string())?;
            is_named(&order, id)?;
            Ok::<_, String>(order)
        };
        let path = self.signed(id);
        let (order, standing) = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match draft() {
                Ok(order) => (Some(order), Standing::Draft),
                // Nobody has signed it, so its text does not matter.
                Err(why) => (None, Standing::Wrong(why)),
            },
            Err(error) => (None, Standing::Unreadable(error.to_string())),
            Ok(_) => match open(&path, id, keys) {
                Ok((order, text)) => (Some(order), Standing::Signed(text)),
                Err(standing) => (draft().ok(), standing),
            },
        };
        Queued {
            id: id.clone(),
            order,
            standing,
        }
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> ShelfError {
        let path = self.0.clone();
        move |error| ShelfError {
            what,
            path: path.clone(),
            error,
        }
    }
}

impl Queued {
    /// The order, if it is signed and counts at this time.
    #[must_use]
    pub fn counts(&self, now: u64) -> Option<(&Order, &str)> {
        match (&self.order, &self.standing) {
            (Some(order), Standing::Signed(text)) if order.counts_at(now) => Some((order, text)),
            _ => None,
        }
    }

    /// Whether nobody knows what it says.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.standing, Standing::Unreadable(_))
    }

    /// Whether this is an unreadable order that may be a hold for a node with these addresses. If its draft exists, the draft says for
    /// which nodes it would be, and for how long.
    #[must_use]
    pub fn may_hold(&self, macs: &[Mac], now: u64) -> bool {
        self.is_unreadable()
            && match &self.order {
                Some(order) => {
                    order.action == Action::Hold && order.is_for(macs) && order.counts_at(now)
                }
                None => now < self.id.made_at().saturating_add(LONGEST_LIFE.as_secs()),
            }
    }
}

/// The id that a file of the folder is about.
fn id_of(name: &Path) -> Option<OrderId> {
    let ending = name.extension()?.to_str()?;
    let id = OrderId::parse(name.file_stem()?.to_str()?)?;
    [DRAFT, SIGNED].contains(&ending).then_some(id)
}

fn open(
    path: &Path,
    id: &OrderId,
    keys: Result<&Keys, &KeysError>,
) -> Result<(Order, String), Standing> {
    let text = read(path).map_err(Standing::Unreadable)?;
    let signed = SignedOrder::parse(text.as_bytes())
        .map_err(|error| Standing::Unreadable(error.to_string()))?;
    let keys = keys.map_err(|error| Standing::Unreadable(error.to_string()))?;
    let order = signed.open(&keys.all()).map_err(|error| match error {
        SignedOrderError::Signature(_) => Standing::Wrong(error.to_string()),
        // A key that counts has signed something that this desk does not understand.
        error => Standing::Unreadable(error.to_string()),
    })?;
    is_named(&order, id).map_err(Standing::Wrong)?;
    Ok((order, signed.to_text()))
}

/// Under a second name, an order would be handed out twice but taken back only once.
fn is_named(order: &Order, id: &OrderId) -> Result<(), String> {
    if order.id == *id {
        Ok(())
    } else {
        Err(format!("it is the order {}", order.id))
    }
}

/// The text of a file. The file may be anything, even a pipe, and reading a pipe could block forever.
fn read(path: &Path) -> Result<String, String> {
    let about = path.symlink_metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LENGTH as u64 + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    Ok(text)
}
