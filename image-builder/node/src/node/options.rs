//! Settings of k3s from Matchbox: `k3s_config` with the options of its agent, and registries with their credentials.
//!
//! Matchbox joins nested keys with `_`, in upper case, and drops lists: `k3s_config.node-taint.a` arrives as `K3S_CONFIG_NODE-TAINT_A`.

use std::collections::{BTreeMap, BTreeSet};

use gild_k3s_files::long_name;
use gild_matchbox::Values;
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{NodeError, Registries, wrong};
use crate::token::is_plain;

const CONFIG: &str = "K3S_CONFIG_";
const REGISTRIES: &str = "K3S_REGISTRIES_";

/// Options that another key of the group sets, or that would change the node's identity, and what to do instead.
const NOT_HERE: [(&str, &str); 10] = [
    (
        "with-node-id",
        "would give the node another name than `hostname`",
    ),
    ("server", "is `k3s_url`"),
    ("token", "is `k3s_token`"),
    ("token-file", "is `k3s_token`"),
    ("agent-token", "is for servers"),
    ("node-label", "is `k3s_node_labels`"),
    ("node-name", "is `hostname`"),
    (
        "data-dir",
        "cannot be moved: first boot and `gild-reprovision` look in its usual place",
    ),
    ("config", "cannot be moved: first boot writes it"),
    ("private-registry", "is `k3s_registries`"),
];

/// The options by k3s' names for them. A nested option stands for a list, because Matchbox drops lists.
pub fn config(values: &Values) -> Result<Map<String, Value>, NodeError> {
    let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut scalars = BTreeSet::new();
    for (key, value) in values.below(CONFIG)? {
        let name = key[CONFIG.len()..].to_ascii_lowercase();
        let (name, is_in_a_list) = match name.split_once('_') {
            Some((name, _)) => (name.to_owned(), true),
            None => (name, false),
        };
        if let Some(problem) = problem(&name, value) {
            return Err(wrong(key, problem));
        }
        if !is_in_a_list {
            scalars.insert(name.clone());
        }
        options.entry(name).or_default().push(value.to_owned());
    }
    let one = |(name, mut list): (String, Vec<String>)| {
        if !scalars.contains(&name) {
            return Ok((name, json!(list)));
        }
        match (list.pop(), list.is_empty()) {
            (Some(value), true) => Ok((name, json!(value))),
            _ => Err(wrong(&format!("{CONFIG}{name}"), "is one value and a list")),
        }
    };
    options.into_iter().map(one).collect()
}

fn problem(name: &str, value: &str) -> Option<String> {
    let is_option = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_option {
        return Some(
            "is not an option of `k3s agent`: they have lower-case letters, digits and hyphens"
                .to_owned(),
        );
    }
    if let Some((_, instead)) = NOT_HERE.iter().find(|(other, _)| *other == long_name(name)) {
        return Some((*instead).to_owned());
    }
    (!is_plain(value)).then(|| "has a control character or a space at an end".to_owned())
}

/// The registries. The operator chose the name of each; k3s does not see it.
pub fn registries(values: &Values) -> Result<Option<Registries>, NodeError> {
    let mut by_name: BTreeMap<String, Registry> = BTreeMap::new();
    for (key, value) in values.below(REGISTRIES)? {
        let field = key[REGISTRIES.len()..].rsplit_once('_');
        let (name, field) = field.ok_or_else(|| wrong(key, "must be an object with a `host`"))?;
        if !is_plain(value) || value.is_empty() {
            return Err(wrong(
                key,
                "is empty, or has a control character or a space at an end",
            ));
        }
        let registry = by_name.entry(name.to_owned()).or_default();
        let value = value.to_owned();
        *match field {
            "HOST" => &mut registry.host,
            "ENDPOINT" => &mut registry.endpoint,
            "USERNAME" => &mut registry.username,
            "PASSWORD" => &mut registry.password,
            _ => {
                return Err(wrong(
                    key,
                    "is not `host`, `endpoint`, `username` or `password`",
                ));
            }
        } = Some(value);
    }
    if by_name.is_empty() {
        return Ok(None);
    }
    let (mut mirrors, mut configs) = (Map::new(), Map::new());
    for (name, registry) in by_name {
        let named = |problem: &str| wrong(&format!("{REGISTRIES}{name}"), problem);
        let host = registry.host.ok_or_else(|| named("has no `host`"))?;
        if host.contains(['/', ' ']) {
            return Err(named(
                "must have the registry's name alone as `host`, such as docker.io or r.example:5000",
            ));
        }
        let at = match &registry.endpoint {
            None => host.clone(),
            Some(endpoint) => {
                mirrors.insert(host, json!({ "endpoint": [endpoint] }));
                authority(endpoint).ok_or_else(|| {
                    named("must have an `endpoint` that begins with https:// or http://")
                })?
            }
        };
        match (registry.username, registry.password) {
            (None, None) => (),
            (Some(username), Some(password)) => {
                let auth = json!({ "auth": { "username": username, "password": password } });
                configs.insert(at, auth);
            }
            _ => {
                return Err(named(
                    "has one of `username` and `password`, and needs both or none",
                ));
            }
        }
    }
    let content = json!({ "mirrors": mirrors, "configs": configs });
    Ok(Some(Registries(content)))
}

