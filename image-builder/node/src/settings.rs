//! The image's own settings: `/etc/gild/first-boot.toml` and `/usr/lib/gild/image-release`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gild_format::signature::PublicKey;
use reqwest::Url;
use serde::Deserialize;

use crate::k3s_url::K3sUrl;

/// Below a root directory, which is `/` outside of tests.
const SETTINGS: &str = "etc/gild/first-boot.toml";
const RELEASE: &str = "usr/lib/gild/image-release";
/// `TimeoutStartSec=` of gild-seed.service must be above the longest value.
const DEADLINE: std::ops::RangeInclusive<u64> = 5..=LONGEST_DEADLINE.as_secs();
/// How long a boot may wait for Matchbox at most.
pub const LONGEST_DEADLINE: Duration = Duration::from_mins(10);

/// Where and how a node asks who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Matchbox' base URL. Without it the node asks nobody.
    pub matchbox: Option<Url>,
    /// The address from which the node fetches signed orders.
    pub order_url: Option<Url>,
    /// The keys that may sign them. If there is an address, there is at least one key.
    pub order_keys: Vec<PublicKey>,
    /// The only certificate authority to trust, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The cluster's address for nodes whose group names none.
    pub k3s_url: Option<K3sUrl>,
    /// How long the boot may wait for an answer.
    pub deadline: Duration,
    /// Whether the default answer, which every unknown node gets, is enough to join the cluster.
    pub accept_default_group: bool,
    /// Whether the builder chose an image without Matchbox. It does not change what the node does. It lets the builder and the inspection
    /// tell a decision from an oversight.
    pub without_matchbox: bool,
}

/// Which image this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// gild's name of the board.
    pub board: String,
    /// The image id.
    pub id: String,
}

/// What the image says cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("reading {0}: {1}")]
    Read(PathBuf, io::Error),
    /// The file is not TOML, or not of this form.
    #[error("{0}: {1}")]
    Syntax(PathBuf, String),
    /// A value that this key does not accept.
    #[error("{0}: `{1}` {2}")]
    Value(PathBuf, &'static str, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    matchbox: Option<String>,
    order_url: Option<String>,
    #[serde(default)]
    order_keys: Vec<String>,
    ca: Option<PathBuf>,
    k3s_url: Option<String>,
    #[serde(default = "two_minutes")]
    deadline_seconds: u64,
    #[serde(default)]
    accept_default_group: bool,
    #[serde(default)]
    without_matchbox: bool,
}

fn two_minutes() -> u64 {
    120
}

impl Settings {
    /// Reads the settings; an image without any has no Matchbox.
    pub fn read(root: &Path) -> Result<Self, SettingsError> {
        let path = root.join(SETTINGS);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(SettingsError::Read(path, error)),
        };
        Self::parse(&text).map_err(|problem| match problem {
            Problem::Syntax(text) => SettingsError::Syntax(path, text),
            Problem::Value(key, text) => SettingsError::Value(path, key, text),
        })
    }

    /// Reads the text of the file. The builder of the image calls this too, so that an error is found before a node needs the file.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let file: File =
            toml::from_str(text).map_err(|error| Problem::Syntax(error.message().to_owned()))?;
        if !DEADLINE.contains(&file.deadline_seconds) {
            return Err(Problem::Value(
                "deadline_seconds",
                format!("must be from {} to {}", DEADLINE.start(), DEADLINE.end()),
            ));
        }
        if file.without_matchbox && file.matchbox.is_some() {
            return Err(Problem::Value(
                "without_matchbox",
                "must not be true beside an address of `matchbox`".to_owned(),
            ));
        }
        let order_url = file.order_url.as_deref().map(base_url).transpose();
        let order_url =
            order_url.map_err(|problem| Problem::Value("order_url", problem.to_owned()))?;
        let order_keys = order_keys(&file.order_keys)?;
        if order_url.is_some() && order_keys.is_empty() {
            return Err(Problem::Value(
                "order_keys",
                "must name a public key beside an address of `order_url`".to_owned(),
            ));
        }
        Ok(Self {
            matchbox: file
                .matchbox
                .as_deref()
                .map(base_url)
                .transpose()
                .map_err(|problem| Problem::Value("matchbox", problem.to_owned()))?,
            order_url,
            order_keys,
            ca: file.ca,
            k3s_url: file
                .k3s_url
                .as_deref()
                .map(K3sUrl::parse)
                .transpose()
                .map_err(|problem| Problem::Value("k3s_url", problem.to_owned()))?,
            deadline: Duration::from_secs(file.deadline_seconds),
            accept_default_group: file.accept_default_group,
            without_matchbox: file.without_matchbox,
        })
    }
}

/// What is wrong with the file's text.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is not TOML, or not of this form.
    #[error("{0}")]
    Syntax(String),
    /// A value that this key does not accept.
    #[error("`{0}` {1}")]
    Value(&'static str, String),
}

