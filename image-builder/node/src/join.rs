//! From the start of k3s until the cluster has let this node in. It reports what hinders that, and applies what Matchbox corrects.

mod news;
mod voice;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{error, info};

use crate::board_number;
use crate::cluster::{self, Trouble};
use crate::configuration::Configuration;
use crate::correction::{change_k3s, change_logins, concerns_k3s, differences, keep_logins};
use crate::document::Said;
use crate::interface;
use crate::k3s::{self, State};
use crate::secret;
use crate::seed::{Place, Present};
use crate::seeding::{Asker, Reboots, announce, ask_matchbox, image};
use crate::settings::Settings;
use crate::turn::Turn;

use news::News;
use voice::Voice;

/// How often it asks systemd whether k3s is ready: at the beginning, and after a long wait.
const FIRST_POLL: Duration = Duration::from_millis(200);
const LAST_POLL: Duration = Duration::from_secs(3);
/// How long one request to Matchbox may take. A longer wait is not needed, because it asks again.
const TRY: Duration = Duration::from_secs(10);
/// k3s' words for a node name that the cluster knows with another password.
const REJECTED: &str = "Node password rejected";
/// Where k3s keeps the certificate that it got for this node's name and password.
const ACCEPTED: &str = "var/lib/rancher/k3s/agent/client-kubelet.crt";

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The cluster has let this node in.
    Member,
    /// Matchbox gives this node another name. The node must restart to take it.
    OtherName,
}

/// Waits until the cluster has let this node in. At once, and then every `pause`, it looks for the cause and asks Matchbox whether its
/// answer has changed.
pub fn wait_until_member(root: &Path, pause: Duration) -> Result<Entry> {
    // cloud-init has finished before k3s starts.
    if let Err(error) = Place::below(root).finish() {
        error!("{error}");
    }
    let board_number = board_number::wait(root);
    let mut voice = Voice::new();
    let mut news = News::of(root);
    let begin = Instant::now();
    loop {
        let mut hindrances = Vec::new();
        let is_under_its_name = !has_another_name(root);
        if !is_under_its_name {
            match Reboots::below(root).one_more() {
                Ok(()) => return Ok(Entry::OtherName),
                Err(error) => {
                    let error = format!("{error:#}");
                    voice.say_once(&error);
                    hindrances.push(error);
                }
            }
        }
        if k3s::state()? == State::Active {
            info!("the cluster has let this node in");
            return Ok(Entry::Member);
        }
        let trouble = trouble(root);
        hindrances.extend(trouble.as_ref().map(ToString::to_string));
        hindrances.extend(voice.of_matchbox().map(str::to_owned));
        hindrances.extend(voice.of_keys().iter().cloned());
        voice.say_of_cluster(trouble);
        news.report(&hindrances);
        // Spread out, because a hundred nodes may wait for the same server.
        let end = Instant::now() + pause + pause.mul_f64(fastrand::f64() / 4.0);
        while Instant::now() < end && k3s::state()? != State::Active {
            thread::sleep(poll(begin.elapsed()).min(pause));
        }
        match k3s::state()? {
            State::Active => continue,
            State::Stopped if is_under_its_name => {
                voice.say_once("k3s does not run: it is started again");
                k3s::restart()?;
            }
            State::Stopped | State::Starting => (),
        }
        match correct(root, board_number, &mut voice) {
            Ok(true) => voice.begin_again(),
            Ok(false) => voice.matchbox_answers(),
            Err(error) => voice.say_of_matchbox(&format!("{error:#}")),
        }
    }
}

/// How long until it asks systemd again: a tenth of the wait so far. A node that gets in at once loses no seconds, and one that waits for
/// hours asks seldom.
fn poll(waited: Duration) -> Duration {
    (waited / 10).clamp(FIRST_POLL, LAST_POLL)
}

/// Whether the seed has another name for this node than the one that it runs under. A seed that is not from Matchbox does not count.
fn has_another_name(root: &Path) -> bool {
    let said = Place::below(root).said();
    said.is_some_and(|said| said.hostname != running_name(root))
}

