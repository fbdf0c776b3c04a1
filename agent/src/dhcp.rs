//! DHCP: a client at work on one interface, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvError};
use std::thread;

use gild_boards::mac::Mac;
use gild_dhcp::Event;

/// A client. It ends when this is dropped, or when it is stopped.
#[derive(Debug)]
pub struct Client {
    events: Receiver<io::Result<Event>>,
    stop: Stop,
}

/// Stops a client.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Client {
    /// Begins to ask.
    pub fn start(interface: &str, mac: Mac) -> Self {
        let stop = Stop(Arc::default());
        let (events, received) = mpsc::channel();
        let (interface, stopped) = (interface.to_owned(), stop.clone());
        thread::spawn(move || {
            let ended = gild_dhcp::run(&interface, mac.0, &stopped.0, |event| {
                // Nobody listens any more: it is about to be stopped.
                let _ = events.send(Ok(event));
            });
            if let Err(error) = ended {
                let _ = events.send(Err(error));
            }
        });
        Self {
            events: received,
            stop,
        }
    }

    /// What has happened, if anything has.
    pub fn event(&self) -> Option<io::Result<Event>> {
        self.events.try_recv().ok()
    }

    /// What happens next. An error: the client has ended.
    pub fn next_event(&self) -> Result<io::Result<Event>, RecvError> {
        self.events.recv()
    }

    /// By which it can be stopped from elsewhere.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Stop {
    /// Has the client end soon.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
