//! Ends the program when a signal asks for it. This runs in a thread of its own, because every other thread may be waiting for a disk that
//! does not answer. Nothing is lost: what the desk has acknowledged is already in the journal.

use std::io;
use std::net::SocketAddr;
use std::process::exit;
use std::thread::{self, sleep};

use axum_server::Handle;
use log::warn;
use tokio::signal::unix::{SignalKind, signal};

use crate::serve::FAREWELL;

/// Ends the servers on SIGTERM or SIGINT. Ends the whole program if something holds them up for too long.
pub fn when_asked(servers: Handle<SocketAddr>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut end, mut interrupt) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = end.recv() => (),
                _ = interrupt.recv() => (),
            }
        });
        warn!("the desk ends");
        servers.graceful_shutdown(Some(FAREWELL));
        // `FAREWELL` is the time for the connections. The tasks behind them get as much again.
        sleep(3 * FAREWELL);
        warn!("something does not end, and the desk ends without it");
        exit(0);
    };
    thread::Builder::new()
        .name("end".to_owned())
        .spawn(wait)
        .map(drop)
}
