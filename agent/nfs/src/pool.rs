//! A few connections for many threads, which are made again when they are lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gild_source::{Patience, Slots, persist};

use crate::NfsError;
use crate::connection::{Connection, Server};

/// Hands each call its own connection.
pub struct Pool {
    pub server: Server,
    /// A connection is made when it is first needed, and again after a loss.
    slots: Slots<Option<Connection>>,
    mounted: AtomicBool,
    lost: AtomicU64,
}

impl Pool {
    pub fn new(server: Server, connections: usize) -> Self {
        Self {
            server,
            slots: Slots::new((0..connections.max(1)).map(|_| None)),
            mounted: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    pub fn patience(&self) -> &dyn Patience {
        &*self.server.waits.patience
    }

    /// How many connections were given up.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Does `work` on a connection, as often as it takes and the patience lasts.
    pub fn run<T>(
        &self,
        mut work: impl FnMut(&Server, &mut Connection) -> Result<T, NfsError>,
    ) -> Result<T, NfsError> {
        persist(self.patience(), || self.try_once(&mut work))
    }

    fn try_once<T>(
        &self,
        work: &mut impl FnMut(&Server, &mut Connection) -> Result<T, NfsError>,
    ) -> Result<T, NfsError> {
        let mut slot = self.slots.lease();
        let result = match &mut *slot {
            Some(connection) => work(&self.server, connection),
            empty => self
                .open()
                .and_then(|connection| work(&self.server, empty.insert(connection))),
        };
        if result.is_err() {
            slot.fail();
        }
        if let Err(error) = &result
            && !error.leaves_connection_usable()
        {
            *slot = None;
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn open(&self) -> Result<Connection, NfsError> {
        let was_mounted = self.mounted.load(Ordering::Relaxed);
        match Connection::open(&self.server) {
            Err(source)
                if was_mounted
                    && (source.is_missing()
                        || matches!(
                            source,
                            NfsError::MountRefused { .. } | NfsError::NotADirectory { .. }
                        )) =>
            {
                Err(NfsError::ShareGone {
                    source: Box::new(source),
                })
            }
            Ok(connection) => {
                self.mounted.store(true, Ordering::Relaxed);
                Ok(connection)
            }
            Err(error) => Err(error),
        }
    }
}
