//! `gild.toml`, which kernel arguments override: the settings of a node.

mod error;
mod file;
mod signing_keys;
mod table;
#[cfg(test)]
pub mod testing;

use std::time::Duration;

use gild_format::signature::PublicKey;
use gild_report::ReportKey;
use serde::Deserialize;
use url::Url;

use crate::arguments::Arguments;
use crate::log_server::LogServer;
use crate::network::Networks;
use crate::order::Order;
use crate::server_url::ServerUrl;
use crate::servers::Header;
pub use error::ConfigError;
use file::File;
use signing_keys::{NEXT_PUBLIC_KEY, PUBLIC_KEY};

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directories that hold `<board>/golden.json`: one at least, and the first is preferred.
    pub servers: Vec<ServerUrl>,
    /// How long to wait for an answer of a server.
    pub answer: Duration,
    /// What lets a reader in to the servers that speak HTTP.
    pub header: Option<Header>,
    /// Certificates of the site's own authorities, in PEM form.
    pub authorities: Option<String>,
    /// The key that signs the manifests.
    pub public_key: PublicKey,
    /// Another key that may sign them.
    pub next_public_key: Option<PublicKey>,
    /// Matchbox' base URL.
    pub matchbox: Option<Url>,
    /// Where reports are posted.
    pub status_url: Option<Url>,
    /// What they are signed with.
    pub status_key: Option<ReportKey>,
    /// Where the lines of the console go.
    pub log_server: Option<LogServer>,
    /// Where signed orders are asked for.
    pub order_url: Option<Url>,
    /// The only key that may sign them. Without it those of the manifests may.
    pub order_key: Option<PublicKey>,
    /// Least rollback counter of an image.
    pub min_rollback: u64,
    /// Nothing is written, and what would be is said.
    pub dry_run: bool,
    /// Static addresses and the like, for all boards and for single ones.
    pub networks: Networks,
    /// Serial number of the disk to write.
    pub target_serial: Option<String>,
    /// The image's holes are to be read back in full.
    pub read_holes: bool,
    /// What may be done to the board's firmware.
    pub boot_order: BootOrderPolicy,
    /// Nodes that are to be written again.
    pub order: Option<Order>,
}

/// What may be done to the board's firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BootOrderPolicy {
    /// Nothing.
    pub keep: bool,
    /// It may be replaced by an older one.
    pub allow_older: bool,
    /// Its settings may be replaced where they cannot be read.
    pub replace_settings: bool,
}

impl Config {
    /// All keys that may sign a manifest.
    #[must_use]
    pub fn keys(&self) -> Vec<&PublicKey> {
        [Some(&self.public_key), self.next_public_key.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// All keys that may sign an order.
    #[must_use]
    pub fn order_keys(&self) -> Vec<&PublicKey> {
        match &self.order_key {
            Some(key) => vec![key],
            None => self.keys(),
        }
    }

    /// What `gild.toml` calls this one of its keys.
    #[must_use]
    pub fn name_of(&self, key: &PublicKey) -> &'static str {
        if *key == self.public_key {
            PUBLIC_KEY
        } else {
            NEXT_PUBLIC_KEY
        }
    }

    /// Whether a certificate may have to be judged, by the clock. A redirect may lead from http:// to https://.
    #[must_use]
    pub fn may_use_tls(&self) -> bool {
        let is_web = |server: &ServerUrl| matches!(server, ServerUrl::Http(_));
        self.servers.iter().any(is_web) || !self.tls_hosts().is_empty()
    }

    /// The hosts that show a certificate.
    #[must_use]
    pub fn tls_hosts(&self) -> Vec<String> {
        let of_web = [&self.matchbox, &self.status_url, &self.order_url];
        let of_web = of_web.into_iter().flatten();
        let of_images = self.servers.iter().filter_map(|server| match server {
            ServerUrl::Http(url) => Some(url.url()),
            ServerUrl::Nfs(_) => None,
        });
        of_web
            .chain(of_images)
            .filter(|url| url.scheme() == "https")
            .filter_map(|url| url.host_str().map(str::to_owned))
            .collect()
    }

    /// Reads the card's file, if there is a card, and lets the kernel arguments override it.
    pub fn parse(file: Option<&str>, arguments: &Arguments) -> Result<Self, ConfigError> {
        Self::read(file, None, arguments)
    }

    /// Reads a file for a card as the agent will, with the key that is going to be written into it if it has none.
    pub fn parse_with_key(file: &str, key: Option<&PublicKey>) -> Result<Self, ConfigError> {
        Self::read(Some(file), key, &Arguments::default())
    }

    fn read(
        file: Option<&str>,
        key: Option<&PublicKey>,
        arguments: &Arguments,
    ) -> Result<Self, ConfigError> {
        let (table, sections) = table::merged(file.unwrap_or_default(), arguments)?;
        let values: File = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Type(in_one_line(&error)))?;
        values.check(sections, file.is_some(), key)
    }
}

