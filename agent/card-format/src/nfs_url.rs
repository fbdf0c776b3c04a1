//! The address of a directory on an NFS server.

use std::fmt;

use crate::host::check_host;
use crate::percent;

/// `nfs://host[:port]/export/path[?mountport=N]`.
///
/// The path may have spaces and letters of all languages in it as they are, or `%` and two hexadecimal digits for each
/// byte, as addresses elsewhere have them.
///
/// Without a port the server's portmapper is asked. With a port, that is where NFS is spoken, and
/// where the MOUNT service is looked for first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NfsUrl {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port of the NFS service.
    pub port: Option<u16>,
    /// The directory as the server knows it: absolute, without a slash at its end unless it is the root.
    pub path: String,
    /// The port of the MOUNT service.
    pub mount_port: Option<u16>,
}

/// The address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not the address of an NFS share: {reason}")]
pub struct NfsUrlError {
    /// As it was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl NfsUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, NfsUrlError> {
        parse(text).map_err(|reason| NfsUrlError {
            url: text.to_owned(),
            reason,
        })
    }

    /// The address of `name` inside this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self {
            path: self.path_of(name),
            ..self.clone()
        }
    }

    /// The folder that the address of a file names, and the file's name there.
    #[must_use]
    pub fn split(mut self) -> Option<(Self, String)> {
        let (folder, name) = self.path.rsplit_once('/')?;
        if name.is_empty() {
            return None;
        }
        let name = name.to_owned();
        self.path = if folder.is_empty() { "/" } else { folder }.to_owned();
        Some((self, name))
    }

    /// The path of `name` inside this directory.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        format!(
            "{}/{}",
            self.path.trim_end_matches('/'),
            name.trim_matches('/')
        )
    }
}

fn parse(text: &str) -> Result<NfsUrl, String> {
    let rest = text
        .strip_prefix("nfs://")
        .ok_or_else(|| format!("it does not start with nfs://; next: write {}", meant(text)))?;
    if rest.ends_with(char::is_whitespace) {
        return Err(
            "a space follows it; next: take it away, or write %20 if the folder has it in its name"
                .to_owned(),
        );
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let slash = rest
        .find('/')
        .ok_or("it names no directory; next: write nfs://host/export/path")?;
    let (host, port) = split_authority(&rest[..slash])?;
    let path = normal_path(&rest[slash..])?;
    let mount_port = query.map(mount_port).transpose()?;
    Ok(NfsUrl {
        host,
        port,
        path,
        mount_port,
    })
}

/// The right form of what was typed, as far as that is clear: `host:/path` as mount has it, another scheme, or none.
/// Anything else is not repeated, because it may hold a password.
fn meant(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = rest
        .split_once(":/")
        .or_else(|| rest.split_once('/'))
        .unwrap_or_default();
    let has_only = |part: &str, marks: &[u8]| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
    };
    if host != "nfs" && has_only(host, b".-") && has_only(path, b"._-/") {
        format!("nfs://{host}/{path}")
    } else {
        "nfs://host/export/path".to_owned()
    }
}

