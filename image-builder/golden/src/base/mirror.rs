//! Where Debian's packages come from: the mirrors that the host's own apt uses.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gild_node::reach::Reach;

use super::BaseError;
use super::host_apt::{self, Source};

/// The mirrors of Debian's archive, and Debian's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// The main archive, with updates and backports.
    pub main: String,
    /// The security archive, unless nodes are to have none.
    pub security: Option<String>,
}

/// Where security updates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// From where the host's own apt has them.
    OfThisMachine,
    /// From this archive.
    At(String),
    /// From nowhere, and only if the user asks for that.
    Without,
}

/// An address that nodes could not use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct Unusable {
    /// The address.
    pub url: String,
    /// Why not.
    pub reason: String,
}

impl Mirrors {
    /// The given mirror, else the host's.
    pub fn find(main: Option<&str>, security: &Security) -> Result<Self, BaseError> {
        Self::choose(main, security, host_apt::sources())
    }

    fn choose(main: Option<&str>, security: &Security, host: &[Source]) -> Result<Self, BaseError> {
        // The first one that nodes could use, or what the machine has instead.
        let of_host = |is_it: fn(&Source) -> bool| {
            let mut passed_over = PassedOver::default();
            for source in host.iter().filter(|source| is_it(source)) {
                match &source.uri {
                    Ok(uri) => return Ok(uri.clone()),
                    Err(unusable) => passed_over.add(unusable),
                }
            }
            Err(passed_over)
        };
        let given = |url: &str| check(url).map(|()| url.to_owned());
        let main = match main {
            Some(url) => given(url)?,
            None => of_host(Source::is_main)
                .map_err(|passed_over| BaseError::NoMirror { passed_over })?,
        };
        let security = match security {
            Security::At(url) => Some(given(url)?),
            Security::OfThisMachine => {
                let found = of_host(Source::is_security);
                Some(found.map_err(|passed_over| BaseError::NoSecurityMirror { passed_over })?)
            }
            Security::Without => None,
        };
        Ok(Self { main, security })
    }

    /// The archives of a suite as (mirror, suite).
    #[must_use]
    pub fn suites(&self, suite: &str) -> Vec<(&str, String)> {
        let mut suites = vec![
            (self.main.as_str(), suite.to_owned()),
            (&self.main, format!("{suite}-updates")),
            (&self.main, format!("{suite}-backports")),
        ];
        if let Some(security) = &self.security {
            suites.push((security, format!("{suite}-security")));
        }
        suites
    }
}

/// The sources of this machine's apt that nodes could not use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver(Vec<Unusable>);

impl PassedOver {
    fn add(&mut self, unusable: &Unusable) {
        if !self.0.contains(unusable) {
            self.0.push(unusable.clone());
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut opening = " (it has ";
        for unusable in &self.0 {
            write!(f, "{opening}{unusable}")?;
            opening = "; ";
        }
        if self.0.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

impl Source {
    fn is_main(&self) -> bool {
        let plain = !["-security", "-updates", "-backports"]
            .iter()
            .any(|ending| self.release.ends_with(ending));
        self.is_debian && plain && self.component == "main"
    }

    fn is_security(&self) -> bool {
        self.is_debian && self.release.ends_with("-security") && self.component == "main"
    }
}

/// A mirror's address ends up in the image: a password in it would too, and a node does not have a folder of this machine.
pub fn check(url: &str) -> Result<(), Unusable> {
    let refuse = |reason: &str| {
        Err(Unusable {
            url: without_password(url),
            reason: reason.to_owned(),
        })
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse("it is not a URL");
    };
    if !["http", "https"].contains(&scheme) {
        return refuse("it is neither http nor https, and nodes must reach it too");
    }
    if url.contains(|c: char| !c.is_ascii_graphic()) {
        return refuse("it has spaces");
    }
    if rest.split('/').next().unwrap_or_default().contains('@') {
        return refuse(
            "the password in it would end up in the image: put it into /etc/apt/auth.conf",
        );
    }
    if Reach::of_text(url) == Some(Reach::Itself) {
        return refuse(
            "it is on this machine itself, and each node's apt would ask its own node: give an address that nodes can reach",
        );
    }
    Ok(())
}

/// An address as it may be shown.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            let (_, host) = rest.rsplit_once('@').unwrap_or_default();
            format!("{scheme}://...@{host}")
        }
        _ => url.to_owned(),
    }
}

