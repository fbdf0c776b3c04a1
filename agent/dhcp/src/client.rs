//! The state machine: which request is due, and what an answer means.
//!
//! Times are counted from a moment of the caller's choice.

mod offers;
mod pace;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::Lease;
use crate::message::{Answer, Ask, Kind, Mac, Request};
use offers::Offers;
use pace::Pace;

/// How often an offer is asked for. A server that offered and says nothing more is put last.
const ATTEMPTS: u32 = 3;

/// An action for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes.
    Send(To, Vec<u8>),
    /// Something has happened.
    Report(Event),
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To all, from a client without an address.
    AllWithoutAddress,
    /// To all, from the address of the lease.
    All,
    /// To the server, from the address of the lease.
    Server(Ipv4Addr),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a lease.
    Bound(Lease),
    /// It lasts longer now, and other things than the address may have changed.
    Renewed(Lease),
    /// A server took its offer back (NAK). Another is asked.
    Refused(Ipv4Addr),
    /// The address is not the client's any more. The client begins again.
    Lost(Loss),
}

/// Why an address was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// This server refused to extend the lease (NAK).
    Refused(Ipv4Addr),
    /// This server extended the lease of another address.
    Moved(Ipv4Addr),
    /// Nobody extended it.
    Expired,
}

/// A client of one interface.
#[derive(Debug)]
pub struct Client {
    mac: Mac,
    random: fastrand::Rng,
    transaction: u32,
    /// When the present attempt to get an address began.
    began: Duration,
    offers: Offers,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Asks for offers.
    Selecting(Pace),
    /// Takes an offer.
    Requesting { pace: Pace, offer: Answer },
    /// Has a lease, asked for at this moment.
    Bound {
        lease: Lease,
        /// What the lease was read from.
        ack: Answer,
        since: Duration,
    },
    /// Wants it extended: the next request is due at `next`, and went out last at `asked`.
    Extending {
        lease: Lease,
        ack: Answer,
        since: Duration,
        next: Duration,
        asked: Duration,
    },
}

