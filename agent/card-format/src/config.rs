//! `gild.toml`, which kernel arguments override: the settings of a node.

use std::ops::RangeInclusive;
use std::time::Duration;

use gild_format::signature::PublicKey;
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use crate::arguments::Arguments;
use crate::likeliest::likeliest;
use crate::network::{self, Networks, Section, Sections};
use crate::order::Order;
use crate::reference::{ARGUMENT_KEYS, CARD_KEYS, KEYS, Kind};
use crate::server_url::ServerUrl;
use crate::servers::{self, Header, HttpSection};

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
    pub matchbox: Option<String>,
    /// Where the receipt is posted.
    pub status_url: Option<String>,
    /// Least rollback counter of an image.
    pub min_rollback: u64,
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

/// The configuration cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `gild.toml` is not TOML.
    #[error("gild.toml on the card cannot be read: line {line}: {problem}")]
    Syntax {
        /// Number of the line. Its text may hold a password, and the message leaves the node.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that gild does not know.
    #[error("{origin} has the unknown key `{key}`{meant}")]
    UnknownKey {
        /// `gild.toml` or the kernel command line.
        origin: &'static str,
        /// The key.
        key: String,
        /// The known one that is likely meant, in words.
        meant: String,
    },
    /// A value that is not what its key wants.
    #[error("`{key}` is `{value}`: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that may hold a password, and is left out: the message goes to the receipt's readers.
    #[error("`{key}` cannot be used: {problem}")]
    Hidden {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A value of the wrong TOML type, or a table where a value should be.
    #[error("gild.toml on the card: {0}")]
    Type(String),
    /// A key without which nothing can be done.
    #[error(
        "no `{key}` is configured{}; next: write it into gild.toml on the card, or give the kernel argument gild.{key}=",
        if *.card { "" } else { ", and no card was found (a FAT partition labelled GILD)" }
    )]
    Missing {
        /// The key.
        key: &'static str,
        /// Whether there was a card.
        card: bool,
    },
}

/// How long a server of images is waited for that holds its connection and does not answer: as long as Linux waits on a
/// mount, and longer than the disks of a file server need to start.
pub const SERVER_ANSWER: Duration = Duration::from_mins(1);

/// Shorter, and a busy server is asked again while it still works; longer, and nobody waits for it.
const ANSWER_SECONDS: RangeInclusive<u64> = 5..=600;

const CARD: &str = "gild.toml on the card";
const PUBLIC_KEY: &str = "public_key";
const NEXT_PUBLIC_KEY: &str = "next_public_key";
const COMMAND_LINE: &str = "the kernel command line (gild.*)";

