//! A cache of the orders, because they are needed often. Every few seconds it reads their files again and checks their signatures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use super::keys::Keys;
use super::shelf::{Queued, Shelf, Standing};
use crate::folder::Folder;

/// The cache is valid for this long. After that, the desk no longer hands out an order that was taken back.
const FRESH: Duration = Duration::from_secs(2);

/// What was read last, and when.
#[derive(Default)]
pub struct KnownOrders(Mutex<Option<(Instant, Arc<Vec<Queued>>)>>);

impl KnownOrders {
    /// The orders of this desk.
    pub fn read(&self, folder: &Folder) -> Arc<Vec<Queued>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, orders)) = &*known
            && at.elapsed() < FRESH
        {
            return Arc::clone(orders);
        }
        let keys = Keys::read(folder);
        let orders = Shelf::new(folder.orders()).read(keys.as_ref());
        let orders = Arc::new(orders.unwrap_or_else(|error| {
            warn!("no order is handed out: {error}");
            Vec::new()
        }));
        let before = known.as_ref().map(|(_, orders)| Arc::clone(orders));
        for queued in orders.iter() {
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
        *known = Some((Instant::now(), Arc::clone(&orders)));
        orders
    }

    /// Call this when the files have changed.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
