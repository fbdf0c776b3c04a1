//! A member of a cluster takes over what has changed at Matchbox.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use log::{error, info, warn};
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};

use crate::board_number;
use crate::cluster;
use crate::correction::{change_k3s, change_logins, concerns_k3s, differences, keep_logins};
use crate::document::Said;
use crate::interface;
use crate::k3s::{self, State};
use crate::node::Node;
use crate::report::{Stage, report};
use crate::secret;
use crate::seed::{Place, Present};
use crate::seeding::{Asker, PROVISIONED, ask_matchbox, image, warn_of_keys};
use crate::settings::{Image, Settings};
use crate::turn::Turn;

/// How long Matchbox may take.
const TRY: Duration = Duration::from_secs(40);
/// How long k3s may take to be ready again.
const START: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_secs(2);
/// If k3s ends this often, its configuration is wrong.
const MOST_ENDS: u32 = 3;
/// Where k3s' agent keeps the certificates of its cluster's authority.
const AUTHORITY: &str = "var/lib/rancher/k3s/agent/server-ca.crt";

/// Asks Matchbox and applies what a member can change: the token, the cluster's address, labels, options of k3s, registries and ssh keys.
/// First it asks the cluster whether it accepts the new token. If not, nothing changes.
pub fn refresh(root: &Path) -> Result<()> {
    if !root.join(PROVISIONED).exists() {
        bail!(
            "this node is not in its cluster yet, and takes on by itself what changes in its group; next: look at \
             `journalctl -u k3s-init -u gild-seed`"
        );
    }
    let Some(_turn) = Turn::take(root)? else {
        bail!("another gild-seed is at work on this node; next: try again when it has ended");
    };
    let place = Place::below(root);
    let image = image(root);
    let settings = Settings::read(root)?;
    let Some(matchbox) = &settings.matchbox else {
        bail!(
            "no metadata server is set in /etc/gild/first-boot.toml, so there is nobody to ask; next: build the image with --desk or --matchbox"
        );
    };
    let present = place.present(&interface::macs(root), &image);
    let (Some(before), Present::Identity) = (place.said(), present) else {
        bail!(
            "the seed in /var/lib/cloud/seed/nocloud is not this node's own from the metadata server, so nothing was changed; next: look at \
             `journalctl -u gild-seed`"
        );
    };
    let asker = Asker {
        only: place.mac(),
        board_number: board_number::wait(root),
        proof: secret::proof(root)
            .inspect_err(|error| warn!("{error}"))
            .ok(),
    };
    let taken_on = take_on(root, &settings, matchbox, asker, &image, &before);
    // The node reports even without changes. Otherwise a problem that is solved would stay on the desk.
    let texts = match &taken_on {
        Ok(taken_on) => taken_on.texts(),
        Err(error) => vec![format!("{error:#}")],
    };
    report(root, Stage::Joined, &texts).log();
    taken_on.map(drop)
}

/// The result of an answer from Matchbox.
struct TakenOn {
    /// The names of the changes that are in effect now.
    changes: Vec<&'static str>,
    /// What is wrong with the group's keys.
    problems: Vec<String>,
}

impl TakenOn {
    /// Logs the changes. Returns the texts for a report: the changes, and what is wrong.
    fn texts(&self) -> Vec<String> {
        let text = format!(
            "taken on from the metadata server: {}",
            self.changes.join(", ")
        );
        let text = (!self.changes.is_empty()).then_some(text);
        match &text {
            Some(text) => info!("{text}"),
            None => info!("nothing of what the metadata server says is new to this node"),
        }
        text.into_iter().chain(self.problems.clone()).collect()
    }
}

/// Applies what Matchbox says now, and returns the names of the changes.
fn take_on(
    root: &Path,
    settings: &Settings,
    matchbox: &Url,
    asker: Asker,
    image: &Image,
    before: &Said,
) -> Result<TakenOn> {
    let node = ask_matchbox(root, settings, matchbox, asker, TRY)?;
    warn_of_keys(&node.refused_keys);
    let mut now = Said {
        // The cluster knows this node by the password that it joined with.
        password: before.password.clone(),
        ..Said::of(&node, image)
    };
    if before.hostname != now.hostname {
        bail!(
            "its group calls this node {} now, and it is a member as {}: a member keeps its name, so nothing was changed; next: \
             correct the group, or have the node flashed again with `gild-reprovision`",
            now.hostname,
            before.hostname
        );
    }
    keep_logins(before, &node, &mut now);
    let mut taken_on = TakenOn {
        changes: differences(before, &now),
        problems: node.refused_keys.clone(),
    };
    let differences = &taken_on.changes;
    if differences.is_empty() {
        return Ok(taken_on);
    }
    if differences.contains(&"k3s_url") || differences.contains(&"k3s_token") {
        stays_in_its_cluster(root, &node).context("nothing was changed")?;
    }
    change_k3s(root, before, &now)?;
    if concerns_k3s(before, &now) {
        start_again(root, before, &now)?;
    }
    if let Err(error) = change_logins(root, before, &mut now) {
        error!("{error:#}");
        taken_on.problems.push(format!("{error:#}"));
        taken_on.changes.retain(|name| *name != "ssh_keys");
    }
    Place::below(root).update(&now)?;
    say_what_labels_stay(&before.config, &now);
    Ok(taken_on)
}

/// Checks that the cluster accepts the token, and that it is the cluster of which this node is a member. Otherwise a wrong group could end
/// the pods of this cluster.
fn stays_in_its_cluster(root: &Path, node: &Node) -> Result<()> {
    let authority = cluster::look(&node.server, &node.token)?;
    let path = root.join(AUTHORITY);
    let own = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let is_own = CertificateDer::pem_slice_iter(&own)
        .flatten()
        .any(|certificate| authority.contains(&certificate));
    if !is_own {
        bail!(
            "{} is a server of another cluster than this node's; next: correct the group, or have the node flashed again with \
             `gild-reprovision`",
            node.server
        );
    }
    Ok(())
}

/// Restarts k3s with its new configuration. If k3s ends again and again, the old configuration comes back.
fn start_again(root: &Path, before: &Said, now: &Said) -> Result<()> {
    if k3s::state()? == State::Stopped {
        info!("k3s does not run on this node: it takes this on when somebody starts it");
        return Ok(());
    }
    k3s::restart()?;
    let end = Instant::now() + START;
    while k3s::state()? != State::Active {
        if k3s::ends()? >= MOST_ENDS {
            change_k3s(root, now, before)?;
            k3s::restart()?;
            bail!(
                "k3s ends with what the group says now, so it runs with what it said before; next: look at `journalctl -u k3s-agent`, \
                 and correct the group"
            );
        }
        if Instant::now() > end {
            bail!(
                "k3s is not ready {START:?} after its restart; next: look at `journalctl -u k3s-agent`"
            );
        }
        thread::sleep(POLL);
    }
    info!("k3s runs with it; its pods ran on meanwhile");
    Ok(())
}

/// At each start k3s sets the labels from its configuration (`updateMutableLabels` in its pkg/agent/run.go), but it removes none.
fn say_what_labels_stay(before: &Map<String, Value>, now: &Said) {
    let labels = |config: &Map<String, Value>| -> Vec<String> {
        let list = config.get("node-label").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        names
            .filter_map(|label| Some(label.split_once('=')?.0.to_owned()))
            .collect()
    };
    let present = labels(&now.config);
    for label in labels(before) {
        if !present.contains(&label) {
            warn!(
                "the cluster keeps the label {label}; next: run `kubectl label node {} {label}-`",
                now.hostname
            );
        }
    }
}