fn split_authority(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        let port = match rest {
            "" => None,
            _ => Some(
                rest.strip_prefix(':')
                    .ok_or("only a port may follow the address")?,
            ),
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    check_host(host)?;
    Ok((host.to_owned(), port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("`{text}` is not a port: a number from 1 to 65535"))
}

fn mount_port(query: &str) -> Result<u16, String> {
    let port = query
        .strip_prefix("mountport=")
        .ok_or_else(|| format!("`{query}` is unknown: only ?mountport=N may follow the path"))?;
    parse_port(port)
}

fn normal_path(text: &str) -> Result<String, String> {
    let mut path = String::new();
    for part in text.split('/').filter(|part| !part.is_empty()) {
        let part = percent::decoded(part)?;
        if part == "." || part == ".." {
            return Err(format!("`{part}` may not be part of the path"));
        }
        if part.contains(['/', '\0']) {
            return Err("no name in the path can have a slash or a zero byte in it".to_owned());
        }
        path.push('/');
        path.push_str(&part);
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

impl fmt::Display for NfsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "nfs://[{}]", self.host)?;
        } else {
            write!(f, "nfs://{}", self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        percent::write(f, &self.path)?;
        if let Some(port) = self.mount_port {
            write!(f, "?mountport={port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::NfsUrl;

    fn reason(text: &str) -> String {
        NfsUrl::parse(text)
            .expect_err("the address is wrong")
            .to_string()
    }

    #[test]
    fn an_address_is_read_and_written_back() {
        for text in [
            "nfs://server/srv/gild",
            "nfs://10.0.2.2:2049/gild",
            "nfs://10.0.2.2:2049/gild?mountport=20048",
            "nfs://[fd00::1]:2049/gild",
            "nfs://[fe80::1%eth0]/",
            "nfs://server/",
            "nfs://nas/My%20Share/Größe",
            "nfs://nas/100%25/really%3F?mountport=20048",
        ] {
            let url = NfsUrl::parse(text).expect("the address is right");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn a_space_and_letters_of_all_languages_can_be_written_in_two_ways() {
        for text in [
            "nfs://nas/My Share/Größe",
            "nfs://nas/My%20Share/Gr%c3%B6%C3%9Fe",
        ] {
            let url = NfsUrl::parse(text).expect("the address is right");
            assert_eq!(url.path, "/My Share/Größe");
            assert_eq!(url.to_string(), "nfs://nas/My%20Share/Größe");
        }
    }

    #[test]
    fn slashes_do_not_count_and_the_root_can_be_joined() {
        let url = NfsUrl::parse("nfs://server//srv/gild//").expect("right");
        assert_eq!(url.path, "/srv/gild");
        assert_eq!(url.join("rpi5/").to_string(), "nfs://server/srv/gild/rpi5");
        let root = NfsUrl::parse("nfs://server/").expect("right");
        assert_eq!(root.join("rpi5").to_string(), "nfs://server/rpi5");
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        assert!(reason("http://server/x").contains("does not start with nfs://"));
        for (typed, right) in [
            ("192.168.1.10:/srv/x", "nfs://192.168.1.10/srv/x"),
            ("http://server/x", "nfs://server/x"),
            ("server/srv/gild", "nfs://server/srv/gild"),
            ("nfs:/server/x", "nfs://host/export/path"),
            ("server", "nfs://host/export/path"),
            ("http://me:secret@server/x", "nfs://host/export/path"),
            ("http://server/x?token=secret", "nfs://host/export/path"),
        ] {
            let said = reason(typed);
            assert!(said.ends_with(&format!("; next: write {right}")), "{said}");
        }
        assert!(reason("nfs://server").contains("names no directory"));
        assert!(reason("nfs:///x").contains("names no host"));
        assert!(reason("nfs://server:0/x").contains("`0` is not a port"));
        assert!(reason("nfs://server:70000/x").contains("`70000` is not a port"));
        assert!(reason("nfs://me@server/x").contains("not a host name"));
        assert!(reason("nfs://a\u{200b}b/x").contains("not a host name"));
        assert!(reason("nfs://192.168.001.010/x").contains("reads alike"));
        assert!(reason("nfs://server/srv ").contains("a space follows it"));
        assert!(reason("nfs://server/srv\u{a0}").contains("a space follows it"));
        assert!(reason("nfs://[::1/x").contains("not closed"));
        assert!(reason("nfs://server/a/../b").contains("`..` may not"));
        assert!(reason("nfs://server/a/%2e%2E/b").contains("`..` may not"));
        assert!(reason("nfs://server/a%2Fb").contains("a slash or a zero byte"));
        assert!(reason("nfs://server/a%00b").contains("a slash or a zero byte"));
        for path in ["100%", "50% off", "%zz", "%+1", "%é"] {
            let said = reason(&format!("nfs://server/{path}"));
            assert!(
                said.ends_with("; next: write %25 for a percent sign"),
                "{said}"
            );
        }
        assert!(reason("nfs://server/%ff").contains("is not UTF-8"));
        assert!(reason("nfs://server/x?vers=3").contains("`vers=3` is unknown"));
    }
}
