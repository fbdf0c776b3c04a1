//! A few connections for many threads, and the loop that tries again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::connection::{Connection, Server};
use crate::{NfsError, Patience};

/// Hands each call a connection of its own.
pub struct Pool {
    pub server: Server,
    idle: Mutex<Vec<Slot>>,
    returned: Condvar,
    mounted: AtomicBool,
    lost: AtomicU64,
}

/// The place of a connection, which is made when it is first needed and again after a loss.
struct Slot(Option<Connection>);

impl Pool {
    pub fn new(server: Server, connections: usize) -> Self {
        Self {
            server,
            idle: Mutex::new((0..connections.max(1)).map(|_| Slot(None)).collect()),
            returned: Condvar::new(),
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
        let mut attempt = 0;
        loop {
            let error = match self.try_once(&mut work) {
                Ok(output) => {
                    self.patience().got_on();
                    return Ok(output);
                }
                Err(error) => error,
            };
            attempt += 1;
            if !error.is_retryable() || !self.patience().wait(attempt, &error) {
                return Err(error);
            }
        }
    }

    fn try_once<T>(
        &self,
        work: &mut impl FnMut(&Server, &mut Connection) -> Result<T, NfsError>,
    ) -> Result<T, NfsError> {
        let mut lease = self.lease();
        let connection = match &mut lease.slot.0 {
            Some(connection) => connection,
            empty => empty.insert(self.open()?),
        };
        let result = work(&self.server, connection);
        if let Err(error) = &result
            && !error.leaves_connection_usable()
        {
            lease.slot.0 = None;
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

    fn lease(&self) -> Lease<'_> {
        let mut idle = self.idle();
        loop {
            if let Some(slot) = idle.pop() {
                return Lease { pool: self, slot };
            }
            idle = self
                .returned
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that goes back to the pool by itself, whatever happens.
struct Lease<'a> {
    pool: &'a Pool,
    slot: Slot,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let slot = Slot(self.slot.0.take());
        self.pool.idle().push(slot);
        self.pool.returned.notify_one();
    }
}
