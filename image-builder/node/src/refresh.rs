//! A member of a cluster takes on what Matchbox says by now.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use log::{info, warn};
use serde_json::{Map, Value};

use crate::cluster;
use crate::correction::{apply, concerns_k3s, differences};
use crate::document::{Said, instance_id};
use crate::interface;
use crate::k3s;
use crate::seed::{Place, Present};
use crate::seeding::{PROVISIONED, ask_matchbox, image};
use crate::settings::Settings;

/// How long Matchbox may take.
const TRY: Duration = Duration::from_secs(40);
/// How long k3s may take to be ready again.
const START: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_secs(2);

/// Asks Matchbox, and changes what a member can change: the token, the cluster's address, labels and ssh keys. The cluster is
/// asked first whether it takes the new token: if it does not, nothing is changed.
pub fn refresh(root: &Path) -> Result<()> {
    if !root.join(PROVISIONED).exists() {
        bail!(
            "this node is not in its cluster yet, and takes on by itself what changes in Matchbox; next: look at \
             `journalctl -u k3s-init -u gild-seed`"
        );
    }
    let place = Place::below(root);
    let image = image(root);
    let settings = Settings::read(root)?;
    let Some(matchbox) = &settings.matchbox else {
        bail!("no Matchbox is set in /etc/gild/first-boot.toml: there is nobody to ask");
    };
    let present = place.present(&interface::macs(root), &image);
    let (Some(before), Present::Identity) = (place.said(), present) else {
        bail!(
            "the seed in /var/lib/cloud/seed/nocloud is not this node's own from Matchbox, so nothing was changed"
        );
    };
    let node = ask_matchbox(root, &settings, matchbox, TRY)?;
    let now = Said {
        // The cluster knows this node by the password that it came with.
        password: before.password.clone(),
        ..Said::of(&node, &image)
    };
    if before.hostname != now.hostname || place.instance_id() != Some(instance_id(node.mac, &image))
    {
        bail!(
            "Matchbox calls this node {} ({}), and it is a member as {}: a member keeps its name, so nothing was changed; next: \
             correct the group, or have the node flashed again with `gild-reprovision`",
            now.hostname,
            node.mac,
            before.hostname
        );
    }
    let differences = differences(&before, &now);
    if differences.is_empty() {
        info!("Matchbox says what it said before");
        return Ok(());
    }
    let restarts = concerns_k3s(&before, &now);
    if restarts {
        cluster::look(&node.server, &node.token).context("nothing was changed")?;
    }
    apply(root, &before, &now)?;
    info!("taken on from Matchbox: {}", differences.join(", "));
    say_what_labels_stay(&before.config, &now);
    if restarts {
        k3s::restart()?;
        wait_until_ready()?;
        info!("k3s runs with it; its pods ran on meanwhile");
    }
    Ok(())
}

fn wait_until_ready() -> Result<()> {
    let end = Instant::now() + START;
    while !k3s::is_active()? {
        if Instant::now() > end {
            let said = k3s::last_error()?.unwrap_or_default();
            bail!(
                "k3s is not ready {START:?} after its restart ({said}); next: look at `journalctl -u k3s-agent`"
            );
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// At each start k3s sets the labels of its configuration (`updateMutableLabels` in its pkg/agent/run.go), and takes none away.
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
