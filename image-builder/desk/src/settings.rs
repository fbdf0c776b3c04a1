//! `desk.toml`: how boards reach this machine. Cards and images carry the same addresses, so nothing changes this file automatically.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::folder::next_step;

/// Where boards reach the desk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The names and addresses of this machine, the one that boards use first.
    pub names: Vec<String>,
    /// Identities, reports, the page and images, with TLS.
    pub https_port: u16,
    /// Images without TLS.
    pub http_port: u16,
    /// Images over NFS.
    pub nfs_port: u16,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not there, or not readable.
    #[error("cannot read {path}: {error}; next: {}", next_step(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is not TOML, or not of this form.
    #[error("{0}: {1}")]
    Syntax(PathBuf, String),
    /// Without a name, no board can reach the desk.
    #[error(
        "{0}: `names` is empty; next: write the name or the address by which boards reach this machine"
    )]
    NoName(PathBuf),
    /// Two services cannot share a port.
    #[error(
        "{0}: two of the ports are the same; next: write three different ones, here and in gild.toml"
    )]
    OnePortTwice(PathBuf),
}

impl Settings {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|error| SettingsError::Read {
            path: path.to_owned(),
            error,
        })?;
        let settings: Self = toml::from_str(&text)
            .map_err(|error| SettingsError::Syntax(path.to_owned(), error.message().to_owned()))?;
        if settings.names.is_empty() {
            return Err(SettingsError::NoName(path.to_owned()));
        }
        if settings.has_one_port_twice() {
            return Err(SettingsError::OnePortTwice(path.to_owned()));
        }
        Ok(settings)
    }

    /// Whether two services have the same port. Only one of them could start.
    #[must_use]
    pub fn has_one_port_twice(&self) -> bool {
        let [https, http, nfs] = [self.https_port, self.http_port, self.nfs_port];
        https == http || https == nfs || http == nfs
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|name| format!("{name:?}")).collect();
        format!(
            "# How boards reach this desk. Cards, images and the certificate in tls/ have the first name and the ports too.\n\
             names = [{}]\nhttps_port = {}\nhttp_port = {}\nnfs_port = {}\n",
            names.join(", "),
            self.https_port,
            self.http_port,
            self.nfs_port
        )
    }

    /// The address that nodes ask who they are. An image has it as `matchbox`.
    #[must_use]
    pub fn matchbox(&self) -> String {
        format!("https://{}:{}", self.host(), self.https_port)
    }

    /// Where boards report.
    #[must_use]
    pub fn status_url(&self) -> String {
        format!("{}/report", self.matchbox())
    }

    /// The address from which boards fetch orders.
    #[must_use]
    pub fn order_url(&self) -> String {
        format!("{}/orders", self.matchbox())
    }

    /// Where images are, the first one preferred.
    #[must_use]
    pub fn servers(&self) -> [String; 2] {
        let host = self.host();
        [
            format!("nfs://{host}:{}{}", self.nfs_port, crate::nfs::EXPORT),
            format!("http://{host}:{}/images", self.http_port),
        ]
    }

    /// The first name, as it stands in a URL.
    fn host(&self) -> String {
        let name = self.names.first().map_or("", String::as_str);
        if name.contains(':') {
            format!("[{name}]")
        } else {
            name.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_port_of_its_own() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (nfs, is_good) in [(2049, true), (8080, false)] {
            let text =
                format!("names = [\"a\"]\nhttps_port = 8443\nhttp_port = 8080\nnfs_port = {nfs}\n");
            fs::write(file.path(), text).expect("written");
            assert_eq!(Settings::read(file.path()).is_ok(), is_good, "{nfs}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let settings = Settings {
            names: vec!["fd00::1".to_owned()],
            https_port: 8443,
            http_port: 8080,
            nfs_port: 2049,
        };
        assert_eq!(settings.matchbox(), "https://[fd00::1]:8443");
        assert_eq!(settings.servers()[0], "nfs://[fd00::1]:2049/images");
        let read: Settings = toml::from_str(&settings.text()).expect("its own text");
        assert_eq!(read, settings);
    }
}
