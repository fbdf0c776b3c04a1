//! Step 6, signed order: find out what an operator's key wants this node to do. The agent asks the server that `order_url` names. That
//! server can withhold an order, but cannot make one.
//!
//! If the answer is not a valid order, the agent says so, but that is never a reason to write. The agent waits for an answer only if the
//! disk may have been made blank for an order, because only the server knows which image that order chooses.

mod heard;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::Config;
use gild_disk::Clock as _;
use gild_faults::{Fault, HasFault};
use gild_format::signature::PublicKey;
use gild_http::Access;
use gild_orders::{Listener, Order, Refusal};
use log::{info, warn};
use reqwest::Url;

pub use heard::{Chosen, Heard};

use crate::consent::{self, Decision, Holds, Signed};
use crate::failure::StepError;
use crate::http::{self, HttpError};
use crate::look::Seen;
use crate::machine::Machine;
use crate::network::Effort;
use crate::node::Node;
use crate::stage::Stage;
use crate::{clock, hardware, network, receipt};

/// How long a disk that can be started waits for a network and an answer.
const BEFORE_START: Duration = Duration::from_secs(10);
/// How much of that the network may take. The rest is for a time server and the answer.
pub const FOR_NETWORK: Duration = Duration::from_secs(7);
/// How long such a disk then waits for the image that a valid order chooses. After that the disk is started, and the order counts at the
/// next start.
pub const FOR_IMAGE: Duration = Duration::from_secs(20);
/// How long one answer may take if the disk is to be written anyway.
const FOR_ANSWER: Duration = Duration::from_secs(10);
/// How long a disk that may have been made blank for an order waits for a server that is away, in all attempts of one start. A node must not stay
/// without an image because a server is gone forever.
const FOR_BEGUN: Duration = Duration::from_mins(30);
/// How much of that one attempt waits before it fails.
const FOR_RESTART: Duration = Duration::from_mins(2);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);

/// Why the answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum NotHeard {
    /// Nobody answers.
    #[error("signed orders cannot be asked for: {0}")]
    Unreachable(#[from] HttpError),
    /// It is not an order for this node.
    #[error("what the order server answers does not count: {0}")]
    Refused(#[from] Refusal),
}

/// The disk's record names an order that the disk may have been made blank for, and the server of orders does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "this disk may have been made blank for an order, and the server of orders does not answer: nothing is written in the first {} minutes after \
     power-on; next: have the server at `order_url` answer",
    FOR_BEGUN.as_secs() / 60
)]
pub struct NoAnswer;

impl HasFault for NoAnswer {
    fn fault(&self) -> Fault {
        Fault::ServerUnreachable
    }
}

impl StepError for NoAnswer {}

/// Whom to ask, and which keys to trust.
struct Question<'a> {
    server: &'a Url,
    access: &'a Access,
    keys: &'a [&'a PublicKey],
    macs: &'a [Mac],
    /// The MAC address under which the agent asks.
    mac: Mac,
    board: &'a str,
}

