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