/// How the host's apt is configured to reach its mirrors: proxies, certificates, dates, passwords.
pub fn access() -> Result<String, BaseError> {
    let output = Command::new("apt-config")
        .args(["dump", "--no-empty", "--format", "%f \"%v\";%n", "Acquire"])
        .output()
        .map_err(|source| BaseError::Program {
            program: "apt-config",
            source,
        })?;
    let matters = [
        "Acquire::http",
        "Acquire::https",
        "Acquire::Check-",
        "Acquire::Retries",
    ];
    let mut text: String = String::from_utf8_lossy(&output.stdout)
        .split_inclusive('\n')
        .filter(|line| matters.iter().any(|start| line.starts_with(start)))
        .collect();
    for (key, path) in [
        ("Dir::Etc::netrc", "/etc/apt/auth.conf"),
        ("Dir::Etc::netrcparts", "/etc/apt/auth.conf.d"),
    ] {
        if Path::new(path).exists() {
            text = format!("{text}{key} \"{path}\";\n");
        }
    }
    Ok(text)
}

/// Debian's keyring.
pub fn keyring() -> Result<PathBuf, BaseError> {
    ["gpg", "pgp"]
        .map(|ending| format!("/usr/share/keyrings/debian-archive-keyring.{ending}"))
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or(BaseError::NoKeyring)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "https://mirror.example/debian";

    fn host(releases: &[&str]) -> Vec<Source> {
        let source = |release: &&str| Source {
            is_debian: true,
            release: (*release).to_owned(),
            component: "main".to_owned(),
            uri: Ok(format!("http://host.example/{release}")),
        };
        releases.iter().map(source).collect()
    }

    #[test]
    fn the_host_s_own_mirrors_are_taken_unless_others_are_given() {
        let host = host(&["bookworm-updates", "bookworm", "bookworm-security"]);
        let mirrors = Mirrors::choose(None, &Security::OfThisMachine, &host).expect("both");
        assert_eq!(mirrors.main, "http://host.example/bookworm");
        let security = "http://host.example/bookworm-security";
        assert_eq!(mirrors.security.as_deref(), Some(security));
        let other = Security::At("https://mirror.example/security".to_owned());
        let mirrors = Mirrors::choose(Some(GIVEN), &other, &host).expect("both");
        assert_eq!(mirrors.main, GIVEN);
        let security = "https://mirror.example/security";
        assert_eq!(mirrors.security.as_deref(), Some(security));
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let error = check("https://me:secret@host.example/debian").expect_err("a password");
        assert_eq!(error.url, "https://...@host.example/debian");
        assert!(error.reason.contains("auth.conf"), "{error}");
    }

    #[test]
    fn a_source_that_nodes_could_not_use_is_named() {
        let mut host = host(&["bookworm", "bookworm-security"]);
        for source in &mut host {
            source.uri = Err(Unusable {
                url: format!("cdrom://{}/", source.release),
                reason: "it is a disc".to_owned(),
            });
        }
        let error = |main| {
            let error = Mirrors::choose(main, &Security::OfThisMachine, &host);
            error.expect_err("no archive").to_string()
        };
        assert!(error(None).contains("(it has cdrom://bookworm/: it is a disc);"));
        let security = error(Some(GIVEN));
        assert!(
            security.contains("cdrom://bookworm-security/: it is a disc"),
            "{security}"
        );
    }

    #[test]
    fn security_updates_are_left_out_only_on_request() {
        for host in [host(&[]), host(&["bookworm", "bookworm-updates"])] {
            let error = Mirrors::choose(Some(GIVEN), &Security::OfThisMachine, &host);
            let error = error.expect_err("no security archive").to_string();
            for option in ["--security-mirror URL", "--without-security-updates"] {
                assert!(error.contains(option), "{error}");
            }
        }
        let host = host(&["bookworm", "bookworm-security"]);
        let mirrors = Mirrors::choose(None, &Security::Without, &host).expect("a mirror");
        assert_eq!(mirrors.security, None);
        let suites = mirrors.suites("trixie").into_iter();
        assert!(
            suites
                .into_iter()
                .all(|(_, suite)| suite != "trixie-security")
        );
    }
}
