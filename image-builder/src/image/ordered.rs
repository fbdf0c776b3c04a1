//! Which images the orders of a desk name. A board with such an order asks for that image alone, as long as the order counts.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, absolute};

use anyhow::{Context, Result, anyhow, ensure};
use gild_desk::desk::now;
use gild_desk::folder::Folder;
use gild_desk::orders::{Keys, Queued, Shelf, Standing};
use gild_format::ImageId;
use gild_orders::{Action, Choice, LONGEST_LIFE, OrderId};

/// Each image that an order names, and the latest order that names it.
#[derive(Default)]
pub struct Ordered(BTreeMap<String, OrderId>);

impl Ordered {
    /// Reads the orders of the desk whose folder `images/` this is, or a board's folder in it. An order that cannot be read may name any
    /// image. A folder of no desk has no orders.
    pub fn beside(images: &Path) -> Result<Self> {
        let mut ordered = Self::default();
        for desk in desks(images)? {
            ordered.read(&desk).with_context(|| {
                format!(
                    "nobody knows which images the orders in {} name, and nothing was removed",
                    desk.orders().display()
                )
            })?;
        }
        Ok(ordered)
    }

    /// The order that names this image.
    pub fn by(&self, image: &ImageId) -> Option<&OrderId> {
        self.0.get(image.as_str())
    }

    fn read(&mut self, desk: &Folder) -> Result<()> {
        let orders = Shelf::new(desk.orders())
            .read(Keys::read(desk).as_ref())
            .map_err(|error| anyhow!("{error}; next: run this as the user who owns the folder"))?;
        let now = now();
        for queued in orders {
            if let Standing::Unreadable(why) = &queued.standing {
                ensure!(
                    has_ended(&queued, now),
                    "the order {id} cannot be read: {why}; next: correct that, or take the order back: gild order cancel {} {id}",
                    desk.path().display(),
                    id = queued.id
                );
            }
            // Drafts too, and those with a wrong signature: somebody is about to sign them.
            let order = queued.order.filter(|order| order.counts_at(now));
            if let Some(Action::Flash(flash)) = order.map(|order| order.action)
                && let Choice::Image(image) = flash.choice
            {
                self.0.insert(image.to_string(), queued.id);
            }
        }
        Ok(())
    }
}

/// Whether an order cannot count any more, whatever it says.
fn has_ended(queued: &Queued, now: u64) -> bool {
    now >= queued.id.made_at().saturating_add(LONGEST_LIFE.as_secs())
}

/// The desks whose `images/` this is. A link may lead to it from elsewhere, so both its name and its place count.
fn desks(images: &Path) -> Result<Vec<Folder>> {
    let failed = || format!("cannot find the folder {}", images.display());
    let places = [
        absolute(images).with_context(failed)?,
        images.canonicalize().with_context(failed)?,
    ];
    let mut desks: Vec<Folder> = Vec::new();
    for place in &places {
        for images in place.ancestors().take(2) {
            let Some(desk) = images.parent().map(Folder::new) else {
                continue;
            };
            let is_new = desks.iter().all(|known| known.path() != desk.path());
            let has_orders = || {
                [desk.settings(), desk.orders()]
                    .iter()
                    .any(|path| is_there(path))
            };
            if is_new && desk.images() == images && has_orders() {
                desks.push(desk);
            }
        }
    }
    Ok(desks)
}

/// What cannot be looked at may be there.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}
