//! What a site adds of its own: who may log in, and where nodes ask who they are. No secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::tree::{Tree, TreeError};

const LOGIN: &str = "etc/cloud/cloud.cfg.d/60-gild-site.cfg";
const FIRST_BOOT: &str = "etc/gild/first-boot.toml";
const CA: &str = "etc/gild/matchbox-ca.pem";

/// The kinds of public keys that OpenSSH knows.
const KEY_KINDS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];

/// What a site adds of its own.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files with public keys, a line each.
    pub authorized_keys: Vec<PathBuf>,
    /// Matchbox's address.
    pub matchbox: Option<String>,
    /// Certificates that Matchbox's own is checked with.
    pub matchbox_ca: Option<PathBuf>,
}

/// The options, read and found good.
#[derive(Clone, Debug, Serialize)]
pub struct Site {
    /// Public keys of those who may log in.
    pub authorized_keys: Vec<String>,
    /// Matchbox's address.
    pub matchbox: Option<String>,
    /// Certificates that Matchbox's own is checked with.
    pub matchbox_ca: Option<String>,
}

/// Why a site's options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret where a public thing belongs.
    #[error("{} holds a private key, which must not leave its owner; next: give the public one", path.display())]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// Something else than what was asked for.
    #[error("{}{}: this is no {what}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it.
        line: Option<usize>,
        /// What it should be.
        what: &'static str,
    },
    /// An address that nodes could not ask.
    #[error(
        "{url:?} is no address of a Matchbox; next: give it as http://host:8080 or https://host:8443"
    )]
    Url {
        /// What was given.
        url: String,
    },
    /// A certificate without an address.
    #[error("a Matchbox's certificates are given, and no https address of one")]
    UnusedCa,
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Options {
    /// Reads and checks everything.
    pub fn read(&self) -> Result<Site, SiteError> {
        let mut authorized_keys = Vec::new();
        for path in &self.authorized_keys {
            authorized_keys.extend(public_keys(path)?);
        }
        if let Some(url) = &self.matchbox {
            check_url(url)?;
        }
        let is_https = self
            .matchbox
            .as_ref()
            .is_some_and(|url| url.starts_with("https://"));
        if self.matchbox_ca.is_some() && !is_https {
            return Err(SiteError::UnusedCa);
        }
        let matchbox_ca = self.matchbox_ca.as_deref().map(certificates).transpose()?;
        Ok(Site {
            authorized_keys,
            matchbox: self.matchbox.clone(),
            matchbox_ca,
        })
    }
}

impl Site {
    /// Puts it into the tree.
    pub fn install(&self, tree: &mut Tree) -> Result<(), SiteError> {
        if !self.authorized_keys.is_empty() {
            let keys = self
                .authorized_keys
                .iter()
                .map(|key| format!("  - {}\n", quoted(key)));
            let text = format!("ssh_authorized_keys:\n{}", keys.collect::<String>());
            tree.insert_file(LOGIN, 0o644, text.into_bytes())?;
        }
        let mut settings = String::new();
        if let Some(url) = &self.matchbox {
            settings = format!("matchbox = {}\n", quoted(url));
        }
        if let Some(certificates) = &self.matchbox_ca {
            tree.insert_file(CA, 0o644, certificates.clone().into_bytes())?;
            settings = format!("{settings}ca = \"/{CA}\"\n");
        }
        // Without the file a node asks nobody; and a site may bring its own in its overlay.
        if !settings.is_empty() {
            tree.insert_file(FIRST_BOOT, 0o644, settings.into_bytes())?;
        }
        Ok(())
    }
}

/// As TOML and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn read(path: &Path) -> Result<String, SiteError> {
    let text = fs::read_to_string(path).map_err(|source| SiteError::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.contains("PRIVATE KEY-----") {
        return Err(SiteError::Private {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

fn public_keys(path: &Path) -> Result<Vec<String>, SiteError> {
    let text = read(path)?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let is_key = words
            .next()
            .is_some_and(|kind| KEY_KINDS.iter().any(|start| kind.starts_with(start)))
            && words.next().is_some_and(|key| key.starts_with("AAAA"))
            && !line.contains(char::is_control);
        if !is_key {
            return Err(SiteError::Content {
                path: path.to_owned(),
                line: Some(index + 1),
                what: "public key of SSH (a line such as \"ssh-ed25519 AAAA... name\")",
            });
        }
        keys.push(line.to_owned());
    }
    if keys.is_empty() {
        return Err(SiteError::Content {
            path: path.to_owned(),
            line: None,
            what: "file with public keys of SSH: it has none",
        });
    }
    Ok(keys)
}

fn certificates(path: &Path) -> Result<String, SiteError> {
    let text = read(path)?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(SiteError::Content {
            path: path.to_owned(),
            line: None,
            what: "certificate in PEM form",
        });
    }
    Ok(text)
}

fn check_url(url: &str) -> Result<(), SiteError> {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let is_good = host.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        // What is given to every node is no place for a password.
        !host.is_empty() && !host.contains('@')
    });
    let plain = url
        .chars()
        .all(|c| c.is_ascii_graphic() && !"\"\\?#".contains(c));
    if is_good && plain {
        return Ok(());
    }
    Err(SiteError::Url {
        url: url.to_owned(),
    })
}
