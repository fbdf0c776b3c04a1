//! The story of a first boot: find out who this node is, and leave a seed in any case.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gild_boards::mac::Mac;
use gild_report::Proof;
use log::{error, info, warn};
use reqwest::Url;

use crate::ask::{AskError, World, ask};
use crate::board_number;
use crate::client::{Client, FetchError};
use crate::clock;
use crate::document::{K3S_CONFIG, Said, Seed, instance_id};
use crate::files;
use crate::interface;
use crate::k3s_config;
use crate::node::Node;
use crate::report::{Stage, report};
use crate::secret;
use crate::seed::{Place, Present};
use crate::settings::{Image, Settings};
use crate::turn::Turn;

/// This file exists once the cluster has let this node in.
pub const PROVISIONED: &str = "var/lib/gild/provisioned";
const REBOOTS: &str = "var/lib/gild/reboots";
/// How often a node may restart to take its identity.
const MOST_REBOOTS: u32 = 3;
/// How long the timer's attempt may take. A longer wait is not needed, because the timer tries again.
const RETRY: Duration = Duration::from_secs(40);

/// The machine as it is.
struct Machine<'a> {
    root: &'a Path,
    client: Client,
    start: Instant,
    asker: Asker,
}

/// Who asks.
#[derive(Clone, Default)]
pub struct Asker {
    /// The only address to ask with. A node that already has an identity must not get another one because one answer was lost.
    pub only: Option<Mac>,
    /// The board's unique number.
    pub board_number: Option<[u8; 16]>,
    /// The proof by which gild's desk knows the node again.
    pub proof: Option<Proof>,
}

impl World for Machine<'_> {
    fn macs(&self) -> Vec<Mac> {
        if interface::candidates(self.root).is_empty() {
            return Vec::new();
        }
        match self.asker.only {
            Some(mac) => vec![mac],
            None => interface::macs(self.root),
        }
    }

    fn proof(&self) -> Option<&Proof> {
        self.asker.proof.as_ref()
    }

    fn get(&self, url: &Url, proof: Option<&Proof>, time: Duration) -> Result<String, FetchError> {
        self.client.get_with(url, proof, time)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn clock_is_set(&self) -> bool {
        clock::is_set(self.root)
    }

    fn board_number(&self) -> Option<[u8; 16]> {
        self.asker.board_number
    }

    fn chance(&self) -> f64 {
        fastrand::f64()
    }
}

/// Runs at boot, and leaves a seed whatever happens. The error says why it is not the node's identity.
pub fn run(root: &Path) -> Result<()> {
    // A boot must not be without a seed, even if waiting for the turn fails.
    let _turn = Turn::wait(root).inspect_err(|error| error!("{error:#}"));
    let place = Place::below(root);
    let macs = interface::macs(root);
    let image = image(root);
    let present = place.present(&macs, &image);
    if matches!(present, Present::Identity | Present::Fallback) {
        match place.repeat_unfinished_steps() {
            Ok(true) => warn!(
                "the last boot was interrupted and may have left files empty: cloud-init writes them again"
            ),
            Ok(false) => (),
            Err(error) => error!("{error}"),
        }
    }
    if present == Present::Identity {
        info!("this node has its identity already");
        return Ok(());
    }
    let settings = Settings::read(root);
    let matchbox = match &settings {
        Ok(settings) => settings.matchbox.as_ref(),
        Err(_) => None,
    };
    if settings.is_ok() && matchbox.is_none() && present == Present::Foreign {
        info!("no metadata server is set, and there is a seed: it is left as it is");
        return Ok(());
    }
    // The fallback comes first, so that neither a crash nor a power cut leaves the node without a name to reach it by.
    if present != Present::Fallback {
        place.write(&Seed::fallback(macs.first().copied()))?;
    }
    let settings = settings?;
    let Some(matchbox) = &settings.matchbox else {
        warn!(
            "no metadata server (a desk or Matchbox) is set in /etc/gild/first-boot.toml: this node gets a name and joins no cluster"
        );
        return Ok(());
    };
    let node = identify(root, &settings, matchbox, settings.deadline).inspect_err(|error| {
        // If a cable came late, there is a better name now.
        let macs = interface::macs(root);
        if place.present(&macs, &image) != Present::Fallback
            && let Err(error) = place.write(&Seed::fallback(macs.first().copied()))
        {
            error!("{error}");
        }
        report(root, Stage::Named, &[format!("{error:#}")]).log();
    })?;
    place.write(&seed_of(&node, &image))?;
    announce(&node);
    warn_of_keys(&node.refused_keys);
    report(root, Stage::Named, &node.refused_keys).log();
    Ok(())
}

