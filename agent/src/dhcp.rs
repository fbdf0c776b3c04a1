//! DHCP: a client that runs on one interface in its own thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvError};
use std::thread;

use gild_boards::mac::Mac;
use gild_dhcp::News;
use gild_identity::Interface;
use log::{info, warn};

/// A client. It ends when this value is dropped or when it is stopped.
#[derive(Debug)]
pub struct Client {
    news: Receiver<News>,
    stop: Stop,
}

/// Stops a client.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Client {
    /// Starts a client.
    pub fn start(interface: &str, mac: Mac) -> Self {
        let stop = Stop(Arc::default());
        let (news, received) = mpsc::channel();
        let (interface, stopped) = (interface.to_owned(), stop.clone());
        thread::spawn(move || {
            gild_dhcp::run(&interface, mac.0, &stopped.0, |new| {
                // If nobody listens any more, the client is about to be stopped.
                let _ = news.send(new);
            });
        });
        Self {
            news: received,
            stop,
        }
    }

    /// What the client has reported, if there is anything.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Waits for the client's next report. An error means that the client has ended.
    pub fn next_news(&self) -> Result<News, RecvError> {
        self.news.recv()
    }

    /// A handle that can stop the client from elsewhere.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Stop {
    /// Makes the client end soon.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Logs that a client cannot send requests.
pub fn report_mute(interface: &Interface, error: &io::Error) {
    warn!(
        "DHCP on {} cannot ask, and tries again: {error}",
        interface.name
    );
}

/// Logs that it can again.
pub fn report_asking(interface: &Interface) {
    info!("DHCP on {} can ask now", interface.name);
}
