//! An NFS version 3 file reader with time-outs, reconnection and several reads in flight.
//!
//! ```no_run
//! # fn main() -> Result<(), gild_nfs::NfsError> {
//! use std::sync::Arc;
//! use gild_nfs::{NfsUrl, Share};
//! use gild_source::{Backoff, Options};
//!
//! let url = NfsUrl::parse("nfs://192.168.1.10/srv/gild")?.join("rpi5");
//! let share = Share::connect(&url, Options::default(), Arc::new(Backoff::forever()))?;
//! let manifest = share.read_file("golden.json", 16 << 20)?;
//! let image = share.open("image.img.zst")?;
//! let mut first = vec![0; 4096];
//! image.read_exact_at(&mut first, 0)?;
//! # Ok(()) }
//! ```
//!
//! The calls block, and any number of threads may make them at once; each call uses one connection
//! of a small pool. For a slow server it waits on the open connection, as long as TCP says that the server is
//! there. Trouble that passes with time or that the server's operator can fix (no answer, a lost
//! connection, a restarted server, stale handles, a busy server) is handled inside: a [`Patience`](gild_source::Patience)
//! decides how long to wait and when to give up. Everything else comes back as an [`NfsError`].
//!
//! `nfs3_client` speaks the protocol, over our own stream: it knows neither time-outs nor the
//! end of a connection, and it believes every length a server sends.

mod connect;
mod connection;
mod error;
mod file;
mod limits;
mod mount;
mod pool;
mod record;
mod reply;
mod rpc;
mod share;
mod stream;
mod walk;

pub use gild_card_format::NfsUrl;

pub use error::{At, LinkProblem, NfsError};
pub use file::File;
pub use share::Share;

/// What reads a server's bytes, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub mod replies {
    pub use crate::limits::{MAX_MESSAGE, MAX_PATH, MAX_READ};
    pub use crate::record::{Fragment, Record, check_verifier};
    pub use crate::reply::{Entry, LookupReply, MountReply, ReadData, ReadReply, ReadlinkReply};
}
