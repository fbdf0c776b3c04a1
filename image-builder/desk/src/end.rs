//! The end of the program, when it is asked to end. It has a thread of its own: all others may wait for a disk that does not answer, and
//! the end comes all the same. What the desk has acknowledged is in the journal already.

use std::io;
use std::net::SocketAddr;
use std::process::exit;
use std::thread::{self, sleep};

use axum_server::Handle;
use log::warn;
use tokio::signal::unix::{SignalKind, signal};

use crate::serve::FAREWELL;

/// Ends the servers when SIGTERM or SIGINT comes, and the program when something holds them up for longer than they may take.
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
        // Connections have theirs, and then what works for them.
        sleep(3 * FAREWELL);
        warn!("something does not end, and the desk ends without it");
        exit(0);
    };
    thread::Builder::new()
        .name("end".to_owned())
        .spawn(wait)
        .map(drop)
}