/// The names and types of `gild.toml`; unknown keys are found before, to name the likeliest one meant.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    server: Option<Value>,
    answer_seconds: Option<u64>,
    ca: Option<String>,
    http: HttpSection,
    public_key: Option<String>,
    next_public_key: Option<String>,
    matchbox: Option<String>,
    status_url: Option<String>,
    min_rollback: u64,
    network: Section,
    target: TargetSection,
    boot_order: BootOrderPolicy,
    order: OrderSection,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OrderSection {
    id: Option<String>,
    nodes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetSection {
    serial: Option<String>,
    read_holes: bool,
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
        let of_web = [&self.matchbox, &self.status_url].into_iter().flatten();
        let of_web = of_web.filter_map(|url| Url::parse(url).ok());
        let of_images = self.servers.iter().filter_map(|server| match server {
            ServerUrl::Http(url) => Some(url.url().clone()),
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
        let text = file.unwrap_or_default();
        let mut table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let mut sections = network::take_sections(&mut table)?;
        let of_boards = sections.iter().flat_map(|(mac, section)| {
            let keys = leaves(section).into_iter();
            keys.map(move |key| (format!("network.{key}"), format!("network.\"{mac}\".{key}")))
        });
        let general = leaves(&table).into_iter().map(|key| (key.clone(), key));
        for (name, key) in general.chain(of_boards) {
            if !KEYS.iter().any(|known| known.name == name) {
                return Err(unknown(CARD, &name, key));
            }
        }
        for (key, value) in arguments.iter() {
            if ARGUMENT_KEYS.contains(&key) {
                continue;
            }
            let Some(known) = KEYS.iter().find(|known| known.name == key) else {
                return Err(unknown(COMMAND_LINE, key, key.to_owned()));
            };
            let has_query =
                value.contains("://") && !value.contains("nfs://") && value.contains('?');
            if CARD_KEYS.contains(&key) || (key == "server" && has_query) {
                return Err(ConfigError::Hidden {
                    key: known.name,
                    problem:
                        "the kernel prints its arguments; next: write it into gild.toml on the card"
                            .to_owned(),
                });
            }
            let value = known.kind.value(known.name, value)?;
            // An argument is for this board, and overrides whichever section is.
            if let Some(key) = known.name.strip_prefix("network.") {
                for (_, section) in &mut sections {
                    section.insert(key.to_owned(), value.clone());
                }
            }
            insert(&mut table, known.name, value)?;
        }
        let values: File = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Type(error.message().to_owned()))?;
        values.check(sections, file.is_some(), key)
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    ConfigError::Syntax {
        line: before.unwrap_or_default().matches('\n').count() + 1,
        problem: error.message().to_owned(),
    }
}

impl Kind {
    fn value(self, key: &'static str, text: &str) -> Result<Value, ConfigError> {
        Ok(match self {
            Self::Text => Value::String(text.to_owned()),
            Self::Number => Value::Integer(text.parse().map_err(|_| ConfigError::Value {
                key,
                value: text.to_owned(),
                problem: "it should be a number".to_owned(),
            })?),
            Self::Flag => Value::Boolean(text.parse().map_err(|_| ConfigError::Value {
                key,
                value: text.to_owned(),
                problem: "it should be true or false".to_owned(),
            })?),
            Self::List => Value::Array(text.split(',').map(|item| item.trim().into()).collect()),
        })
    }
}

/// The dotted keys of all values.
fn leaves(table: &Table) -> Vec<String> {
    table
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Table(inner) => leaves(inner)
                .into_iter()
                .map(|rest| format!("{key}.{rest}"))
                .collect(),
            _ => vec![key.clone()],
        })
        .collect()
}

fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), ConfigError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .ok_or_else(|| ConfigError::Type(format!("`{section}` should be a section")))?;
            insert(inner, rest, value)
        }
    }
}

impl File {
    fn check(
        self,
        sections: Sections,
        card: bool,
        key: Option<&PublicKey>,
    ) -> Result<Config, ConfigError> {
        let server = self.server.ok_or(ConfigError::Missing {
            key: "server",
            card,
        })?;
        let parsed =
            |key, text: Option<String>| text.map(|text| public_key(key, &text)).transpose();
        let public_key = parsed(PUBLIC_KEY, self.public_key)?
            .or_else(|| key.cloned())
            .ok_or(ConfigError::Missing {
                key: PUBLIC_KEY,
                card,
            })?;
        let next_public_key = parsed(NEXT_PUBLIC_KEY, self.next_public_key)?;
        if next_public_key.as_ref() == Some(&public_key) {
            return Err(ConfigError::Hidden {
                key: NEXT_PUBLIC_KEY,
                problem: format!(
                    "it is the same key as `{PUBLIC_KEY}`; next: put the new key there, or leave it out"
                ),
            });
        }
        let servers = servers::servers(server)?;
        Ok(Config {
            header: self.http.check(&servers)?,
            servers,
            answer: answer(self.answer_seconds)?,
            authorities: servers::authorities(self.ca)?,
            public_key,
            next_public_key,
            matchbox: web_address("matchbox", self.matchbox)?,
            status_url: web_address("status_url", self.status_url)?,
            min_rollback: self.min_rollback,
            networks: network::check(self.network, sections)?,
            target_serial: self.target.serial,
            read_holes: self.target.read_holes,
            boot_order: self.boot_order,
            order: self.order.check()?,
        })
    }
}