/// What is wrong, and of which key.
fn in_one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::testing::{KEY, minimal, of, parse};
    use super::*;
    use crate::servers::SERVER_ANSWER;

    #[test]
    fn server_and_key_are_enough() {
        let config = parse(&minimal(), "").expect("the least configuration");
        assert_eq!(config.min_rollback, 0);
        assert_eq!(config.answer, SERVER_ANSWER);
        assert_eq!(config.networks, Networks::default());
        assert!(!config.read_holes);
        assert_eq!(config.boot_order, BootOrderPolicy::default());
        assert_eq!(config.public_key.to_string(), KEY);
    }

    #[test]
    fn everything_can_be_said_on_the_card() {
        let file = minimal()
            + r#"
            matchbox = "http://10.0.2.2:8080"
            status_url = "https://status.example/x"
            min_rollback = 7
            answer_seconds = 90
            [network]
            address = "192.168.1.50/24"
            gateway = "192.168.1.1"
            dns = ["192.168.1.1", "9.9.9.9"]
            vlan = 100
            ntp = ["192.168.1.2"]
            [target]
            serial = " S1 "
            read_holes = true
            [boot_order]
            keep = true
            allow_older = true
            replace_settings = true
        "#;
        let config = parse(&file, "").expect("a full configuration");
        let text = |url: &Option<Url>| url.as_ref().map(Url::to_string);
        assert_eq!(
            (text(&config.matchbox), text(&config.status_url)),
            (
                Some("http://10.0.2.2:8080/".to_owned()),
                Some("https://status.example/x".to_owned())
            )
        );
        assert_eq!(config.min_rollback, 7);
        assert_eq!(config.answer, Duration::from_secs(90));
        let network = of(&config, &[]);
        assert_eq!((network.vlan, network.ntp.len()), (Some(100), 1));
        let fixed = network.address.expect("a static address");
        assert_eq!(
            (fixed.address, fixed.prefix),
            (Ipv4Addr::new(192, 168, 1, 50), 24)
        );
        assert_eq!(fixed.dns.len(), 2);
        assert_eq!(config.target_serial.as_deref(), Some("S1"));
        assert!(config.read_holes);
        let said = BootOrderPolicy {
            keep: true,
            allow_older: true,
            replace_settings: true,
        };
        assert_eq!(config.boot_order, said);
    }

    #[test]
    fn kernel_arguments_override_the_card_and_suffice_without_one() {
        let config = parse(
            &(minimal() + "min_rollback = 1\n[target]\nserial = \"S1\""),
            "gild.min_rollback=9 gild.target.serial=7 gild.network.address=10.0.0.2/8 gild.network.dns=1.1.1.1,9.9.9.9 gild.card=ABCD-1234 gild.hold_seconds=2 gild.boot_order.keep=true gild.target.read_holes=true",
        )
        .expect("both");
        assert!(config.boot_order.keep && !config.boot_order.allow_older);
        assert_eq!(config.min_rollback, 9);
        assert_eq!(config.target_serial.as_deref(), Some("7"));
        assert!(config.read_holes);
        let fixed = of(&config, &[]).address;
        assert_eq!(fixed.expect("an address").dns.len(), 2);

        let arguments = Arguments::parse(&format!(
            "gild.server=nfs://10.0.2.2/gild gild.public_key={KEY}"
        ));
        Config::parse(None, &arguments).expect("a node without a card");
    }
}
