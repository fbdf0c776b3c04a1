//! Applies to a running node what Matchbox says now: changes the files that cloud-init wrote once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::document::{K3S_CONFIG, NODE_PASSWORD, REGISTRIES, Said, pretty};
use crate::files;
use crate::login;
use crate::node::Node;

/// What differs, by the names that a group uses. A value that may be a secret is not shown.
#[must_use]
pub fn differences(before: &Said, now: &Said) -> Vec<&'static str> {
    let is_other = |key: &str| before.config.get(key) != now.config.get(key);
    let options = |said: &Said| -> Map<String, Value> {
        let own = said.config.clone().into_iter();
        own.filter(|(key, _)| !["server", "token", "node-label"].contains(&&**key))
            .collect()
    };
    [
        ("hostname", before.hostname != now.hostname),
        ("k3s_url", is_other("server")),
        ("k3s_token", is_other("token")),
        ("k3s_node_labels", is_other("node-label")),
        ("k3s_node_password", before.password != now.password),
        ("k3s_config", options(before) != options(now)),
        ("k3s_registries", before.registries != now.registries),
        ("ssh_keys", before.ssh_keys != now.ssh_keys),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// Whether k3s must restart for the change.
#[must_use]
pub fn concerns_k3s(before: &Said, now: &Said) -> bool {
    before.config != now.config
        || before.password != now.password
        || before.registries != now.registries
}

/// Changes the files of k3s. The seed is updated only after everything is done, the restart of k3s included. So a change that was cut short
/// is repeated.
pub fn change_k3s(root: &Path, before: &Said, now: &Said) -> Result<()> {
    if before.password != now.password {
        write(root, NODE_PASSWORD, &format!("{}\n", now.password))?;
    }
    match &now.registries {
        Some(registries) => write(root, REGISTRIES, &pretty(registries))?,
        None if before.registries.is_some() => remove(root, REGISTRIES)?,
        None => (),
    }
    let config = merged(in_effect(root), &before.config, &now.config);
    write(root, K3S_CONFIG, &pretty(&Value::Object(config)))
}

/// Keeps every login from before while the node refuses a key of its group, because the refused key may stand where a good one stood.
pub fn keep_logins(before: &Said, node: &Node, now: &mut Said) {
    if node.refused_keys.is_empty() {
        return;
    }
    let given = std::mem::replace(&mut now.ssh_keys, before.ssh_keys.clone());
    let is_new = |key: &String| !before.ssh_keys.contains(key);
    now.ssh_keys.extend(given.into_iter().filter(is_new));
}

/// Changes who may log in. If that fails, the old keys stay, and `now` gets them so that the seed says so too. It must not keep a node out
/// of its cluster.
pub fn change_logins(root: &Path, before: &Said, now: &mut Said) -> Result<()> {
    if before.ssh_keys == now.ssh_keys {
        return Ok(());
    }
    let changed = login::replace_keys(root, &before.ssh_keys, &now.ssh_keys);
    if changed.is_err() {
        now.ssh_keys.clone_from(&before.ssh_keys);
    }
    changed.context("changing the ssh keys")
}

fn write(root: &Path, path: &str, content: &str) -> Result<()> {
    let path = root.join(path.trim_start_matches('/'));
    if fs::read_to_string(&path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    files::write_private(&path, content).with_context(|| format!("writing {}", path.display()))
}

fn remove(root: &Path, path: &str) -> Result<()> {
    let path = root.join(path.trim_start_matches('/'));
    files::remove(&path).with_context(|| format!("removing {}", path.display()))
}

/// The configuration that k3s reads. If it is not a mapping, k3s would not start with it, so nothing of it is kept.
fn in_effect(root: &Path) -> Map<String, Value> {
    let path = root.join(K3S_CONFIG.trim_start_matches('/'));
    fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_saphyr::from_str(&text).ok())
        .unwrap_or_default()
}

/// Replaces what Matchbox said before by what it says now. What a person added stays.
fn merged(
    mut config: Map<String, Value>,
    before: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Map<String, Value> {
    // k3s would prefer the token in that file to Matchbox's.
    config.retain(|key, _| !before.contains_key(key) && key != "token-file");
    config.extend(now.clone());
    config
}

#[cfg(test)]
mod tests {
    use gild_boards::mac::Mac;
    use gild_matchbox::Answer;
    use serde_json::json;

    use super::*;
    use crate::node::Known;

    fn said(token: &str) -> Said {
        let config = json!({ "server": "https://a:6443", "token": token, "node-label": ["a=b"] });
        Said {
            hostname: "node-1".to_owned(),
            ssh_keys: Vec::new(),
            config: serde_json::from_value(config).expect("an object"),
            password: "0123456789abcdef".to_owned(),
            registries: None,
        }
    }

    #[test]
    fn what_differs_is_named_and_not_shown() {
        assert!(differences(&said("a"), &said("a")).is_empty());
        let other = Said {
            hostname: "node-2".to_owned(),
            ..said("b")
        };
        assert_eq!(differences(&said("a"), &other), ["hostname", "k3s_token"]);
        let keys = Said {
            ssh_keys: vec!["ssh-ed25519 a".to_owned()],
            ..said("a")
        };
        assert!(!concerns_k3s(&said("a"), &keys));
        let mut options = said("a");
        options.config.insert("node-ip".to_owned(), json!("1"));
        options.registries = Some(json!({}));
        let both = ["k3s_config", "k3s_registries"];
        assert_eq!(differences(&said("a"), &options), both);
        assert!(concerns_k3s(&said("a"), &said("b")));
    }

    fn with_keys(names: &[&str]) -> Said {
        let keys = names.iter().map(|name| format!("ssh-ed25519 AAAA{name}"));
        Said {
            ssh_keys: keys.collect(),
            ..said("a")
        }
    }

    fn node(more: &str) -> Node {
        let mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);
        let body = format!(
            "REQUEST_QUERY_MAC={mac}\nMAC={mac}\nHOSTNAME=node-1\nK3S_URL=https://a:6443\nK3S_TOKEN=s3cret-s3cret\n{more}\n"
        );
        let answer = Answer::parse(&body, mac).expect("an answer");
        Node::read(mac, &answer, Known::default()).expect("a node")
    }

    #[test]
    fn a_refused_key_takes_no_login_away_and_a_good_one_does() {
        let before = with_keys(&["admin", "backup"]);
        let refused = node("SSH_KEYS_ADMIN=half a key");
        for (given, kept) in [
            (&["backup"][..], &["admin", "backup"][..]),
            (&["backup", "new"], &["admin", "backup", "new"]),
            (&[], &["admin", "backup"]),
        ] {
            let mut now = with_keys(given);
            keep_logins(&before, &refused, &mut now);
            assert!(now == with_keys(kept), "{given:?}: {:?}", now.ssh_keys);
        }
        let mut now = with_keys(&["backup"]);
        keep_logins(&before, &node(""), &mut now);
        assert!(now == with_keys(&["backup"]), "{:?}", now.ssh_keys);
    }

    #[test]
    fn keys_that_were_not_taken_on_are_not_what_the_seed_says() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["home/debian", "etc/cloud/cloud.cfg.d"] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        let mut now = with_keys(&["admin"]);
        change_logins(root.path(), &said("a"), &mut now).expect("a key");
        assert!(now == with_keys(&["admin"]), "{:?}", now.ssh_keys);
        let mut none = said("a");
        change_logins(root.path(), &now, &mut none).expect_err("the last key");
        assert!(none == with_keys(&["admin"]), "{:?}", none.ssh_keys);
    }

    #[test]
    fn a_corrected_token_reaches_k3s_and_what_a_person_added_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let config = root.path().join("etc/rancher/k3s/config.yaml");
        files::private_directory(config.parent().expect("a directory")).expect("made");
        files::private_directory(&root.path().join("etc/rancher/node")).expect("made");
        fs::write(
            &config,
            "token: wrong\ntoken-file: /x\nserver: https://a:6443\nnode-ip: 10.0.0.1\n",
        )
        .expect("a configuration in YAML");
        change_k3s(root.path(), &said("wrong"), &said("right")).expect("a change");
        let text = fs::read_to_string(&config).expect("the configuration");
        let found: Value = serde_json::from_str(&text).expect("JSON");
        let wanted = json!({
            "server": "https://a:6443", "token": "right", "node-label": ["a=b"], "node-ip": "10.0.0.1",
        });
        assert_eq!(found, wanted);
        let registries = root.path().join("etc/rancher/k3s/registries.yaml");
        let with = Said {
            registries: Some(json!({ "mirrors": {} })),
            ..said("right")
        };
        change_k3s(root.path(), &said("right"), &with).expect("registries");
        assert!(registries.exists());
        change_k3s(root.path(), &with, &said("right")).expect("none again");
        assert!(!registries.exists());
        // A person may have set another password, and the cluster knows the node by that one.
        let password = root.path().join("etc/rancher/node/password");
        assert!(!password.exists());
        let other = Said {
            password: "fedcba9876543210".to_owned(),
            ..said("right")
        };
        change_k3s(root.path(), &said("right"), &other).expect("a password");
        let text = fs::read_to_string(&password).expect("the password");
        assert_eq!(text, "fedcba9876543210\n");
    }
}
