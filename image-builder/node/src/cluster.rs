//! Whether the cluster would let this node in. The node asks a server of the cluster before k3s tries to join, and while it tries.
//!
//! The agent of k3s takes the same first steps (its pkg/clientaccess/token.go): it gets the cluster's authority from `/cacerts`, compares
//! it with the token's hash, and asks for `/v1-k3s/config` with the token. It asks through its own proxy at 127.0.0.1. So the server's
//! certificate must have that name, whatever `k3s_url` calls the server. The agent's log says which step failed, but not always why. The
//! answers to these requests say why.

use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::client::{Client, FetchError, authorities, certificates};
use crate::k3s_url::K3sUrl;
use crate::token::Token;

/// As long as k3s itself waits for an answer.
const TRY: Duration = Duration::from_secs(10);

/// Why this node is not in its cluster. No message has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no connection.
    #[error(
        "nothing answers at {0}: {1}; next: start the cluster's servers, let this machine reach that port, or correct \
         `k3s_url`"
    )]
    Silent(String, String),
    /// Something else answers.
    #[error(
        "what answers at {0} is not a server of k3s: {1}; next: correct `k3s_url` in the node's group"
    )]
    NotK3s(String, String),
    /// The token's hash belongs to another authority.
    #[error(
        "the token is one of another cluster than {0}: it names the authority {1}, and that of the server is {2}; next: put the \
         token of this cluster into the node's group as `k3s_token`, or correct `k3s_url`"
    )]
    OtherCluster(String, String, String),
    /// The server's certificate was not signed by the authority that the server names.
    #[error(
        "the certificate of {0} does not fit: {1}; next: look whether `k3s_url` in the node's group leads to the cluster's servers, and \
         whether this node's clock is right (`date`)"
    )]
    Certificate(String, String),
    /// The server's certificate begins in the future.
    #[error(
        "the certificate of {0} is not valid yet by this node's clock; next: let this node reach a time server, or correct the \
         clock of the cluster's servers"
    )]
    Clock(String),
    /// Status 401.
    #[error(
        "the cluster at {0} does not take the token: it is wrong, or it has expired; next: put a valid one into the node's group as \
         `k3s_token`"
    )]
    Token(String),
    /// Any other answer.
    #[error("the cluster's server at {0} answers {1}; next: look at the server's own log")]
    Status(String, u16),
    /// The name is taken.
    #[error(
        "the cluster knows another node as {0} (k3s: Node password rejected); next: run `kubectl delete node {0}` if that node is \
         gone, or correct `hostname` or `k3s_node_password` in the node's group"
    )]
    Name(String),
    /// Another cause, in k3s' own words.
    #[error("k3s says: {0}; next: look at `journalctl -u k3s-agent`")]
    K3s(String),
}

impl Trouble {
    /// Whether the cure is in the node's group at the metadata server.
    #[must_use]
    pub const fn is_of_group(&self) -> bool {
        matches!(
            self,
            Self::NotK3s(..)
                | Self::OtherCluster(..)
                | Self::Certificate(..)
                | Self::Token(_)
                | Self::Name(_)
        )
    }

    /// What is wrong, without what to do about it where nodes have groups.
    #[must_use]
    pub fn what(&self) -> String {
        let said = self.to_string();
        said.split_once("; next: ")
            .map_or_else(|| said.clone(), |(what, _)| what.to_owned())
    }
}

/// Asks the cluster's server whether a node with this token may join, and gives the certificates of its authority.
pub fn look(server: &K3sUrl, token: &Token) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let named = |error: FetchError| trouble(server, &error);
    let anybody = Client::trusting_anybody().map_err(named)?;
    let bundle = anybody.get(&server.page("/cacerts"), TRY).map_err(named)?;
    let bundle = Bundle::parse(bundle.as_bytes())
        .map_err(|error| Trouble::NotK3s(server.to_string(), error.to_string()))?;
    let roots = bundle.roots(token).map_err(|wanted| {
        Trouble::OtherCluster(server.to_string(), wanted, bundle.digest.clone())
    })?;
    let client = Client::of_cluster(roots, bundle.certificates.clone()).map_err(named)?;
    client
        .get_as(&server.page("/v1-k3s/config"), token.credentials(), TRY)
        .map_err(named)?;
    Ok(bundle.certificates)
}

fn trouble(server: &K3sUrl, error: &FetchError) -> Trouble {
    let at = server.to_string();
    match error {
        FetchError::Status(401 | 403) => Trouble::Token(at),
        FetchError::Status(404) => Trouble::NotK3s(at, "it has no such page".to_owned()),
        FetchError::Status(status) => Trouble::Status(at, *status),
        FetchError::NotValidYet => Trouble::Clock(at),
        FetchError::Certificate(refused) => Trouble::Certificate(at, refused.to_string()),
        FetchError::TooLong | FetchError::NotText => Trouble::NotK3s(at, error.to_string()),
        FetchError::Setup(_) | FetchError::Request(_) => Trouble::Silent(at, error.to_string()),
    }
}

/// The certificates that a server says its authority has.
struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    /// The hash of the bytes that the server sent.
    digest: String,
}

impl Bundle {
    fn parse(pem: &[u8]) -> Result<Self, FetchError> {
        // This refuses anything that is not a certificate.
        authorities(pem)?;
        let certificates =
            certificates(pem).map_err(|error| FetchError::Setup(error.to_string()))?;
        Ok(Self {
            certificates,
            digest: digest(pem),
        })
    }

    /// The certificates that this token lets a node trust, or else the hash that was not found. If there is one certificate, the token's
    /// hash is that of all bytes from the server. If there are several, it is that of the root among them (k3s' `hashCA`). Nothing else
    /// says which one is the root, so only the certificate with the token's hash is trusted.
    fn roots(&self, token: &Token) -> Result<RootCertStore, String> {
        let believed = match (token.authority(), &self.certificates[..]) {
            (None, all) => all,
            (Some(wanted), one @ [_]) if wanted == self.digest => one,
            (Some(wanted), all) => {
                let root = all.iter().filter(|_| all.len() > 1);
                let root = root.clone().find(|root| digest(root) == wanted);
                std::slice::from_ref(root.ok_or(wanted)?)
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(believed.iter().cloned());
        Ok(roots)
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