impl Question<'_> {
    /// Asks until this time at the latest.
    fn ask(&self, end: Instant, now: u64) -> Result<Option<Order>, NotHeard> {
        let answer = gild_orders::ask(self.server, self.mac, self.board, |url| {
            let left = end.saturating_duration_since(Instant::now());
            match http::get_within(self.access, &url, left) {
                Ok(answer) => Ok(Some(answer)),
                Err(HttpError::Status(status)) if status == 404 => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        let listener = Listener {
            keys: self.keys,
            macs: self.macs,
            now,
        };
        let order = answer.map(|answer| listener.order_in(&answer));
        Ok(order.transpose()?)
    }
}

/// Whether a signed order wants a disk written that would otherwise be started. Network and answer share the time of [`BEFORE_START`].
pub fn has_it_written(
    machine: &Machine,
    board: &Board,
    config: &Config,
    node: &mut Node,
    seen: &Seen,
) -> bool {
    let (Decision::Start(_), Some(server)) = (&seen.decision, &config.order_url) else {
        return false;
    };
    machine.enter(Stage::Network);
    let end = Instant::now() + BEFORE_START;
    let host = server.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let effort = Effort::Brief(FOR_NETWORK);
    let networks = &config.networks;
    match network::up(machine, board, networks, host, &mut node.network, effort) {
        Ok(network) => {
            let setting = clock::set(network.time_servers().take(1));
            node.heard.knows_time_by(&setting);
        }
        Err(error) => {
            info!("no signed order is asked for: {error}");
            return false;
        }
    }
    machine.knows(node);
    let left = end.saturating_duration_since(Instant::now());
    ask(machine, board, config, node, left, seen.holds.carried_out());
    let serial = &seen.target.serial;
    node.heard.meets(serial);
    let is_written = |signed: &Signed| {
        let decision = consent::decide(seen.holds.clone(), None, Some(signed));
        matches!(decision, Decision::Write(_))
    };
    let now = clock::seconds;
    let open = node.heard.order_for(serial, now()).filter(|signed| {
        is_written(&Signed {
            is_in_time: true,
            ..signed.clone()
        })
    });
    if let Some(order) = open.filter(|order| !order.is_in_time) {
        // Only for an order that is open the disk waits for the other time servers, too.
        set_clock(machine, node);
        node.heard.doubts(&order.id, now());
    }
    machine.knows(node);
    let signed = node.heard.order_for(serial, now());
    signed.is_some_and(|signed| is_written(&signed))
}

/// Sets the clock by the network's time servers. It decides which orders have expired.
pub fn set_clock(machine: &Machine, node: &mut Node) {
    let Some(network) = &node.network else {
        return;
    };
    let setting = clock::set(network.time_servers());
    machine.alive();
    node.heard.knows_time_by(&setting);
    hardware::look_at_clock(machine, &setting);
}

/// Asks once in each attempt, and again while an order to hold counts. Fails while nobody says which image the order chooses for which the
/// disk may have been made blank: the next attempt looks for another way to the server.
pub fn hear(
    machine: &Machine,
    board: &Board,
    config: &Config,
    node: &mut Node,
    holds: Option<&Holds>,
) -> Result<(), NoAnswer> {
    let carried_out = holds.map_or(&[][..], Holds::carried_out);
    if !node.heard.is_fresh() {
        ask(machine, board, config, node, FOR_ANSWER, carried_out);
    }
    let is_missing = |node: &Node| {
        let missing = |holds| node.heard.missing(holds, clock::seconds());
        holds.is_some_and(missing)
    };
    // A server that starts again is not a fault yet.
    let mut end = None;
    loop {
        // An answer after a wait may be a hold, too.
        wait_while_held(machine, board, config, node, carried_out);
        if !is_missing(node) {
            return Ok(());
        }
        let now = machine.now();
        if now >= FOR_BEGUN {
            warn!("the server of orders does not answer: the disk is written without an order");
            return Ok(());
        }
        if now >= *end.get_or_insert(now + FOR_RESTART) {
            return Err(NoAnswer);
        }
        machine.wait(BETWEEN_QUESTIONS);
        ask(machine, board, config, node, FOR_ANSWER, carried_out);
    }
}

fn wait_while_held(
    machine: &Machine,
    board: &Board,
    config: &Config,
    node: &mut Node,
    carried_out: &[String],
) {
    let mut said = None;
    while let Some(id) = node.heard.hold(clock::seconds()).cloned() {
        let words = format!("order {id} holds this node: nothing is written as long as it counts");
        if said.as_ref() != Some(&id) {
            info!("{words}");
            machine.reporter.held(&words);
            node.held = Some(words);
            machine.knows(node);
            receipt::tell(machine, node, None, true);
            said = Some(id);
        }
        machine.wait(machine.hold);
        set_clock(machine, node);
        ask(machine, board, config, node, FOR_ANSWER, carried_out);
    }
    node.held = None;
}

/// Asks, and remembers the answer.
fn ask(
    machine: &Machine,
    board: &Board,
    config: &Config,
    node: &mut Node,
    time: Duration,
    carried_out: &[String],
) {
    let (Some(server), Some(mac)) = (&config.order_url, node.mac()) else {
        return;
    };
    let answer = Access::new(config.authorities.as_deref(), None)
        .map_err(|error| NotHeard::Unreachable(error.into()))
        .and_then(|access| {
            let question = Question {
                server,
                access: &access,
                keys: &config.order_keys(),
                macs: &node.macs(),
                mac,
                board: &board.name,
            };
            question.ask(Instant::now() + time, clock::seconds())
        });
    machine.alive();
    if let Err(error) = node.heard.takes(answer, carried_out, clock::seconds()) {
        match &error {
            NotHeard::Refused(refusal) if refusal.is_expected() => info!("{error}"),
            _ => warn!("{error}"),
        }
    }
    let identify = node.heard.identify(clock::seconds());
    machine.led.identify(identify);
    machine.knows(node);
}