impl OrderSection {
    fn check(self) -> Result<Option<Order>, ConfigError> {
        let Some(id) = self.id else {
            return if self.nodes.is_empty() {
                Ok(None)
            } else {
                Err(ConfigError::Type(
                    "[order] has no `id`: write one, a date for example; a node carries out each id once".to_owned(),
                ))
            };
        };
        let order = Order::new(&id, self.nodes.iter().map(String::as_str));
        Ok(Some(order.map_err(|error| {
            ConfigError::Type(format!("[order]: {error}"))
        })?))
    }
}

fn answer(seconds: Option<u64>) -> Result<Duration, ConfigError> {
    match seconds {
        None => Ok(SERVER_ANSWER),
        Some(seconds) if ANSWER_SECONDS.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => Err(ConfigError::Value {
            key: "answer_seconds",
            value: seconds.to_string(),
            problem: format!(
                "it should be a number of seconds from {} to {}",
                ANSWER_SECONDS.start(),
                ANSWER_SECONDS.end()
            ),
        }),
    }
}

fn public_key(key: &'static str, text: &str) -> Result<PublicKey, ConfigError> {
    PublicKey::parse(text).map_err(|error| ConfigError::Hidden {
        key,
        problem: format!("{error}; next: put the second line of the key's .pub file there"),
    })
}

fn web_address(key: &'static str, url: Option<String>) -> Result<Option<String>, ConfigError> {
    let Some(url) = url else { return Ok(None) };
    match Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(Some(url))
        }
        _ => Err(ConfigError::Hidden {
            key,
            problem: "it should be a URL like http://192.168.1.2:8080".to_owned(),
        }),
    }
}