fn order_keys(texts: &[String]) -> Result<Vec<PublicKey>, Problem> {
    let key = |text: &String| {
        PublicKey::parse(text).map_err(|error| Problem::Value("order_keys", error.to_string()))
    };
    texts.iter().map(key).collect()
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with https:// or http:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password: everyone on the node can read this file");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must be a base address, without `?` or `#`");
    }
    Ok(url)
}

impl Image {
    /// An image that does not say what it is.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            board: "unknown".to_owned(),
            id: "unknown".to_owned(),
        }
    }

    /// Reads which image this is.
    pub fn read(root: &Path) -> Result<Self, SettingsError> {
        let path = root.join(RELEASE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                SettingsError::Syntax(
                    path,
                    "GILD_BOARD= and GILD_IMAGE_ID= must be set".to_owned(),
                )
            }),
            Err(error) => Err(SettingsError::Read(path, error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let value = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .find_map(|(found, value)| (found == key).then(|| value.trim_matches('"')))?;
            (!value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && c != '/'))
                .then(|| value.to_owned())
        };
        Some(Self {
            board: value("GILD_BOARD")?,
            id: value("GILD_IMAGE_ID")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match Settings::parse(text) {
            Ok(settings) => panic!("{text}: {settings:?}"),
            Err(Problem::Syntax(text)) => text,
            Err(Problem::Value(key, text)) => format!("{key} {text}"),
        }
    }

    #[test]
    fn an_image_without_settings_asks_nobody() {
        let root = tempfile::tempdir().expect("a directory");
        let settings = Settings::read(root.path()).expect("defaults");
        assert_eq!(settings.matchbox, None);
        assert_eq!(settings.deadline, Duration::from_mins(2));
        assert!(!settings.accept_default_group && !settings.without_matchbox);
    }

    #[test]
    fn an_image_says_that_it_is_to_ask_nobody() {
        let settings = Settings::parse("without_matchbox = true").expect("a setting");
        assert!(settings.without_matchbox && settings.matchbox.is_none());
    }

    #[test]
    fn every_setting_is_read() {
        let settings = Settings::parse(
            "matchbox = \"https://mb.example:8443/base\"\nca = \"/etc/gild/ca.pem\"\nk3s_url = \"https://k3s.example:6443/\"\n\
             deadline_seconds = 30\naccept_default_group = true\norder_url = \"https://mb.example:8443/orders\"\n\
             order_keys = [\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"]",
        )
        .unwrap_or_else(|_| panic!("all that may be set"));
        assert_eq!(
            settings.matchbox.as_ref().map(Url::as_str),
            Some("https://mb.example:8443/base")
        );
        assert_eq!(settings.ca.as_deref(), Some(Path::new("/etc/gild/ca.pem")));
        assert_eq!(
            settings.k3s_url.as_ref().map(K3sUrl::as_str),
            Some("https://k3s.example:6443")
        );
        assert_eq!(settings.deadline, Duration::from_secs(30));
        assert!(settings.accept_default_group);
        assert_eq!(
            settings.order_url.as_ref().map(Url::as_str),
            Some("https://mb.example:8443/orders")
        );
        assert_eq!(settings.order_keys.len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, complaint) in [
            ("matchboxx = \"http://a\"", "unknown field"),
            ("matchbox = \"mb.example\"", "not a URL"),
            ("matchbox = \"ftp://a\"", "must begin with"),
            ("matchbox = \"https://a:b@c\"", "password"),
            ("matchbox = \"https://c/?x\"", "base address"),
            ("order_url = \"ftp://a\"", "order_url must begin with"),
            ("order_url = \"https://a\"", "order_keys must name"),
            ("order_keys = [\"RWQ\"]", "order_keys it is not a minisign"),
            ("k3s_url = \"http://k:6443\"", "k3s_url must begin with"),
            ("k3s_url = \"https://k\"", "k3s_url has no port"),
            ("k3s_url = \"https://127.0.0.1:6443\"", "the node itself"),
            ("deadline_seconds = 601", "from 5 to 600"),
            ("deadline_seconds = 0", "from 5 to 600"),
            (
                "matchbox = \"https://a\"\nwithout_matchbox = true",
                "beside an address",
            ),
        ] {
            assert!(
                problem(text).contains(complaint),
                "{text}: {}",
                problem(text)
            );
        }
    }

    #[test]
    fn the_image_names_its_board_and_itself() {
        let image =
            Image::parse("GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-0123456789ab\n").expect("both");
        assert_eq!((&*image.board, &*image.id), ("rpi5", "rpi5-0123456789ab"));
        assert_eq!(Image::parse("GILD_BOARD=rpi5\n"), None);
        assert_eq!(Image::parse("GILD_BOARD=rpi5\nGILD_IMAGE_ID=a/b\n"), None);
    }
}
