//! The cluster that k3s is to join, from its own configuration file.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::document::K3S_CONFIG;
use crate::k3s_url::K3sUrl;
use crate::token::Token;

/// The cluster in the configuration. `gild-seed check` has already accepted the file, which may be an operator's.
pub struct Configuration {
    /// The cluster's address.
    pub server: K3sUrl,
    /// What lets the node in.
    pub token: Token,
}

impl Configuration {
    /// Reads it.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(K3S_CONFIG.trim_start_matches('/'))).ok()?;
        let config: Value = serde_saphyr::from_str(&text).ok()?;
        // If both are set, k3s takes the file.
        let token = match config["token-file"].as_str() {
            Some(path) => fs::read_to_string(path).ok()?,
            None => config["token"].as_str()?.to_owned(),
        };
        Some(Self {
            server: K3sUrl::parse(config["server"].as_str()?).ok()?,
            token: Token::parse(token.trim()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_one_that_k3s_takes() {
        let root = tempfile::tempdir().expect("a directory");
        let config = root.path().join("etc/rancher/k3s/config.yaml");
        fs::create_dir_all(config.parent().expect("a directory")).expect("made");
        let file = root.path().join("token");
        fs::write(&file, "of-the-file\n").expect("a token");
        let read = |text: &str| {
            fs::write(&config, text).expect("a configuration");
            Configuration::read(root.path()).map(|found| found.token.reveal().to_owned())
        };
        let both = format!(
            "server: https://a:6443\ntoken: own\ntoken-file: {}\n",
            file.display()
        );
        assert_eq!(read(&both).as_deref(), Some("of-the-file"));
        let own = "server: https://a:6443\ntoken: own\n";
        assert_eq!(read(own).as_deref(), Some("own"));
        assert_eq!(read("server: https://a:6443\n"), None);
    }
}
