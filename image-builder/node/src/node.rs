//! Who the node is: Matchbox's values, each checked before it is used.

pub mod labels;
mod options;

use std::collections::BTreeMap;

use gild_boards::mac::Mac;
use gild_matchbox::{Answer, MetadataError, NameError, Values, fallback_name, host_name};
use serde_json::{Map, Value};

use crate::k3s_url::K3sUrl;
use crate::ssh_key::{self, Problem};
use crate::token::{Token, TokenError, is_plain};

const SSH_KEYS: &str = "SSH_KEYS_";
/// A reason from the desk is cut to this many characters.
const MAX_REASON: usize = 200;
const WHOLE_LINE: &str =
    "put the whole line of the .pub file into the node's group: \"type base64 comment\"";
const MAX_SSH_KEY: usize = 8192;

/// A node of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// The MAC address that it asked with.
    pub mac: Mac,
    /// Its name.
    pub hostname: String,
    /// The cluster's address.
    pub server: K3sUrl,
    /// The token that lets it into the cluster.
    pub token: Token,
    /// What proves to the cluster that it is the node of this name.
    pub node_password: NodePassword,
    /// Labels of its own.
    pub labels: BTreeMap<String, String>,
    /// Who may log in.
    pub ssh_keys: Vec<String>,
    /// What is wrong with those keys of its group that cannot be used.
    pub refused_keys: Vec<String>,
    /// Options of k3s, by its own names for them.
    pub options: Map<String, Value>,
    /// Registries with their credentials, as k3s reads them.
    pub registries: Option<Registries>,
}

/// What a node knows without Matchbox.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// The cluster's address, for a group that names none.
    pub k3s_url: Option<&'a K3sUrl>,
    /// The board's unique number.
    pub board_number: Option<[u8; 16]>,
}

/// The node's password. Its debug output hides it.
#[derive(PartialEq, Eq)]
pub struct NodePassword {
    /// The password.
    pub text: String,
    /// Whether Matchbox gave it. If not, it was made from the token.
    pub is_given: bool,
}

impl std::fmt::Debug for NodePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node password of {} bytes", self.text.len())
    }
}

/// The content of k3s' registries.yaml, with passwords in it. Its debug output hides it.
#[derive(PartialEq, Eq)]
pub struct Registries(pub Value);

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("registries")
    }
}

/// What Matchbox says about the node cannot be used. No message repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The answer as a whole.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The desk has closed the door; the text is its reason.
    #[error(
        "the desk withholds the token: {0}; next: open the door for this node on the desk: gild serve's page, or flash it again"
    )]
    Withheld(String),
    /// A value is missing.
    #[error(
        "the group's metadata has no `{0}`; next: add it to the node's group at the metadata server (a desk or Matchbox)"
    )]
    Missing(&'static str),
    /// Nothing says where the cluster is.
    #[error(
        "neither the group's metadata nor /etc/gild/first-boot.toml has a `k3s_url`; next: add one to the group, or build the \
         image with --k3s-url"
    )]
    NoServer,
    /// A value is wrong.
    #[error("`{key}` in the group's metadata {problem}")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The token is wrong.
    #[error("`k3s_token` in the group's metadata {0}")]
    Token(#[from] TokenError),
}

impl Node {
    /// Reads and checks an answer. The default group is for every node, so its name does not count.
    pub fn read(mac: Mac, answer: &Answer, known: Known<'_>) -> Result<Self, NodeError> {
        let (values, hostname) = match answer {
            Answer::Dedicated(values) => (values, host_name(values)?),
            Answer::Default(values) => (values, fallback_name(Some(mac))),
        };
        let token = match (values.get("K3S_TOKEN")?, values.get("K3S_TOKEN_WITHHELD")?) {
            (Some(token), _) => Token::parse(token)?,
            (None, Some(reason)) => return Err(NodeError::Withheld(shown(reason))),
            (None, None) => return Err(NodeError::Missing("k3s_token")),
        };
        let (ssh_keys, refused_keys) = ssh_keys(values)?;
        Ok(Self {
            mac,
            hostname,
            server: match (values.get("K3S_URL")?, known.k3s_url) {
                (Some(own), _) => {
                    K3sUrl::parse(own).map_err(|problem| wrong("k3s_url", problem))?
                }
                (None, Some(common)) => common.clone(),
                (None, None) => return Err(NodeError::NoServer),
            },
            node_password: node_password(values, &token, mac, known.board_number)?,
            token,
            labels: labels::read(values)?,
            ssh_keys,
            refused_keys,
            options: options::config(values)?,
            registries: options::registries(values)?,
        })
    }
}

/// Text from the network, made safe for a console: it cannot control a terminal, reverse a line or fill a screen.
fn shown(text: &str) -> String {
    let is_seen = |c: &char| *c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    let text: String = text.chars().filter(is_seen).take(MAX_REASON).collect();
    match text.trim() {
        "" => "it gives no reason".to_owned(),
        text => text.to_owned(),
    }
}

fn wrong(key: &str, problem: impl Into<String>) -> NodeError {
    NodeError::Value {
        key: key.to_ascii_lowercase(),
        problem: problem.into(),
    }
}

fn node_password(
    values: &Values,
    token: &Token,
    mac: Mac,
    board_number: Option<[u8; 16]>,
) -> Result<NodePassword, NodeError> {
    let key = "K3S_NODE_PASSWORD";
    match values.get(key)? {
        None => Ok(NodePassword {
            text: token.node_password(mac, board_number),
            is_given: false,
        }),
        Some(text) if is_plain(text) && !text.contains(' ') && (8..=256).contains(&text.len()) => {
            let text = text.to_owned();
            Ok(NodePassword {
                text,
                is_given: true,
            })
        }
        Some(text) => Err(wrong(
            key,
            format!(
                "has {} bytes: it must have 8 to 256, without spaces or control characters",
                text.len()
            ),
        )),
    }
}

/// The keys that may log in, and what is wrong with the others. A node without any key is still a node.
fn ssh_keys(values: &Values) -> Result<(Vec<String>, Vec<String>), NodeError> {
    let mut keys = Vec::new();
    let mut refused = Vec::new();
    for (key, text) in values.below(SSH_KEYS)? {
        // A value that was made from a file ends with the file's line break.
        let text = text.trim();
        let is_long = text.len() > MAX_SSH_KEY || !is_plain(text);
        let (what, next) = match ssh_key::check(text) {
            Ok(()) if !is_long => {
                keys.push(text.to_owned());
                continue;
            }
            Ok(()) | Err(Problem::NotAKey) => ("is not a public key of ssh", WHOLE_LINE),
            Err(Problem::NotWhole) => ("is not a whole public key of ssh", WHOLE_LINE),
            Err(Problem::Options) => (
                "has options before the key, which are not taken",
                "give the key alone",
            ),
            Err(Problem::Certificate) => (
                "is a certificate of ssh and not a key",
                "give the .pub file of the key that was certified",
            ),
            Err(Problem::Dss) => (
                "is a key of ssh-dss, which sshd no longer takes",
                "give another, made with `ssh-keygen -t ed25519`",
            ),
        };
        let problem = format!("{what}, and lets nobody in; next: {next}");
        refused.push(wrong(key, problem).to_string());
    }
    Ok((keys, refused))
}

#[cfg(test)]
mod tests;
