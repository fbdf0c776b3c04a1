//! Words that only the machine that built the image knows, and the operator's own list.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::error::InspectError;
use crate::secrets::Secret;

/// A shorter line of the operator's list would be found by chance in a few gigabytes.
const SHORTEST_GIVEN: usize = 8;
/// A shorter name is part of ordinary text.
const SHORTEST_NAME: usize = 5;

/// Names that say nothing about a machine: accounts of Debian, defaults of installers, words of documentation.
const COMMON: [&str; 46] = [
    "admin",
    "administrator",
    "armbian",
    "backup",
    "build",
    "builder",
    "buildhost",
    "buildd",
    "cloud",
    "container",
    "daemon",
    "debian",
    "desktop",
    "developer",
    "docker",
    "example",
    "games",
    "github",
    "gitlab",
    "gnats",
    "guest",
    "kubernetes",
    "laptop",
    "linux",
    "local",
    "localdomain",
    "localhost",
    "machine",
    "nobody",
    "proxy",
    "raspberry",
    "raspberrypi",
    "raspi",
    "rock-5b",
    "rock5b",
    "rpi5",
    "runner",
    "server",
    "sshd",
    "system",
    "ubuntu",
    "users",
    "vagrant",
    "worker",
    "workspace",
    "workstation",
];

/// Resolvers that are everybody's.
const COMMON_RESOLVERS: [&str; 8] = [
    "1.0.0.1",
    "1.1.1.1",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.9",
    "149.112.112.112",
    "0.0.0.0",
    "::1",
];

/// An inspection that runs inside one of these would find its name everywhere.
const SYSTEM_FOLDERS: [&str; 12] = [
    "/boot/",
    "/dev/",
    "/etc/",
    "/lib/",
    "/proc/",
    "/run/",
    "/sys/",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/usr/share",
    "/var/",
];

/// What a canary is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The name of the machine that builds.
    HostName,
    /// The name of the user who builds.
    UserName,
    /// The home folder of that user.
    Home,
    /// The folder in which gild runs: where it builds, its checkout.
    Workplace,
    /// A name server of that machine.
    Resolver,
    /// A proxy of that machine.
    Proxy,
    /// The operator's list.
    Given,
}

impl Origin {
    /// In words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::HostName => "the name of the build host",
            Self::UserName => "the name of the user who built it",
            Self::Home => "the home folder of the user who built it",
            Self::Workplace => "the folder in which it was built",
            Self::Resolver => "a name server of the build host",
            Self::Proxy => "a proxy of the build host",
            Self::Given => "a line of the canary file",
        }
    }
}

/// A text that must not be in the image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Canary {
    /// What it is of.
    pub origin: Origin,
    text: Vec<u8>,
}

/// Whatever it is, it is not printed.
impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canary({:?}, {} bytes)", self.origin, self.text.len())
    }
}

impl Canary {
    /// A canary of this text, or none if such a text is found in any image.
    #[must_use]
    pub fn new(origin: Origin, text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_lowercase();
        let telling = match origin {
            Origin::HostName | Origin::UserName => {
                text.len() >= SHORTEST_NAME && !COMMON.contains(&lower.as_str())
            }
            // /root is in every image.
            Origin::Home => is_deep(text),
            Origin::Workplace => {
                is_deep(text) && !SYSTEM_FOLDERS.iter().any(|top| text.starts_with(top))
            }
            Origin::Resolver => {
                !lower.starts_with("127.") && !COMMON_RESOLVERS.contains(&lower.as_str())
            }
            Origin::Proxy | Origin::Given => text.len() >= SHORTEST_GIVEN,
        };
        telling.then(|| Self {
            origin,
            text: text.as_bytes().to_owned(),
        })
    }

