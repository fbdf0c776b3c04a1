//! Asks Matchbox who this node is, until it answers or the time is over.

use std::time::Duration;

use gild_boards::mac::Mac;
use gild_matchbox::{Answer, metadata_address};
use gild_report::Proof;
use gild_source::pause_by;
use log::{info, warn};
use reqwest::Url;

use crate::client::FetchError;
use crate::node::{Known, Node, NodeError};
use crate::settings::Settings;

/// Longest time of one request.
const TRY: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// What asking needs from the machine.
pub trait World {
    /// The addresses to ask with, the likeliest first. It has every address of this node whose cable is plugged in, and is empty if no
    /// cable is.
    fn macs(&self) -> Vec<Mac>;
    /// The proof by which gild's desk knows this node again.
    fn proof(&self) -> Option<&Proof>;
    /// The answer to a GET request that shows this proof.
    fn get(&self, url: &Url, proof: Option<&Proof>, time: Duration) -> Result<String, FetchError>;
    /// Time since some start.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// Whether the clock was set by a time server.
    fn clock_is_set(&self) -> bool;
    /// The board's unique number, if it shows one.
    fn board_number(&self) -> Option<[u8; 16]>;
    /// A number from 0 to 1, another one on each node.
    fn chance(&self) -> f64;
}

/// Why this node does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no cable or no driver.
    #[error("no wired network interface has a carrier; next: check the cable and the switch")]
    NoInterface,
    /// The request.
    #[error("asking the metadata server (a desk or Matchbox) for {0}: {1}{advice}", advice = advice(.1))]
    Fetch(Mac, FetchError),
    /// 404.
    #[error(
        "the metadata server (a desk or Matchbox) does not know {0}; next: add a group that selects this MAC address"
    )]
    Unknown(Mac),
    /// Only the answer for everyone.
    #[error(
        "the metadata server (a desk or Matchbox) has no group for {0}, only one for every node, which does not say who this one is; \
         next: add a group that selects this MAC address"
    )]
    DefaultGroup(Mac),
    /// The node's identity would depend on its cable.
    #[error(
        "the metadata server has two names for this node: {1} for {0} and {3} for {2}; next: remove one of the two groups, or give both \
         the same hostname"
    )]
    TwoNames(Mac, String, Mac, String),
    /// The answer.
    #[error("the metadata server's answer for {0} cannot be used: {1}")]
    Answer(Mac, NodeError),
}

/// What the operator can do if the node does not accept the server's certificate.
fn advice(error: &FetchError) -> String {
    match error {
        FetchError::Certificate(refused) => {
            let place =
                "--matchbox-ca of `gild image build`, or `ca` in the image's first-boot.toml";
            format!("; next: {}", refused.next_step(place))
        }
        _ => String::new(),
    }
}

impl AskError {
    /// Whether somebody has to change something first. Then the node need not ask again soon.
    fn waits_for_a_person(&self) -> bool {
        matches!(
            self,
            Self::Unknown(_) | Self::DefaultGroup(_) | Self::Answer(..) | Self::TwoNames(..)
        )
    }
}

/// Asks until there is a good answer. If the time runs out first, returns the last reason.
pub fn ask(
    world: &dyn World,
    matchbox: &Url,
    settings: &Settings,
    deadline: Duration,
) -> Result<Node, AskError> {
    let end = world.now() + deadline;
    let mut said = String::new();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match round(world, matchbox, settings, end) {
            Ok(node) => return Ok(node),
            Err(error) => error,
        };
        let text = error.to_string();
        if text != said {
            warn!("{text}");
            said = text;
        }
        if matches!(&error, AskError::Fetch(_, FetchError::NotValidYet)) {
            wait_for_the_clock(world, end);
        }
        let first = if error.waits_for_a_person() {
            LONGEST_WAIT
        } else {
            FIRST_WAIT
        };
        let pause = pause_by(world.chance(), attempt, first, LONGEST_WAIT);
        if world.now() + pause >= end {
            return Err(error);
        }
        world.sleep(pause);
    }
}

/// Asks once with each address. If several answers are for this node, the one for the lowest address counts; two different names are an
/// error. A wrong answer for this node is reported before a missing answer.
fn round(
    world: &dyn World,
    matchbox: &Url,
    settings: &Settings,
    end: Duration,
) -> Result<Node, AskError> {
    let known = Known {
        k3s_url: settings.k3s_url.as_ref(),
        board_number: world.board_number(),
    };
    let read = |mac: Mac, answer: &Answer| Node::read(mac, answer, known);
    let mut found: Option<Node> = None;
    let mut default = None;
    let mut failure: Option<AskError> = None;
    for mac in world.macs() {
        let time = TRY.min(end.saturating_sub(world.now())).max(FIRST_WAIT);
        let error = match world.get(&metadata_address(matchbox, mac), world.proof(), time) {
            Ok(body) => match Answer::parse(&body, mac) {
                Ok(answer @ Answer::Dedicated(_)) => match read(mac, &answer) {
                    Ok(node) => match &found {
                        Some(first) if first.hostname != node.hostname => {
                            let name = first.hostname.clone();
                            return Err(AskError::TwoNames(first.mac, name, mac, node.hostname));
                        }
                        // The node's password depends on the address, but the order of the addresses depends on the cable. So the lowest
                        // address counts.
                        Some(first) if first.mac.0 < node.mac.0 => continue,
                        _ => {
                            found = Some(node);
                            continue;
                        }
                    },
                    Err(error) => AskError::Answer(mac, error),
                },
                Ok(answer) => {
                    default.get_or_insert((mac, answer));
                    AskError::DefaultGroup(mac)
                }
                Err(error) => AskError::Answer(mac, error.into()),
            },
            Err(FetchError::Status(404)) => AskError::Unknown(mac),
            Err(error) => AskError::Fetch(mac, error),
        };
        let weighs_more = failure.as_ref().is_none_or(|before| {
            matches!(error, AskError::Answer(..)) && !matches!(before, AskError::Answer(..))
        });
        if weighs_more {
            failure = Some(error);
        }
    }
    if let Some(node) = found {
        return Ok(node);
    }
    match default {
        Some((mac, answer)) if settings.accept_default_group => {
            warn!("{mac} joins by the group for every node, under a name made from its address");
            read(mac, &answer).map_err(|error| AskError::Answer(mac, error))
        }
        _ => Err(failure.unwrap_or(AskError::NoInterface)),
    }
}

fn wait_for_the_clock(world: &dyn World, end: Duration) {
    if world.clock_is_set() {
        return;
    }
    info!("waiting for a time server to set the clock");
    while !world.clock_is_set() && world.now() + FIRST_WAIT < end {
        world.sleep(FIRST_WAIT);
    }
}

#[cfg(test)]
mod tests;
