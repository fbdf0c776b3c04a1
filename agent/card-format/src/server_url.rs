//! Where images are published: a directory on a server.

use std::fmt;

use crate::http_url::HttpUrl;
use crate::nfs_url::NfsUrl;

/// A directory on a server, by the protocol that it is read with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerUrl {
    /// NFS version 3.
    Nfs(NfsUrl),
    /// HTTP or HTTPS.
    Http(HttpUrl),
}

impl ServerUrl {
    /// Reads an address. The error does not repeat what may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return HttpUrl::parse(text).map(Self::Http);
        }
        let scheme = text.split_once(":/").map(|(scheme, _)| scheme);
        if let Some(scheme @ ("nfs" | "http" | "https")) = scheme
            && !text.contains("://")
        {
            return Err(format!(
                "it has one slash where two belong; next: write {scheme}://, the server and the path"
            ));
        }
        if text.contains("://") && !text.starts_with("nfs://") {
            return Err(
                "gild reads images over NFS and HTTP; next: write an address that starts with nfs://, https:// or http://"
                    .to_owned(),
            );
        }
        NfsUrl::parse(text)
            .map(Self::Nfs)
            .map_err(|error| error.reason)
    }

    /// The address of `name` inside this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Nfs(url) => Self::Nfs(url.join(name)),
            Self::Http(url) => Self::Http(url.join(name)),
        }
    }

    /// The folder that the address of a file names, and the file's name there. `None` if it names no file.
    #[must_use]
    pub fn split(self) -> Option<(Self, String)> {
        match self {
            Self::Nfs(url) => url.split().map(|(url, name)| (Self::Nfs(url), name)),
            Self::Http(url) => url.split().map(|(url, name)| (Self::Http(url), name)),
        }
    }

    /// The host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Nfs(url) => &url.host,
            Self::Http(url) => url.host(),
        }
    }

    /// Whether a certificate is judged, by the clock.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Nfs(_) => false,
            Self::Http(url) => url.is_encrypted(),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nfs(url) => url.fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    #[test]
    fn another_protocol_is_refused_with_those_that_are_read() {
        let reason = ServerUrl::parse("ftp://nas/gild").expect_err("FTP");
        for protocol in ["nfs://", "https://", "http://"] {
            assert!(reason.contains(protocol), "{reason}");
        }
    }

    #[test]
    fn a_slash_that_is_missing_is_said() {
        for scheme in ["nfs", "http", "https"] {
            let reason = ServerUrl::parse(&format!("{scheme}:/nas/gild")).expect_err("one slash");
            assert!(
                reason.contains(&format!("next: write {scheme}://")),
                "{reason}"
            );
        }
    }

    #[test]
    fn an_address_is_taken_apart_into_a_folder_and_a_name() {
        let parts = |address| {
            let url = ServerUrl::parse(address).expect("an address");
            let (folder, name) = url.clone().split()?;
            assert_eq!(folder.join(&name), url);
            Some((folder.to_string(), name))
        };
        let expected = |folder: &str, name: &str| Some((folder.to_owned(), name.to_owned()));
        for (address, folder, name) in [
            (
                "nfs://nas/My Share/a%20b.json?mountport=5",
                "nfs://nas/My%20Share?mountport=5",
                "a b.json",
            ),
            ("nfs://nas/golden.json", "nfs://nas/", "golden.json"),
            (
                "https://a/b%20c/d%20e.json?x=1",
                "https://a/b%20c?…",
                "d e.json",
            ),
            ("http://a/golden.json", "http://a/", "golden.json"),
        ] {
            assert_eq!(parts(address), expected(folder, name), "{address}");
        }
        assert_eq!(parts("nfs://nas/"), None);
        assert_eq!(parts("https://a/b/"), None);
        assert_eq!(parts("https://a"), None);
    }
}
