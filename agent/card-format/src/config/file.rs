//! The values of the configuration: what is written, and what it must be.

use gild_format::signature::PublicKey;
use serde::Deserialize;
use toml::Value;
use url::Url;

use super::{BootOrderPolicy, Config, ConfigError, signing_keys};
use crate::host;
use crate::log_server;
use crate::network::{self, Section, Sections};
use crate::order::OrderSection;
use crate::servers::{self, HttpSection};
use crate::status_key;

/// The names and types of `gild.toml`; unknown keys are found before, to name the likeliest one meant.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct File {
    server: Option<Value>,
    answer_seconds: Option<u64>,
    ca: Option<String>,
    http: HttpSection,
    public_key: Option<String>,
    next_public_key: Option<String>,
    matchbox: Option<String>,
    status_url: Option<String>,
    status_key: Option<Value>,
    syslog: Option<String>,
    order_url: Option<String>,
    order_key: Option<String>,
    min_rollback: u64,
    dry_run: bool,
    network: Section,
    target: TargetSection,
    boot_order: BootOrderPolicy,
    order: OrderSection,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetSection {
    serial: Option<String>,
    read_holes: bool,
}

impl File {
    /// Checks every value. `sections` are those of single boards, `key` is a key for a file without one.
    pub fn check(
        self,
        sections: Sections,
        card: bool,
        key: Option<&PublicKey>,
    ) -> Result<Config, ConfigError> {
        let server = self.server.ok_or(ConfigError::Missing {
            key: "server",
            card,
        })?;
        let (public_key, next_public_key) = signing_keys::check(
            self.public_key.as_deref(),
            self.next_public_key.as_deref(),
            key,
            card,
        )?;
        let servers = servers::servers(server)?;
        Ok(Config {
            header: self.http.check(&servers)?,
            servers,
            answer: servers::answer(self.answer_seconds)?,
            authorities: servers::authorities(self.ca)?,
            public_key,
            next_public_key,
            matchbox: web_address("matchbox", self.matchbox.as_deref())?,
            status_url: web_address("status_url", self.status_url.as_deref())?,
            status_key: status_key::read(self.status_key)?,
            log_server: log_server::read(self.syslog.as_deref())?,
            order_url: web_address("order_url", self.order_url.as_deref())?,
            order_key: signing_keys::order_key(self.order_key.as_deref())?,
            min_rollback: self.min_rollback,
            dry_run: self.dry_run,
            networks: network::check(self.network, sections)?,
            target_serial: serial(self.target.serial.as_deref())?,
            read_holes: self.target.read_holes,
            boot_order: self.boot_order,
            order: self.order.check()?,
        })
    }
}

/// A number of no characters would name no disk, and the agent would look for it forever.
fn serial(text: Option<&str>) -> Result<Option<String>, ConfigError> {
    let serial = text.map(str::trim);
    if serial == Some("") {
        return Err(ConfigError::Value {
            key: "target.serial",
            value: text.unwrap_or_default().to_owned(),
            problem: "it should be the serial number of a disk; next: write it there, or leave the key out".to_owned(),
        });
    }
    Ok(serial.map(str::to_owned))
}

fn web_address(key: &'static str, text: Option<&str>) -> Result<Option<Url>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let hidden = |problem| ConfigError::Hidden { key, problem };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            host::check_url(text, &url).map_err(hidden)?;
            Ok(Some(url))
        }
        _ => Err(hidden(
            "it should be a URL like http://192.168.1.2:8080".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{complaint, minimal};
    use super::*;
    use crate::arguments::Arguments;

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
            ("min_rollback = \"x\"", "in `min_rollback`"),
            ("min_rollback = -1", "gild.toml on the card"),
            (
                "answer_seconds = 4",
                "`answer_seconds` is `4`: it should be a number of seconds from 5 to 600",
            ),
            ("answer_seconds = 601", "from 5 to 600"),
            ("answer_seconds = -1", "gild.toml on the card"),
            ("matchbox = \"10.0.2.2:8080\"", "it should be a URL like"),
            ("status_url = \"ftp://a/b\"", "it should be a URL like"),
            ("order_url = \"ftp://a/b\"", "it should be a URL like"),
            ("target = 3", "unknown key `target`"),
            ("[boot_order]\nkeep = \"yes\"", "gild.toml on the card"),
            ("[target]\nread_holes = 1", "in `target.read_holes`"),
            (
                "[target]\nserial = \"\"",
                "it should be the serial number of a disk; next: ",
            ),
            (
                "[target]\nserial = \" \"",
                "it should be the serial number of a disk; next: ",
            ),
            ("matchbox = \"http://192.168.1:8080\"", "192.168.0.1"),
            ("status_url = \"http://0xc0a80101/\"", "192.168.1.1"),
        ] {
            let said = complaint(&(minimal() + line), "");
            assert!(said.contains(part), "{line}: {said}");
        }
        assert!(complaint("server = ", "").contains("gild.toml on the card cannot be read"));
    }

    #[test]
    fn spaces_around_a_serial_number_do_not_count() {
        let file = minimal() + "[target]\nserial = \" S1 2 \"";
        let config = Config::parse(Some(&file), &Arguments::default()).expect("a serial number");
        assert_eq!(config.target_serial.as_deref(), Some("S1 2"));
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
}
