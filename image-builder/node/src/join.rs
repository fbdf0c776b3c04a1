//! From the start of k3s until the cluster has let this node in: what hinders it is said, and what Matchbox corrects is
//! corrected here.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{error, info, warn};
use serde_json::Value;

use crate::cluster::{self, Trouble};
use crate::correction::{apply, concerns_k3s, differences};
use crate::document::{K3S_CONFIG, Said, instance_id};
use crate::interface;
use crate::k3s;
use crate::seed::{Place, Present};
use crate::seeding::{Reboots, announce, ask_matchbox, image, seed_of};
use crate::settings::Settings;
use crate::token::Token;

/// How often systemd is asked whether k3s is ready.
const POLL: Duration = Duration::from_secs(3);
/// How long Matchbox may take: it is asked again anyway.
const TRY: Duration = Duration::from_secs(10);
/// After this long the same trouble is said again, for whoever opens the console late.
const AGAIN: Duration = Duration::from_mins(15);
/// k3s' words for a node name that the cluster knows with another password.
const REJECTED: &str = "Node password rejected";

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The cluster has let this node in.
    Member,
    /// Matchbox gives this node another name, which it takes on by starting again.
    OtherName,
}

/// Waits until the cluster has let this node in. It looks for the cause at once, and then every `pause`, and each time asks
/// Matchbox whether it says something else by now.
pub fn wait_until_member(root: &Path, pause: Duration) -> Result<Entry> {
    // cloud-init has come to its end before k3s was started.
    if let Err(error) = Place::below(root).finish() {
        error!("{error}");
    }
    let mut voice = Voice::default();
    loop {
        if k3s::is_active()? {
            info!("the cluster has let this node in");
            return Ok(Entry::Member);
        }
        voice.say_of_cluster(trouble(root));
        // A hundred nodes that wait for one server ask spread out.
        let end = Instant::now() + pause + pause.mul_f64(fastrand::f64() / 4.0);
        while Instant::now() < end && !k3s::is_active()? {
            thread::sleep(POLL.min(pause));
        }
        if k3s::is_active()? {
            continue;
        }
        match correct(root) {
            Ok(None) => voice.matchbox.clear(),
            Ok(Some(Entry::OtherName)) => return Ok(Entry::OtherName),
            Ok(Some(Entry::Member)) => voice = Voice::default(),
            Err(error) => voice.say_of_matchbox(&format!("{error:#}")),
        }
    }
}

/// Why the cluster has not let this node in, as far as it can be known.
fn trouble(root: &Path) -> Option<Trouble> {
    let configuration = Configuration::read(root)?;
    if let Err(trouble) = cluster::look(&configuration.server, &configuration.token) {
        return Some(trouble);
    }
    let said = k3s::last_error().ok()??;
    if said.contains(REJECTED) {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        return Some(Trouble::Name(name.trim().to_owned()));
    }
    Some(Trouble::K3s(said))
}

/// What k3s is to join. `gild-seed check` has read it before; an operator may have written it.
struct Configuration {
    server: String,
    token: Token,
}

impl Configuration {
    fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(K3S_CONFIG.trim_start_matches('/'))).ok()?;
        let config: Value = serde_saphyr::from_str(&text).ok()?;
        let token = match (config["token"].as_str(), config["token-file"].as_str()) {
            (Some(token), _) => token.to_owned(),
            (None, path) => fs::read_to_string(path?).ok()?,
        };
        Some(Self {
            server: config["server"].as_str()?.to_owned(),
            token: Token::parse(token.trim()).ok()?,
        })
    }
}

/// Asks Matchbox once more, and takes on what it says now. Nothing if that is what it said before, or if this node's identity is
/// not from there.
fn correct(root: &Path) -> Result<Option<Entry>> {
    let place = Place::below(root);
    let image = image(root);
    let settings = Settings::read(root)?;
    let present = place.present(&interface::macs(root), &image);
    let (Some(matchbox), Some(before), Present::Identity) =
        (&settings.matchbox, place.said(), present)
    else {
        return Ok(None);
    };
    let node = ask_matchbox(root, &settings, matchbox, TRY)?;
    let now = Said::of(&node, &image);
    let is_another = place.instance_id() != Some(instance_id(node.mac, &image));
    let differences = differences(&before, &now);
    if differences.is_empty() && !is_another {
        return Ok(None);
    }
    info!(
        "Matchbox says something else now: {}",
        differences.join(", ")
    );
    announce(&node);
    if is_another {
        // A group for the address of another socket: nothing of the present instance is left.
        Reboots::below(root).one_more()?;
        place.write(&seed_of(&node, &image))?;
        return Ok(Some(Entry::OtherName));
    }
    if before.hostname != now.hostname {
        Reboots::below(root).one_more()?;
        place.forget_instance()?;
        apply(root, &before, &now)?;
        return Ok(Some(Entry::OtherName));
    }
    apply(root, &before, &now)?;
    if concerns_k3s(&before, &now) {
        k3s::restart().context("starting k3s again with it")?;
    }
    Ok(Some(Entry::Member))
}

/// What was said last, so that a console stays readable.
#[derive(Default)]
struct Voice {
    cluster: Option<(Trouble, Instant)>,
    matchbox: String,
}

impl Voice {
    fn say_of_cluster(&mut self, trouble: Option<Trouble>) {
        let before = self.cluster.take();
        match (trouble, before) {
            (Some(now), Some((before, at))) if now == before && at.elapsed() < AGAIN => {
                self.cluster = Some((before, at));
            }
            (Some(now), _) => {
                error!("this node is not in its cluster yet: {now}");
                info!(
                    "k3s and gild go on trying, and what changes in Matchbox is taken on without a restart"
                );
                self.cluster = Some((now, Instant::now()));
            }
            (None, Some(_)) => info!("the cluster takes this node's token now"),
            (None, None) => (),
        }
    }

    fn say_of_matchbox(&mut self, problem: &str) {
        if self.matchbox != problem {
            warn!("{problem}: the node keeps what Matchbox said before, and asks again");
            problem.clone_into(&mut self.matchbox);
        }
    }
}