impl Client {
    /// A client that begins. Each client needs another seed.
    #[must_use]
    pub fn new(mac: Mac, seed: u64, now: Duration) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            mac,
            transaction: random.u32(..),
            random,
            began: now,
            offers: Offers::default(),
            state: State::Selecting(Pace::from(now)),
        }
    }

    /// When [`Self::act`] has something to do next. `None`: never, because the lease has no end.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        match &self.state {
            State::Selecting(pace) => Some(match self.offers.choose_at() {
                Some(choose) => choose.min(pace.next()),
                None => pace.next(),
            }),
            State::Requesting { pace, .. } => Some(pace.next()),
            State::Bound { lease, since, .. } => lease.times.map(|times| *since + times.renew),
            State::Extending {
                lease, since, next, ..
            } => lease.times.map(|times| (*since + times.end).min(*next)),
        }
    }

    /// What is due now.
    pub fn act(&mut self, now: Duration) -> Vec<Action> {
        if self.next().is_none_or(|next| now < next) {
            return Vec::new();
        }
        match &mut self.state {
            State::Selecting(pace) => {
                if self.offers.choose_at().is_some_and(|choose| choose <= now)
                    && let Some(offer) = self.offers.take_best()
                {
                    return self.take_offer(offer, now);
                }
                let attempt = pace.step(now, &mut self.random);
                vec![self.send_to_all(Ask::Discover, attempt, now)]
            }
            State::Requesting { pace, offer } => {
                let (server, address) = (offer.server, offer.address);
                let attempt = pace.step(now, &mut self.random);
                if let Some(address) = address.filter(|_| attempt < ATTEMPTS) {
                    vec![self.send_to_all(Ask::Take { address, server }, attempt, now)]
                } else {
                    self.offers.put_last(server);
                    self.select(now);
                    self.act(now)
                }
            }
            State::Bound { lease, ack, since } => {
                let (lease, ack, since) = (lease.clone(), ack.clone(), *since);
                self.transaction = self.random.u32(..);
                self.began = now;
                self.state = State::Extending {
                    lease,
                    ack,
                    since,
                    next: now,
                    asked: now,
                };
                self.act(now)
            }
            State::Extending { .. } => self.extend(now),
        }
    }

    /// What follows from the bytes of a packet to the client's port.
    pub fn receive(&mut self, now: Duration, bytes: &[u8], source: Ipv4Addr) -> Vec<Action> {
        let Some(answer) = Answer::parse(bytes, source) else {
            return Vec::new();
        };
        if answer.transaction != self.transaction || answer.mac != self.mac {
            return Vec::new();
        }
        match (&self.state, answer.kind) {
            (State::Selecting(_), Kind::Offer) if answer.address.is_some() => {
                match self.offers.add(answer, now) {
                    Some(offer) => self.take_offer(offer, now),
                    None => Vec::new(),
                }
            }
            (State::Requesting { offer, .. }, Kind::Ack) => {
                let ack = if answer.is_of(offer.server) {
                    Answer {
                        server: offer.server,
                        ..answer.filled_from(offer)
                    }
                } else {
                    answer
                };
                self.bind(ack, now, Event::Bound)
            }
            // Another server may be of the opinion that the address is not this network's. It was not asked.
            (State::Requesting { offer, .. }, Kind::Nak) if answer.is_refusal_of(offer.server) => {
                let server = offer.server;
                self.offers.put_last(server);
                self.select(now);
                vec![Action::Report(Event::Refused(server))]
            }
            (State::Extending { lease, ack, .. }, Kind::Ack) => {
                let address = lease.configuration.address;
                if answer.address.is_some_and(|other| other != address) {
                    return self.lose(Loss::Moved(answer.answerer(lease.server)), now);
                }
                let server = answer.answerer(lease.server);
                let extended = Answer {
                    server,
                    ..answer.filled_from(ack)
                };
                self.bind(extended, now, Event::Renewed)
            }
            (State::Extending { lease, since, .. }, Kind::Nak) => {
                let is_rebinding = lease
                    .times
                    .is_some_and(|times| *since + times.rebind <= now);
                // Near the end all are asked, so that any of them may say that the address is not this network's.
                if is_rebinding || answer.is_refusal_of(lease.server) {
                    let server = answer.answerer(lease.server);
                    self.offers.put_last(server);
                    self.lose(Loss::Refused(server), now)
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        }
    }

    /// Whether the address of a lease is this client's at present.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        matches!(self.state, State::Bound { .. } | State::Extending { .. })
    }

    /// Whether an answer may come.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !matches!(self.state, State::Bound { .. })
    }

    fn take_offer(&mut self, offer: Answer, now: Duration) -> Vec<Action> {
        self.state = State::Requesting {
            pace: Pace::from(now),
            offer,
        };
        self.act(now)
    }

    /// An ACK without an address changes nothing.
    fn bind(&mut self, ack: Answer, now: Duration, event: fn(Lease) -> Event) -> Vec<Action> {
        let Some(lease) = Lease::of(&ack) else {
            return Vec::new();
        };
        // It runs from the moment of the request, because the answer may have been on its way for long.
        let since = match &self.state {
            State::Extending { asked, .. } => *asked,
            State::Requesting { pace, .. } => pace.last(),
            _ => now,
        };
        self.state = State::Bound {
            lease: lease.clone(),
            ack,
            since,
        };
        self.offers = Offers::default();
        vec![Action::Report(event(lease))]
    }

    fn lose(&mut self, loss: Loss, now: Duration) -> Vec<Action> {
        self.select(now);
        vec![Action::Report(Event::Lost(loss))]
    }

    /// Begins again.
    fn select(&mut self, now: Duration) {
        self.transaction = self.random.u32(..);
        self.began = now;
        self.offers.forget();
        self.state = State::Selecting(Pace::from(now));
    }

    /// Asks for more time: first the server, then all servers in the last eighth of the lease. It stops asking when the lease is
    /// over.
    fn extend(&mut self, now: Duration) -> Vec<Action> {
        let State::Extending {
            lease,
            since,
            next,
            asked,
            ..
        } = &mut self.state
        else {
            return Vec::new();
        };
        let Some(times) = lease.times else {
            return Vec::new();
        };
        let (rebind, end) = (*since + times.rebind, *since + times.end);
        if end <= now {
            return self.lose(Loss::Expired, now);
        }
        let (to, limit) = if now < rebind {
            (To::Server(lease.server), rebind)
        } else {
            (To::All, end)
        };
        *asked = now;
        *next = pace::again(now, limit, times.end);
        let address = lease.configuration.address;
        let request = self.request(Ask::Extend(address), false, now);
        vec![Action::Send(to, request)]
    }

    /// Each second request asks for an answer to all: some networks lose one kind, and some the other.
    fn send_to_all(&self, ask: Ask, attempt: u32, now: Duration) -> Action {
        let bytes = self.request(ask, attempt % 2 == 1, now);
        Action::Send(To::AllWithoutAddress, bytes)
    }

    fn request(&self, ask: Ask, broadcast: bool, now: Duration) -> Vec<u8> {
        let request = Request {
            mac: self.mac,
            transaction: self.transaction,
            seconds: u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX),
            broadcast,
            ask,
        };
        request.to_bytes()
    }
}