fn running_name(root: &Path) -> String {
    let name = fs::read_to_string(root.join("proc/sys/kernel/hostname")).unwrap_or_default();
    name.trim().to_owned()
}

/// Why the cluster has not let this node in, as far as it can be known.
fn trouble(root: &Path) -> Option<Trouble> {
    let configuration = Configuration::read(root)?;
    if let Err(trouble) = cluster::look(&configuration.server, &configuration.token) {
        return Some(trouble);
    }
    let said = k3s::last_trouble().ok()??;
    if said.contains(REJECTED) {
        return Some(Trouble::Name(running_name(root)));
    }
    Some(Trouble::K3s(said))
}

/// Asks Matchbox once more and applies the answer. `false` if nothing has changed, or if this node's identity is not from Matchbox.
fn correct(root: &Path, board_number: Option<[u8; 16]>, voice: &mut Voice) -> Result<bool> {
    let Some(_turn) = Turn::take(root)? else {
        return Ok(false);
    };
    let place = Place::below(root);
    let image = image(root);
    let settings = Settings::read(root)?;
    let present = place.present(&interface::macs(root), &image);
    let (Some(matchbox), Some(before), Present::Identity) =
        (&settings.matchbox, place.said(), present)
    else {
        return Ok(false);
    };
    let asker = Asker {
        only: place.mac(),
        board_number,
        proof: secret::proof(root).ok(),
    };
    let node = ask_matchbox(root, &settings, matchbox, asker, TRY)?;
    voice.say_of_keys(&node.refused_keys);
    let mut now = Said::of(&node, &image);
    if !node.node_password.is_given && root.join(ACCEPTED).exists() {
        // The cluster knows this node by the password that was made from the earlier token, so that password stays.
        now.password.clone_from(&before.password);
    }
    keep_logins(&before, &node, &mut now);
    let logins = change_logins(root, &before, &mut now);
    let differences = differences(&before, &now);
    if differences.is_empty() {
        return logins.map(|()| false);
    }
    info!(
        "the metadata server says something else now: {}",
        differences.join(", ")
    );
    announce(&node);
    let concerns_k3s = concerns_k3s(&before, &now);
    let is_renamed = before.hostname != now.hostname;
    if concerns_k3s || is_renamed {
        // systemd restarts k3s by itself. With the new token it would join at once, under the old name or only to be restarted.
        k3s::stop().context("stopping k3s to change its configuration")?;
    }
    change_k3s(root, &before, &now)?;
    if is_renamed {
        place.forget_instance()?;
    } else if concerns_k3s {
        k3s::restart().context("starting k3s again with it")?;
    }
    place.update(&now)?;
    logins.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Seed;

    #[test]
    fn a_node_that_is_let_in_at_once_hears_of_it_and_one_that_waits_asks_seldom() {
        for (waited, expected) in [(0, 200), (1_000, 200), (10_000, 1_000), (3_600_000, 3_000)] {
            let waited = Duration::from_millis(waited);
            assert_eq!(poll(waited), Duration::from_millis(expected), "{waited:?}");
        }
    }

    /// If the restart did not happen, the node must not become a member under its old name.
    #[test]
    fn a_node_that_runs_under_another_name_than_its_seed_has_is_known() {
        let root = tempfile::tempdir().expect("a directory");
        let name = root.path().join("proc/sys/kernel/hostname");
        fs::create_dir_all(name.parent().expect("a directory")).expect("made");
        fs::write(&name, "node-1\n").expect("a name");
        assert!(!has_another_name(root.path()), "no seed says anything");
        let place = Place::below(root.path());
        let said = |hostname: &str| Said {
            hostname: hostname.to_owned(),
            ssh_keys: Vec::new(),
            config: serde_json::Map::new(),
            password: "0123456789abcdef".to_owned(),
            registries: None,
        };
        place
            .write(&Seed::of("id".to_owned(), &said("node-1")))
            .expect("a seed");
        assert!(!has_another_name(root.path()));
        place.update(&said("node-2")).expect("another name");
        assert!(has_another_name(root.path()));
    }
}