/// Runs later and tries again. `true` means that the node must restart to take its identity.
pub fn retry(root: &Path) -> Result<bool> {
    let Some(_turn) = Turn::take(root)? else {
        return Ok(false);
    };
    let place = Place::below(root);
    if let Err(error) = place.finish() {
        error!("{error}");
    }
    let image = image(root);
    let present = place.present(&interface::macs(root), &image);
    let reboots = Reboots::below(root);
    if present == Present::Identity && place.is_taken_on() {
        let Err(error) = k3s_config::check(&root.join(K3S_CONFIG.trim_start_matches('/'))) else {
            info!("this node has its identity already");
            return Ok(false);
        };
        warn!("{error:#}: cloud-init writes it again");
        reboots.one_more()?;
        place.repeat_steps()?;
        return Ok(true);
    }
    if present == Present::Identity {
        // Either the reboot of an earlier attempt did not happen, or cloud-init failed.
        reboots.one_more()?;
        return Ok(true);
    }
    let settings = Settings::read(root)?;
    let Some(matchbox) = &settings.matchbox else {
        info!("no metadata server is set in /etc/gild/first-boot.toml: there is nobody to ask");
        return Ok(false);
    };
    let node = match identify(root, &settings, matchbox, RETRY) {
        Ok(node) => node,
        Err(error) => {
            warn!("{error:#}: this node keeps its fallback name and asks again later");
            report(root, Stage::Named, &[format!("{error:#}")]).log();
            return Ok(false);
        }
    };
    announce(&node);
    warn_of_keys(&node.refused_keys);
    reboots.one_more()?;
    place.write(&seed_of(&node, &image))?;
    report(root, Stage::Named, &node.refused_keys).log();
    Ok(true)
}

/// The seed of a node that this image is to become.
fn seed_of(node: &Node, image: &Image) -> Seed {
    Seed::of(instance_id(node.mac, image), &Said::of(node, image))
}

/// Asks Matchbox who this node is.
pub fn ask_matchbox(
    root: &Path,
    settings: &Settings,
    matchbox: &Url,
    asker: Asker,
    time: Duration,
) -> Result<Node> {
    let machine = Machine {
        root,
        client: Client::new(settings.ca.as_deref())
            .context("getting ready to ask the metadata server")?,
        start: Instant::now(),
        asker,
    };
    ask(&machine, matchbox, settings, time).map_err(AskError::into)
}

fn identify(root: &Path, settings: &Settings, matchbox: &Url, time: Duration) -> Result<Node> {
    if matchbox.scheme() == "http" {
        warn!(
            "the metadata server is asked over plain http: everyone on the way can read and change its answer"
        );
    }
    for interface in interface::candidates(root) {
        if interface.has_random_mac() {
            warn!(
                "{} has no MAC address of its own: this node will be another one after each start",
                interface.name
            );
        }
    }
    ask_matchbox(root, settings, matchbox, asker(root), time)
}

/// Asks with any address.
fn asker(root: &Path) -> Asker {
    let board_number = board_number::wait(root);
    if board_number.is_none() {
        warn!(
            "this board shows no number of its own: without a `k3s_node_password` in its group other nodes can compute this node's"
        );
    }
    Asker {
        only: None,
        board_number,
        // If there is no proof, the report that follows says why.
        proof: secret::proof(root).ok(),
    }
}

/// Logs who this node is, and any weakness of its token.
pub fn announce(node: &Node) {
    info!(
        "this node is {} ({}), for the cluster at {}, with a {:?}",
        node.hostname, node.mac, node.server, node.token
    );
    if let Some(weakness) = node.token.weakness() {
        warn!("{weakness}");
    }
}

/// Says which keys of its group let nobody in.
pub fn warn_of_keys(refused: &[String]) {
    for problem in refused {
        warn!("{problem}");
    }
}

/// The image that runs. An image that does not say what it is must still boot.
#[must_use]
pub fn image(root: &Path) -> Image {
    Image::read(root).unwrap_or_else(|error| {
        warn!("{error}");
        Image::unknown()
    })
}

/// Counts how often this node has restarted to take its identity.
pub struct Reboots {
    path: PathBuf,
}

impl Reboots {
    /// Below this root directory.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            path: root.join(REBOOTS),
        }
    }

    /// Counts one more restart, or refuses it.
    pub fn one_more(&self) -> Result<()> {
        let so_far: u32 = fs::read_to_string(&self.path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        if so_far >= MOST_REBOOTS {
            bail!(
                "the metadata server knows this node, but after {so_far} reboots it still has not become that; next: look at \
                 /var/log/cloud-init.log, then remove {} to try again",
                self.path.display()
            );
        }
        let write = || {
            files::private_directory(self.path.parent().unwrap_or(Path::new("/")))?;
            files::write_private(&self.path, &format!("{}\n", so_far + 1))
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