#[derive(Default)]
struct Registry {
    host: Option<String>,
    endpoint: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Host and port of a URL, in the form that k3s expects for credentials.
fn authority(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    let is_web = ["http", "https"].contains(&url.scheme());
    let is_open = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| is_web && is_open)?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gild_boards::mac::Mac;
    use gild_matchbox::Answer;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);

    fn values(lines: &[&str]) -> Values {
        let body = format!("REQUEST_QUERY_MAC={MAC}\nMAC={MAC}\n{}", lines.join("\n"));
        match Answer::parse(&body, MAC).expect("an answer") {
            Answer::Dedicated(values) | Answer::Default(values) => values,
        }
    }

    #[test]
    fn options_have_k3s_own_names_and_nested_ones_are_lists() {
        let found = config(&values(&[
            "K3S_CONFIG_NODE-IP=10.0.0.1",
            "K3S_CONFIG_NODE-TAINT_A=example.com/disk=slow:NoSchedule",
            "K3S_CONFIG_KUBELET-ARG_MAX=max-pods=50",
            "K3S_CONFIG_KUBELET-ARG_RESERVED=system-reserved=memory=1Gi",
            "K3S_CONFIG_PROTECT-KERNEL-DEFAULTS=true",
        ]));
        let wanted = json!({
            "node-ip": "10.0.0.1",
            "node-taint": ["example.com/disk=slow:NoSchedule"],
            "kubelet-arg": ["max-pods=50", "system-reserved=memory=1Gi"],
            "protect-kernel-defaults": "true",
        });
        assert_eq!(Value::Object(found.expect("options")), wanted);
        assert!(config(&values(&[])).expect("none").is_empty());
    }

    #[test]
    fn options_that_another_key_has_or_that_are_none_are_refused() {
        for (line, said) in [
            (
                "K3S_CONFIG_TOKEN=s3cret",
                "`k3s_config_token` in the group's metadata is `k3s_token`",
            ),
            ("K3S_CONFIG_SERVER=https://a:6443", "is `k3s_url`"),
            ("K3S_CONFIG_NODE-LABEL_A=a=b", "is `k3s_node_labels`"),
            ("K3S_CONFIG_S=https://a:6443", "is `k3s_url`"),
            ("K3S_CONFIG_D=/mnt", "cannot be moved"),
            ("K3S_CONFIG_WITH-NODE-ID=true", "another name"),
            ("K3S_CONFIG_9=x", "is not an option"),
            ("K3S_CONFIG_=x", "is not an option"),
            ("K3S_CONFIG_NODE-IP=1\t2", "control character"),
        ] {
            let error = config(&values(&[line])).expect_err(line).to_string();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
        let both = ["K3S_CONFIG_NODE-IP=1", "K3S_CONFIG_NODE-IP_A=2"];
        config(&values(&both)).expect_err("one value and a list");
    }

    #[test]
    fn a_registry_has_its_mirror_and_its_credentials() {
        let found = registries(&values(&[
            "K3S_REGISTRIES_HUB_HOST=docker.io",
            "K3S_REGISTRIES_HUB_ENDPOINT=https://cache.example:5000",
            "K3S_REGISTRIES_HUB_USERNAME=node",
            "K3S_REGISTRIES_HUB_PASSWORD=s3cret",
            "K3S_REGISTRIES_OWN_HOST=r.example",
            "K3S_REGISTRIES_OWN_USERNAME=node",
            "K3S_REGISTRIES_OWN_PASSWORD=s3cret",
        ]));
        let auth = json!({ "auth": { "username": "node", "password": "s3cret" } });
        let wanted = json!({
            "mirrors": { "docker.io": { "endpoint": ["https://cache.example:5000"] } },
            "configs": { "cache.example:5000": auth, "r.example": auth },
        });
        assert_eq!(found.expect("registries"), Some(Registries(wanted)));
        assert_eq!(registries(&values(&[])).expect("none"), None);
    }

    #[test]
    fn a_registry_that_cannot_be_meant_is_refused_without_its_password() {
        for (lines, said) in [
            (&["K3S_REGISTRIES_A=s3cret"][..], "must be an object"),
            (&["K3S_REGISTRIES_A_PASSWORD=s3cret"], "has no `host`"),
            (
                &[
                    "K3S_REGISTRIES_A_HOST=a",
                    "K3S_REGISTRIES_A_PASSWORD=s3cret",
                ],
                "needs both",
            ),
            (&["K3S_REGISTRIES_A_HOST=https://a"], "name alone"),
            (
                &[
                    "K3S_REGISTRIES_A_HOST=a",
                    "K3S_REGISTRIES_A_ENDPOINT=a:5000",
                ],
                "begins with https://",
            ),
            (
                &["K3S_REGISTRIES_A_HOST=a", "K3S_REGISTRIES_A_AUTH=s3cret"],
                "is not `host`",
            ),
            (&["K3S_REGISTRIES_A_HOST="], "is empty"),
        ] {
            let error = registries(&values(lines)).expect_err(said).to_string();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
    }
}
