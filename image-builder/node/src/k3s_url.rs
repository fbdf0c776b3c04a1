//! The address of a cluster's servers.

use std::fmt;

use reqwest::Url;

use crate::reach::Reach;

/// `https://host:port`. k3s gets it exactly as written, because a parsed URL does not show the default port of its scheme: k3s takes 443
/// for an address without a port, but its servers listen on 6443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct K3sUrl {
    text: String,
    url: Url,
}

impl K3sUrl {
    /// Reads an address and refuses parts that would be ignored. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character that does not belong in a URL");
        }
        let Ok(url) = Url::parse(text) else {
            return Err("is not a URL: it must be https://host:6443");
        };
        if url.scheme() != "https" {
            return Err("must begin with https://: the token goes there");
        }
        if !url.has_host() || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err("must be https://host:port and nothing after it");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must not hold a user, a password or a fragment");
        }
        if url.port() == Some(0) {
            return Err("has the port 0");
        }
        if Reach::of(&url) == Reach::Itself {
            return Err(
                "is an address of the node itself, and the cluster's servers are elsewhere",
            );
        }
        if !has_port(text) {
            return Err(
                "has no port, and k3s would take 443: write https://host:6443, or :443 if that is meant",
            );
        }
        let text = text.trim_end_matches('/').to_owned();
        Ok(Self { text, url })
    }

    /// The address of a stand-in on this machine. A real node could not have it.
    #[cfg(test)]
    pub(crate) fn of_stand_in(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            url: Url::parse(text).expect("a URL"),
        }
    }

    /// The address, as k3s takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address of a page on this server.
    #[must_use]
    pub fn page(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

impl fmt::Display for K3sUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn has_port(url: &str) -> bool {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split('/').next()?.rsplit_once(':'))
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_s_address_has_a_port() {
        for (text, server) in [
            ("https://k:6443/", "https://k:6443"),
            ("https://k:443", "https://k:443"),
            ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ] {
            assert_eq!(K3sUrl::parse(text).as_ref().map(K3sUrl::as_str), Ok(server));
        }
        for text in ["https://k", "https://k:", "https://[fd00::1]", "https://k/"] {
            let problem = K3sUrl::parse(text).expect_err(text);
            assert!(problem.contains("no port"), "{text}: {problem}");
        }
    }
}