/// A key that gild does not know, by its name among [`KEYS`] and as it was written.
fn unknown(origin: &'static str, name: &str, key: String) -> ConfigError {
    let keys = || KEYS.iter().map(|known| known.name);
    // In TOML a line belongs to the section above it; a kernel argument stands in no section.
    let below = name.split_once('.').map(|(_, rest)| rest);
    let below = below.filter(|rest| origin == CARD && keys().any(|known| known == *rest));
    let meant = match below {
        Some(rest) => format!("; next: put `{rest}` before the first [section]"),
        None => likeliest(name, keys().chain(ARGUMENT_KEYS))
            .map_or_else(String::new, |known| format!(": did you mean `{known}`?")),
    };
    ConfigError::UnknownKey { origin, key, meant }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gild_boards::mac::Mac;
    use gild_format::network::Settings;

    use super::*;

    /// The public key in the documentation of minisign.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    /// Another one.
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";

    fn minimal() -> String {
        format!("server = \"nfs://10.0.2.2:2049/gild\"\npublic_key = \"{KEY}\"\n")
    }

    fn parse(file: &str, command_line: &str) -> Result<Config, ConfigError> {
        Config::parse(Some(file), &Arguments::parse(command_line))
    }

    /// What counts for the board with these MAC addresses.
    fn of(config: &Config, macs: &[&str]) -> Settings {
        let macs: Vec<Mac> = macs.iter().filter_map(|mac| Mac::parse(mac)).collect();
        let settings = config.networks.of_board(&macs);
        settings.expect("one section at most").clone()
    }

    fn complaint(file: &str, command_line: &str) -> String {
        parse(file, command_line)
            .expect_err("this configuration is wrong")
            .to_string()
    }

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
            serial = "S1"
            read_holes = true
            [boot_order]
            keep = true
            allow_older = true
            replace_settings = true
        "#;
        let config = parse(&file, "").expect("a full configuration");
        assert_eq!(config.matchbox.as_deref(), Some("http://10.0.2.2:8080"));
        assert_eq!(
            config.status_url.as_deref(),
            Some("https://status.example/x")
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

    #[test]
    fn a_second_key_may_come_from_the_card_or_an_argument_and_has_its_name() {
        let config = parse(&minimal(), "").expect("one key");
        assert_eq!(config.next_public_key, None);
        assert_eq!(config.keys(), [&config.public_key]);
        for (line, argument) in [
            (format!("next_public_key = \"{OTHER}\""), String::new()),
            (String::new(), format!("gild.next_public_key={OTHER}")),
        ] {
            let config = parse(&(minimal() + &line), &argument).expect("two keys");
            let keys: Vec<String> = config.keys().iter().map(ToString::to_string).collect();
            assert_eq!(keys, [KEY, OTHER]);
            let names: Vec<_> = config
                .keys()
                .iter()
                .map(|key| config.name_of(key))
                .collect();
            assert_eq!(names, ["public_key", "next_public_key"]);
        }
    }

    #[test]
    fn a_second_key_that_is_none_is_refused_by_its_name() {
        let said = complaint(&(minimal() + "next_public_key = \"token\""), "");
        assert!(
            said.starts_with("`next_public_key` cannot be used: it is not a minisign public key"),
            "{said}"
        );
        assert!(!said.contains("token"), "{said}");
    }

    #[test]
    fn the_same_key_twice_is_refused() {
        let expected = "`next_public_key` cannot be used: it is the same key as `public_key`; next: put the new key there, or leave it out";
        let twice = format!("next_public_key = \"{KEY}\"");
        assert_eq!(complaint(&(minimal() + &twice), ""), expected);
        let argument = format!("gild.next_public_key={KEY}");
        assert_eq!(complaint(&minimal(), &argument), expected);
        // The key that is going to be written into the file counts, too.
        let key = PublicKey::parse(KEY).expect("a key");
        let file = format!("server = \"nfs://a/b\"\n{twice}");
        let error = Config::parse_with_key(&file, Some(&key)).expect_err("twice");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_second_key_does_not_replace_the_first() {
        let file = format!("server = \"nfs://a/b\"\nnext_public_key = \"{KEY}\"");
        assert!(complaint(&file, "").starts_with("no `public_key` is configured"));
    }

    const TWO_BOARDS: &str = r#"
        [network]
        address = "10.0.0.9/8"
        ntp = ["10.0.0.1"]
        [network."2c:cf:67:00:00:01"]
        address = "10.0.0.2/16"
        [network.2C-CF-67-00-00-02]
        vlan = 7
    "#;

    #[test]
    fn a_board_s_section_replaces_the_general_one_as_a_whole() {
        let config = parse(&(minimal() + TWO_BOARDS), "").expect("sections of two boards");
        let others = of(&config, &["02:00:00:00:00:01"]);
        assert_eq!(
            (others.address.map(|it| it.prefix), others.ntp.len()),
            (Some(8), 1)
        );
        let first = of(&config, &["02:00:00:00:00:01", "2c:cf:67:00:00:01"]);
        assert_eq!(
            (first.address.map(|it| it.prefix), first.ntp.len()),
            (Some(16), 0)
        );
        let second = of(&config, &["2c:cf:67:00:00:02"]);
        assert_eq!((second.address, second.vlan), (None, Some(7)));
    }

    #[test]
    fn a_board_with_two_sections_that_differ_has_none() {
        let config = parse(&(minimal() + TWO_BOARDS), "").expect("sections of two boards");
        let macs =
            ["2c:cf:67:00:00:01", "2c:cf:67:00:00:02"].map(|mac| Mac::parse(mac).expect("one"));
        let error = config.networks.of_board(&macs).expect_err("two");
        let said = error.to_string();
        for mac in macs {
            assert!(said.contains(&format!("[network.\"{mac}\"]")), "{said}");
        }
        let same = TWO_BOARDS.replace("vlan = 7", "address = \"10.0.0.2/16\"");
        let config = parse(&(minimal() + &same), "").expect("the same for both");
        assert!(config.networks.of_board(&macs).is_ok());
    }

    #[test]
    fn a_kernel_argument_overrides_a_board_s_section_too() {
        let config = parse(
            &(minimal() + TWO_BOARDS),
            "gild.network.address=10.9.9.9/30 gild.network.vlan=5",
        )
        .expect("both");
        for macs in [&[][..], &["2c:cf:67:00:00:01"]] {
            let settings = of(&config, macs);
            assert_eq!(
                (settings.address.map(|it| it.prefix), settings.vlan),
                (Some(30), Some(5))
            );
        }
    }

    #[test]
    fn a_section_of_a_board_is_checked_like_the_general_one() {
        for (section, part) in [
            (
                "[network.eth0]\nvlan = 1",
                "`eth0` is not a MAC address; next: ",
            ),
            ("[network.dns]", "`dns` is not a MAC address"),
            ("[network.\"2c:cf:67:00:00\"]", "is not a MAC address"),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nadress = \"10.0.0.2/8\"",
                "unknown key `network.\"2c:cf:67:00:00:01\".adress`: did you mean `network.address`?",
            ),
            ("[network.\"2c:cf:67:00:00:01\".more]\nx = 1", "unknown key"),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nvlan = 4095",
                "[network.\"2c:cf:67:00:00:01\"]: `network.vlan` is `4095`: it should be a number from 1 to 4094",
            ),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nvlan = \"x\"",
                "[network.\"2c:cf:67:00:00:01\"]: ",
            ),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nvlan = 1\n[network.2CCF67000001]\nvlan = 2",
                "[network.\"2c:cf:67:00:00:01\"] is there twice",
            ),
        ] {
            let said = complaint(&(minimal() + section), "");
            assert!(said.contains(part), "{section}: {said}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_likeliest_one_meant() {
        assert_eq!(
            complaint(&(minimal() + "matchbx = \"http://a\""), ""),
            "gild.toml on the card has the unknown key `matchbx`: did you mean `matchbox`?"
        );
        assert_eq!(
            complaint(&(minimal() + "[target]\nserail = \"x\""), ""),
            "gild.toml on the card has the unknown key `target.serail`: did you mean `target.serial`?"
        );
        assert_eq!(
            complaint(&minimal(), "gild.min_rolback=3"),
            "the kernel command line (gild.*) has the unknown key `min_rolback`: did you mean `min_rollback`?"
        );
        assert_eq!(
            complaint(&(minimal() + "zzz = 1"), ""),
            "gild.toml on the card has the unknown key `zzz`"
        );
    }

    #[test]
    fn a_key_below_a_section_that_it_is_not_of_belongs_above_it() {
        for (text, key, known) in [
            (
                "[network]\nstatus_url = \"http://a\"",
                "network.status_url",
                "status_url",
            ),
            ("[http]\nserver = [\"nfs://a/b\"]", "http.server", "server"),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nca = \"x\"",
                "network.\"2c:cf:67:00:00:01\".ca",
                "ca",
            ),
            (
                "[order]\nnetwork.vlan = 7",
                "order.network.vlan",
                "network.vlan",
            ),
        ] {
            let expected = format!(
                "gild.toml on the card has the unknown key `{key}`; next: put `{known}` before the first [section]"
            );
            assert_eq!(complaint(&(minimal() + text), ""), expected);
        }
        // A kernel argument stands in no section, and these keys are not for the file.
        for said in [
            complaint(&minimal(), "gild.target.ca=x"),
            complaint(&(minimal() + "[target]\nhold_seconds = 5"), ""),
        ] {
            assert!(!said.contains("[section]"), "{said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(complaint("", "").starts_with("no `server` is configured; next: write it into"));
        assert!(
            complaint("server = \"nfs://a/b\"", "").starts_with("no `public_key` is configured")
        );
        let error = Config::parse(None, &Arguments::default()).expect_err("nothing is known");
        assert!(error.to_string().contains("no card was found"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_should_be() {
        for (line, part) in [
            ("min_rollback = \"x\"", "gild.toml on the card"),
            ("min_rollback = -1", "gild.toml on the card"),
            (
                "answer_seconds = 4",
                "`answer_seconds` is `4`: it should be a number of seconds from 5 to 600",
            ),
            ("answer_seconds = 601", "from 5 to 600"),
            ("answer_seconds = -1", "gild.toml on the card"),
            ("matchbox = \"10.0.2.2:8080\"", "it should be a URL like"),
            ("status_url = \"ftp://a/b\"", "it should be a URL like"),
            ("target = 3", "unknown key `target`"),
            ("[boot_order]\nkeep = \"yes\"", "gild.toml on the card"),
            ("[target]\nread_holes = 1", "gild.toml on the card"),
            ("[network]\naddress = \"10.0.0.1\"", "and a prefix"),
            ("[network]\naddress = \"10.0.0.1/33\"", "1 to 32"),
            ("[network]\naddress = \"10.0.0/8\"", "not an IPv4 address"),
            ("[network]\ngateway = \"10.0.0.1\"", "has no `address`"),
            ("[network]\naddress = \"0.0.0.0/8\"", "not an IPv4 address"),
            (
                "[network]\nntp = [\"0.0.0.0\"]",
                "`network.ntp` is `0.0.0.0`",
            ),
            (
                "[network]\nntp = [\"pool.example\"]",
                "`network.ntp` is `pool.example`",
            ),
            (
                "[network]\nntp = [\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"]",
                "at most 8 servers",
            ),
            (
                "[network]\nvlan = 0",
                "`network.vlan` is `0`: it should be a number from 1 to 4094",
            ),
            ("[network]\nvlan = 4095", "from 1 to 4094"),
            ("[network]\nvlan = -1", "from 1 to 4094"),
            ("[network]\nvlan = \"7\"", "gild.toml on the card"),
            (
                "[network]\naddress = \"10.0.0.2/8\"\ndns = [\"a\"]",
                "`network.dns` is `a`",
            ),
        ] {
            let said = complaint(&(minimal() + line), "");
            assert!(said.contains(part), "{line}: {said}");
        }
        assert!(complaint("server = ", "").contains("gild.toml on the card cannot be read"));
        assert!(complaint(&minimal(), "gild.min_rollback=many").contains("should be a number"));
        for argument in ["gild.boot_order.keep=1", "gild.target.read_holes=1"] {
            assert!(complaint(&minimal(), argument).contains("true or false"));
        }
        assert!(
            complaint(&minimal(), "gild.server=ftp://a/b").contains("`server` cannot be used: ")
        );
        let said = complaint(&minimal(), "gild.public_key=RWQ...");
        assert!(
            said.starts_with("`public_key` cannot be used: it is not a minisign public key,")
                && said.ends_with("; next: put the second line of the key's .pub file there"),
            "{said}"
        );
        let said = complaint(&minimal(), "gild.server=192.168.1.10:/srv/x");
        assert!(
            said.ends_with("; next: write nfs://192.168.1.10/srv/x"),
            "{said}"
        );
    }

    #[test]
    fn one_server_or_several_are_named_and_the_first_is_the_first() {
        let servers = |text: &str, argument: &str| {
            let file = format!("server = {text}\npublic_key = \"{KEY}\"");
            parse(&file, argument).map(|config| {
                let servers = config.servers.iter();
                servers.map(ToString::to_string).collect::<Vec<_>>()
            })
        };
        let (nas, web) = ("nfs://nas/gild", "https://images.example/gild");
        let listed = format!("[\"{web}\", \"{nas}\"]");
        assert_eq!(
            servers(&listed, "").as_deref(),
            Ok(&[web.to_owned(), nas.to_owned()][..])
        );
        let argument = format!("gild.server={nas},{web}");
        assert_eq!(
            servers("\"nfs://a/b\"", &argument),
            Ok(vec![nas.to_owned(), web.to_owned()])
        );
        for (text, part) in [
            ("[]", "one server, or up to 8"),
            (
                &format!("[\"{nas}\", \"{nas}\"]"),
                "names nfs://nas/gild twice",
            ),
            (
                "[\"nfs://[fd00::1]/b\", \"nfs://a/b\"]",
                "an IPv6 address stands beside others",
            ),
            ("[1]", "an address, or a list of addresses"),
            ("1", "an address, or a list of addresses"),
            (&format!("[\"{nas}\", \"x\"]"), "`server` cannot be used: "),
        ] {
            let said = servers(text, "").expect_err(text).to_string();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn a_header_goes_to_servers_that_prove_who_they_are_and_is_never_shown() {
        let file = |server: &str, header: &str| {
            format!("server = {server}\npublic_key = \"{KEY}\"\n[http]\nheader = \"{header}\"")
        };
        let web = "\"https://images.example/gild\"";
        let config = parse(&file(web, "Authorization: Bearer t0ken"), "").expect("a header");
        let header = config.header.as_ref().expect("a header");
        assert_eq!(
            (&*header.name, &*header.value),
            ("Authorization", "Bearer t0ken")
        );
        assert!(!format!("{config:?}").contains("t0ken"));
        assert!(config.may_use_tls());
        for (server, header, part) in [
            ("\"http://a/b\"", "X: t0ken", "in clear text"),
            (
                "[\"https://a/b\", \"http://a/b\"]",
                "X: t0ken",
                "in clear text",
            ),
            (
                "\"nfs://a/b\"",
                "X: t0ken",
                "no `server` is reached over HTTP",
            ),
            (web, "t0ken", "a line like"),
            (web, ": t0ken", "a line like"),
            (web, "X: ", "a line like"),
            (web, "Range: bytes=0-t0ken", "a line like"),
            (web, "X Y: t0ken", "a line like"),
            (web, "X: t0ken\\nY: z", "a line like"),
        ] {
            let said = complaint(&file(server, header), "");
            assert!(
                said.contains(part) && !said.contains("t0ken"),
                "{header}: {said}"
            );
        }
        let said = complaint(&minimal(), "gild.server=https://a/b?sig=t0ken");
        assert!(
            said.contains("the kernel prints") && !said.contains("t0ken"),
            "{said}"
        );
        let said = complaint(&minimal(), "gild.http.header=X:t0ken");
        assert!(
            said.contains("the kernel prints its arguments") && !said.contains("t0ken"),
            "{said}"
        );
    }

    #[test]
    fn an_authority_is_text_with_a_certificate_in_it() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let config = parse(&format!("{}ca = \"\"\"\n{pem}\"\"\"", minimal()), "");
        assert_eq!(
            config.expect("a certificate").authorities.as_deref(),
            Some(pem)
        );
        let said = complaint(&format!("{}ca = \"site-ca.pem\"", minimal()), "");
        assert!(said.contains("in PEM form, in triple quotes"), "{said}");
    }

    #[test]
    fn a_secret_in_a_wrong_value_is_in_no_message() {
        for line in [
            "status_url = \"htp://user:token@host/x\"",
            "status_url = \"https://user:token@/x\"",
            "status_url = \"https://host/token",
            "status_url = https://host/token",
            "status_url https://user:token@host/x",
            "https://user:token@host/x",
            "status_url = [\"token\"]",
            "matchbox = \"//user:token@host\"",
            "status_url = \"https://host/token\"\nstatus_url = \"https://host/token\"",
        ] {
            let said = complaint(&(minimal() + line), "");
            assert!(!said.contains("token"), "{line}: {said}");
        }
        for argument in [
            "gild.status_url=user:token@host",
            "gild.server=http://token@a/b",
            "gild.server=https://user:token@a/b",
            "gild.http.header=X: token",
            "gild.server=nfs://token",
            "gild.public_key=token",
        ] {
            let said = complaint(&minimal(), argument);
            assert!(!said.contains("token"), "{argument}: {said}");
        }
    }

    #[test]
    fn a_line_that_is_no_toml_is_named_by_its_number() {
        let said = complaint(&(minimal() + "status_url = x"), "");
        assert!(said.contains("line 3: "), "{said}");
    }
}
