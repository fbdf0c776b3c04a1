//! A cache of the orders, because they are needed often. Every few seconds it reads their files again and checks their signatures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use super::keys::Keys;
use super::shelf::{Queued, Shelf, ShelfError, Standing};
use crate::folder::Folder;

/// The cache is valid for this long. After that, the desk no longer hands out an order that was taken back.
const FRESH: Duration = Duration::from_secs(2);

/// All orders, or why their folder cannot be read.
type Orders = Result<Arc<Vec<Queued>>, Arc<ShelfError>>;

/// What was read last, and when.
#[derive(Default)]
pub struct KnownOrders(Mutex<Option<(Instant, Orders)>>);

impl KnownOrders {
    /// The orders of this desk. A folder that cannot be read is not one without orders: a board would take the one for the other.
    pub fn read(&self, folder: &Folder) -> Orders {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, orders)) = &*known
            && at.elapsed() < FRESH
        {
            return orders.clone();
        }
        let keys = Keys::read(folder);
        let orders = Shelf::new(folder.orders()).read(keys.as_ref());
        let orders = orders.map(Arc::new).map_err(|error| {
            warn!("no order is handed out: {error}");
            Arc::new(error)
        });
        let before = known.as_ref().and_then(|(_, orders)| orders.clone().ok());
        for queued in orders.iter().flat_map(|orders| orders.iter()) {
            let is_known = before
                .as_ref()
                .is_some_and(|before| before.contains(queued));
            if let (Standing::Unreadable(why), false) = (&queued.standing, is_known) {
                warn!(
                    "the order {} cannot be read, and may be a hold: {why}",
                    queued.id
                );
            }
        }
        *known = Some((Instant::now(), orders.clone()));
        orders
    }

    /// Call this when the files have changed.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
