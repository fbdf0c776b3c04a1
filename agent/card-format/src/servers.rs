//! What `gild.toml` says of the servers of images: which, how long they are waited for, by what header, by whose certificates.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Value;

use crate::config::ConfigError;
use crate::server_url::ServerUrl;

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct HttpSection {
    header: Option<String>,
}

/// A header for the servers of images. Its value is a secret: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// `Authorization`, for example.
    pub name: String,
    /// What lets a reader in.
    pub value: String,
}

impl Header {
    /// Reads `Name: value`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        (is_token(name) && is_value(value) && !is_ours(name)).then(|| Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Header").field(&self.name).finish()
    }
}

/// How long a server of images is waited for that holds its connection and does not answer: as long as Linux waits on a
/// mount, and longer than the disks of a file server need to start.
pub const SERVER_ANSWER: Duration = Duration::from_mins(1);

/// With a shorter time a busy server would be asked again while it still works. No operator waits for longer.
const ANSWER_SECONDS: RangeInclusive<u64> = 5..=600;

/// Headers that a request has anyway.
const OURS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "if-match",
    "if-range",
    "range",
    "transfer-encoding",
    "user-agent",
];
/// More would not be fail-over.
const MOST: usize = 8;
/// The first line of a certificate in PEM form.
pub const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";

/// One address, or several of which the first is preferred.
pub fn servers(value: Value) -> Result<Vec<ServerUrl>, ConfigError> {
    let addresses = match value {
        Value::Array(addresses) => addresses,
        one => vec![one],
    };
    let hidden = |problem| ConfigError::Hidden {
        key: "server",
        problem,
    };
    if addresses.is_empty() || addresses.len() > MOST {
        return Err(hidden(format!(
            "it should name one server, or up to {MOST}"
        )));
    }
    let mut servers: Vec<ServerUrl> = Vec::new();
    for address in &addresses {
        let address = address.as_str().ok_or_else(|| {
            ConfigError::Type("`server` should be an address, or a list of addresses".to_owned())
        })?;
        let server = ServerUrl::parse(address).map_err(hidden)?;
        if servers.contains(&server) {
            return Err(hidden(format!("it names {server} twice")));
        }
        servers.push(server);
    }
    let is_ipv6 = |server: &ServerUrl| server.host().parse::<Ipv6Addr>().is_ok();
    if servers.iter().any(is_ipv6) && !servers.iter().all(is_ipv6) {
        return Err(hidden(
            "an IPv6 address stands beside others, and a flasher whose server has one waits for no DHCP server; next: name all \
             servers by IPv6 addresses, or use names"
                .to_owned(),
        ));
    }
    Ok(servers)
}

/// How long an answer of a server is waited for.
pub fn answer(seconds: Option<u64>) -> Result<Duration, ConfigError> {
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

impl HttpSection {
    pub fn check(self, servers: &[ServerUrl]) -> Result<Option<Header>, ConfigError> {
        let Some(line) = self.header else {
            return Ok(None);
        };
        let hidden = |problem: &str| ConfigError::Hidden {
            key: "http.header",
            problem: problem.to_owned(),
        };
        let name = line.split(':').next().unwrap_or_default().trim();
        if is_ours(name) {
            return Err(hidden(
                "it is a header that gild sets itself; next: leave it out, or write another one",
            ));
        }
        let header = Header::parse(&line)
            .ok_or_else(|| hidden("it should be a line like \"Authorization: Bearer abc\""))?;
        let http = || {
            servers.iter().filter_map(|server| match server {
                ServerUrl::Http(url) => Some(url),
                ServerUrl::Nfs(_) => None,
            })
        };
        if http().next().is_none() {
            return Err(hidden(
                "no `server` is reached over HTTP; next: leave it out",
            ));
        }
        if http().any(|url| !url.is_encrypted()) {
            return Err(hidden(
                "a `server` is an http:// address, to which it would go in clear text; next: use https://",
            ));
        }
        Ok(Some(header))
    }
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Certificates in PEM form, as far as it can be seen without reading them.
pub fn authorities(pem: Option<String>) -> Result<Option<String>, ConfigError> {
    match pem {
        Some(pem) if !pem.contains(CERTIFICATE_MARK) => Err(ConfigError::Hidden {
            key: "ca",
            problem: format!(
                "it should be a certificate in PEM form, in triple quotes: its first line is {CERTIFICATE_MARK}"
            ),
        }),
        pem => Ok(pem),
    }
}

#[cfg(test)]
mod tests;
