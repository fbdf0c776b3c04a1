//! What a site adds: who may log in, and where nodes ask who they are. No secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gild_node::login::IMAGE_KEYS;
use serde::Serialize;

use crate::text::{self, NotText};
use crate::tree::{Tree, TreeError};
use gild_node::ssh_key::{self, Problem};

/// What first boot reads, in the image.
pub const FIRST_BOOT: &str = "etc/gild/first-boot.toml";
const CA: &str = "etc/gild/matchbox-ca.pem";

/// What a site adds.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files with public keys, a line each.
    pub authorized_keys: Vec<PathBuf>,
    /// Matchbox's address.
    pub matchbox: Option<String>,
    /// Certificates that Matchbox's own is checked with.
    pub matchbox_ca: Option<PathBuf>,
    /// The cluster's address for nodes whose group in Matchbox names none.
    pub k3s_url: Option<String>,
    /// Whether nodes are to ask nobody.
    pub without_matchbox: bool,
    /// Where nodes ask for signed orders.
    pub order_url: Option<String>,
    /// The public keys that may sign them.
    pub order_keys: Vec<String>,
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
    /// The cluster's address for nodes whose group in Matchbox names none.
    pub k3s_url: Option<String>,
    /// Whether nodes are to ask nobody.
    pub without_matchbox: bool,
    /// Where nodes ask for signed orders.
    pub order_url: Option<String>,
    /// The public keys that may sign them.
    pub order_keys: Vec<String>,
}

/// Why a site's options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file could not be read.
    #[error("cannot read {}: {source}; next: {next}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to give.
        next: &'static str,
    },
    /// It is not text.
    #[error("{} is {not}; next: {}", path.display(), text::NEXT)]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is.
        not: NotText,
    },
    /// A secret where a public thing belongs.
    #[error("{} holds a private key, which must not leave its owner; next: give the public key", path.display())]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// Something else than what was asked for.
    #[error("{}{}: this is not a {what}; next: {next}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it.
        line: Option<usize>,
        /// What it should be.
        what: &'static str,
        /// What to do about it.
        next: &'static str,
    },
    /// A file that both an option and an overlay give: one of the two would be lost without a message.
    #[error(
        "{option} writes /{place}, and {} has one too; next: leave one of them out, or put everything \
         into your own file", overlay.display()
    )]
    Twice {
        /// The option that writes it.
        option: &'static str,
        /// The file in the image.
        place: &'static str,
        /// The overlay.
        overlay: PathBuf,
    },
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
        let matchbox_ca = self.matchbox_ca.as_deref();
        let matchbox_ca = matchbox_ca
            .map(|path| read(path, "give a certificate file in PEM form"))
            .transpose()?;
        Ok(Site {
            authorized_keys,
            matchbox: self.matchbox.clone(),
            matchbox_ca,
            k3s_url: self.k3s_url.clone(),
            without_matchbox: self.without_matchbox,
            order_url: self.order_url.clone(),
            order_keys: self.order_keys.clone(),
        })
    }
}

impl Site {
    /// Puts it into the tree.
    pub fn install(&self, tree: &mut Tree) -> Result<(), SiteError> {
        for (_, place, text) in self.files() {
            tree.insert_file(place, 0o644, text)?;
        }
        Ok(())
    }

