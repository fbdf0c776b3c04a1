//! The offers of several servers, and which one is taken.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::message::Answer;

/// How long other servers have time to answer when the first one has failed before.
const COLLECT: Duration = Duration::from_secs(3);
/// Most offers that are kept.
const MAX_OFFERS: usize = 16;
/// Most servers that are remembered.
const MAX_LAST: usize = 64;

/// The offers so far.
#[derive(Debug, Default)]
pub struct Offers {
    open: Vec<Answer>,
    choose_at: Option<Duration>,
    /// Servers that took an offer back or did not keep it, the latest at the end, each as often as it did.
    last: Vec<Ipv4Addr>,
}

impl Offers {
    /// When an offer is chosen, if there is one.
    pub fn choose_at(&self) -> Option<Duration> {
        self.choose_at
    }

    /// Takes note of an offer. Gives it back if it is as good as any: the first one of a server that has not failed.
    pub fn add(&mut self, offer: Answer, now: Duration) -> Option<Answer> {
        if !self.last.contains(&offer.server) {
            self.forget();
            return Some(offer);
        }
        self.choose_at.get_or_insert(now + COLLECT);
        if self.open.len() < MAX_OFFERS {
            self.open.push(offer);
        }
        None
    }

    /// The offer of the server that failed least often. The other offers are dropped.
    pub fn take_best(&mut self) -> Option<Answer> {
        let failures = |server| self.last.iter().filter(|last| **last == server).count();
        let best = self
            .open
            .iter()
            .min_by_key(|offer| failures(offer.server))
            .cloned();
        self.forget();
        best
    }

    /// Puts a server behind all others.
    pub fn put_last(&mut self, server: Ipv4Addr) {
        if self.last.len() < MAX_LAST {
            self.last.push(server);
        }
    }

    /// Forgets the offers. Who failed is remembered.
    pub fn forget(&mut self) {
        self.open.clear();
        self.choose_at = None;
    }
}
