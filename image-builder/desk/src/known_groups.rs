//! The groups for the picture of the rack, which is made often: their files are read every few seconds, and not for each board.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metadata::Groups;

/// So long what was read counts.
const FRESH: Duration = Duration::from_secs(5);

/// What was read last, and when.
#[derive(Default)]
pub struct KnownGroups(Mutex<Option<(Instant, Arc<Groups>)>>);

impl KnownGroups {
    /// The groups of this directory.
    pub fn read(&self, directory: &Path) -> Arc<Groups> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, groups)) = &*known
            && at.elapsed() < FRESH
        {
            return Arc::clone(groups);
        }
        let groups = Arc::new(Groups::read(directory));
        *known = Some((Instant::now(), Arc::clone(&groups)));
        groups
    }
}