    /// Refuses overlays that have a file which an option writes.
    pub fn check_alone(&self, overlays: &[PathBuf]) -> Result<(), SiteError> {
        for (option, place, _) in self.files() {
            for overlay in overlays {
                if overlay.join(place).symlink_metadata().is_ok() {
                    return Err(SiteError::Twice {
                        option,
                        place,
                        overlay: overlay.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Its files in the image: the option that each is for, the place, the text.
    fn files(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut files = Vec::new();
        if !self.authorized_keys.is_empty() {
            let keys = self
                .authorized_keys
                .iter()
                .map(|key| format!("  - {}\n", quoted(key)));
            let text = format!("ssh_authorized_keys:\n{}", keys.collect::<String>());
            files.push(("--authorized-key", IMAGE_KEYS, text));
        }
        let mut settings = String::new();
        if let Some(url) = &self.matchbox {
            settings = format!("matchbox = {}\n", quoted(url));
        }
        if let Some(certificates) = &self.matchbox_ca {
            files.push(("--matchbox-ca", CA, certificates.clone()));
            settings = format!("{settings}ca = \"/{CA}\"\n");
        }
        if let Some(url) = &self.k3s_url {
            settings = format!("{settings}k3s_url = {}\n", quoted(url));
        }
        if let Some(url) = &self.order_url {
            let keys: Vec<String> = self.order_keys.iter().map(|key| quoted(key)).collect();
            let keys = keys.join(", ");
            settings = format!(
                "{settings}order_url = {}\norder_keys = [{keys}]\n",
                quoted(url)
            );
        }
        // A site may bring its own in its overlay.
        if self.without_matchbox {
            let settings = format!("without_matchbox = true\n{settings}");
            files.push(("--without-matchbox", FIRST_BOOT, settings));
        } else if !settings.is_empty() {
            let option = match &self.matchbox {
                Some(_) => "--matchbox",
                None => "--order-url",
            };
            files.push((option, FIRST_BOOT, settings));
        }
        files
    }
}

/// As TOML and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const GIVE_KEYS: &str = "give the .pub file of `ssh-keygen`";

fn read(path: &Path, next: &'static str) -> Result<String, SiteError> {
    let bytes = fs::read(path).map_err(|source| SiteError::Read {
        path: path.to_owned(),
        source,
        next,
    })?;
    let text = text::of(bytes).map_err(|not| SiteError::NotText {
        path: path.to_owned(),
        not,
    })?;
    if text.contains("PRIVATE KEY-----") {
        return Err(SiteError::Private {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// The public keys of SSH in a file, one on a line.
pub fn public_keys(path: &Path) -> Result<Vec<String>, SiteError> {
    let text = read(path, GIVE_KEYS)?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        ssh_key::check(line).map_err(|problem| {
            let (what, next) = match problem {
                Problem::NotAKey => (
                    "public key of SSH (a line such as \"ssh-ed25519 AAAA... name\")",
                    "correct the line, or take it out",
                ),
                Problem::NotWhole => (
                    "whole public key of SSH",
                    "copy the line again, all of it, from the .pub file",
                ),
                Problem::Options => (
                    "public key of SSH alone: options before the key are not taken",
                    "give the key alone",
                ),
                Problem::Certificate => (
                    "public key of SSH: it is a certificate",
                    "give the .pub file of the key that was certified",
                ),
                Problem::Dss => (
                    "public key that sshd takes: it is of ssh-dss",
                    "give another, made with `ssh-keygen -t ed25519`",
                ),
            };
            SiteError::Content {
                path: path.to_owned(),
                line: Some(index + 1),
                what,
                next,
            }
        })?;
        keys.push(line.to_owned());
    }
    if keys.is_empty() {
        return Err(SiteError::Content {
            path: path.to_owned(),
            line: None,
            what: "file with public keys of SSH: it has none",
            next: GIVE_KEYS,
        });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use gild_node::settings::Settings;

    use super::*;

    #[test]
    fn what_is_written_of_orders_is_what_a_node_reads() {
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        for without_matchbox in [false, true] {
            let site = Site {
                authorized_keys: Vec::new(),
                matchbox: (!without_matchbox).then(|| "https://desk.example:8443".to_owned()),
                matchbox_ca: None,
                k3s_url: None,
                without_matchbox,
                order_url: Some("https://desk.example:8443/orders".to_owned()),
                order_keys: vec![KEY.to_owned()],
            };
            let files = site.files();
            let [(_, FIRST_BOOT, text)] = &files[..] else {
                panic!("{files:?}");
            };
            let settings = Settings::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(settings.without_matchbox, without_matchbox);
            let url = settings.order_url.map(|url| url.to_string());
            assert_eq!(url.as_deref(), Some("https://desk.example:8443/orders"));
            let keys: Vec<String> = settings
                .order_keys
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(keys, [KEY]);
        }
    }
}