    /// What this machine would leave behind, and which kinds of it are not looked for.
    #[must_use]
    pub fn of_this_host() -> (Vec<Self>, Vec<Origin>) {
        let variables = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .filter_map(|name| env::var(name).ok())
                .collect()
        };
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy();
        let short = host.split('.').next().unwrap_or_default().to_owned();
        // A file that is not there has no name servers.
        let resolvers: Vec<String> = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|text| name_servers(&text))
            .collect();
        let proxies = variables(&[
            "http_proxy",
            "https_proxy",
            "ftp_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ]);
        let proxies = proxies.iter().map(|proxy| authority(proxy)).collect();
        let workplace = env::current_dir().unwrap_or_default();
        let (mut found, mut unfit) = (BTreeSet::new(), BTreeSet::new());
        for (origin, texts) in [
            (Origin::HostName, vec![host.into_owned(), short]),
            (
                Origin::UserName,
                variables(&["USER", "LOGNAME", "SUDO_USER"]),
            ),
            (Origin::Home, variables(&["HOME"])),
            (Origin::Workplace, vec![workplace.display().to_string()]),
            (Origin::Resolver, resolvers),
            (Origin::Proxy, proxies),
        ] {
            for text in texts.iter().filter(|text| !text.is_empty()) {
                match Self::new(origin, text) {
                    Some(canary) => _ = found.insert(canary),
                    None => _ = unfit.insert(origin),
                }
            }
        }
        (found.into_iter().collect(), unfit.into_iter().collect())
    }

    /// The operator's list: one canary in a line.
    pub fn read_list(path: &Path) -> Result<Vec<Self>, InspectError> {
        let text = fs::read_to_string(path).map_err(InspectError::read(path))?;
        text.lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| {
                Self::new(Origin::Given, line).ok_or_else(|| InspectError::ShortCanary {
                    path: path.to_owned(),
                    line: index + 1,
                    minimum: SHORTEST_GIVEN,
                })
            })
            .collect()
    }

    /// The bytes to look for.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// What a hit counts as.
    pub(crate) fn secret(&self) -> Secret {
        match self.origin {
            Origin::Given => Secret::Canary,
            _ => Secret::BuildHost,
        }
    }

    /// Whether `start..end` of `bytes` is a whole word. The operator's texts are found inside words too.
    pub(crate) fn stands_alone(&self, bytes: &[u8], start: usize, end: usize) -> bool {
        if self.origin == Origin::Given {
            return true;
        }
        let joins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let before = start.checked_sub(1).and_then(|index| bytes.get(index));
        let after = bytes.get(end);
        // 10.0.0.1 does not count within 10.0.0.1.2, but may end a sentence.
        let longer_address = self.origin == Origin::Resolver
            && (before == Some(&b'.')
                || (after == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)));
        !before.is_some_and(joins) && !after.is_some_and(joins) && !longer_address
    }
}

/// Is it a folder in a folder?
fn is_deep(path: &str) -> bool {
    path.trim_end_matches('/').matches('/').count() >= 2
}

fn name_servers(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(|rest| rest.trim().to_owned())
        .collect()
}

/// `user:password@host:port` of a proxy's address, without which it may be written in many ways.
fn authority(proxy: &str) -> String {
    let rest = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_every_image_is_no_canary() {
        for (origin, text) in [
            (Origin::HostName, "debian"),
            (Origin::HostName, "LocalHost"),
            (Origin::HostName, "vm1"),
            (Origin::UserName, "root"),
            (Origin::Home, "/root"),
            (Origin::Home, "/"),
            (Origin::Workplace, "/srv"),
            (Origin::Workplace, "/usr/lib/systemd"),
            (Origin::Resolver, "127.0.0.53"),
            (Origin::Resolver, "1.1.1.1"),
            (Origin::Given, "short"),
        ] {
            assert_eq!(Canary::new(origin, text), None, "{text}");
        }
        for board in gild_boards::all() {
            assert_eq!(Canary::new(Origin::HostName, &board.name), None);
        }
        assert_eq!(COMMON.len(), COMMON.iter().collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn a_name_counts_only_as_a_whole_word() {
        let canary = Canary::new(Origin::HostName, "anvil-7").expect("telling");
        let text = b"x anvil-7. anvil-70 my-anvil-7";
        assert!(canary.stands_alone(text, 2, 9));
        assert!(!canary.stands_alone(text, 11, 18));
        assert!(!canary.stands_alone(text, 23, 30));
        let resolver = Canary::new(Origin::Resolver, "10.0.0.1").expect("telling");
        assert!(resolver.stands_alone(b"10.0.0.1.\n", 0, 8));
        assert!(!resolver.stands_alone(b"10.0.0.1.2", 0, 8));
    }

    #[test]
    fn a_canary_is_never_printed() {
        let canary = Canary::new(Origin::Given, "the secret itself").expect("long enough");
        assert_eq!(format!("{canary:?}"), "Canary(Given, 17 bytes)");
    }
}
