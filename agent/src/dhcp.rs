//! DHCP: a client at work on one interface, in its own thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvError};
use std::thread;

use gild_boards::mac::Mac;
use gild_dhcp::News;
use gild_identity::Interface;
use log::{info, warn};

/// A client. It ends when this is dropped, or when it is stopped.
#[derive(Debug)]
pub struct Client {
    news: Receiver<News>,
    stop: Stop,
}

/// Stops a client.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Client {
    /// Begins to ask.
    pub fn start(interface: &str, mac: Mac) -> Self {
        let stop = Stop(Arc::default());
        let (news, received) = mpsc::channel();
        let (interface, stopped) = (interface.to_owned(), stop.clone());
        thread::spawn(move || {
            gild_dhcp::run(&interface, mac.0, &stopped.0, |new| {
                // Nobody listens any more: it is about to be stopped.
                let _ = news.send(new);
            });
        });
        Self {
            news: received,
            stop,
        }
    }

    /// What it has said, if it has said anything.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// What it says next. An error: the client has ended.
    pub fn next_news(&self) -> Result<News, RecvError> {
        self.news.recv()
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

/// Says that a client cannot ask.
pub fn report_mute(interface: &Interface, error: &io::Error) {
    warn!(
        "DHCP on {} cannot ask, and tries again: {error}",
        interface.name
    );
}

/// Says that it can again.
pub fn report_asking(interface: &Interface) {
    info!("DHCP on {} can ask now", interface.name);
}
