//! Whether the cluster would let this node in: asked of its server before and while k3s tries to join.
//!
//! k3s' agent does the same first steps (its pkg/clientaccess/token.go): it gets the cluster's authority from `/cacerts`, compares
//! it with the token's hash, and asks for `/v1-k3s/config` with the token. It asks through its own proxy at 127.0.0.1, so that
//! is the name that the server's certificate must have, whatever `k3s_url` calls the server. Its log says of a failure what
//! failed, and not always why; the answers do.

use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::client::{Client, FetchError, authorities, certificates};
use crate::k3s_url::K3sUrl;
use crate::token::Token;

/// As long as k3s waits for an answer.
const TRY: Duration = Duration::from_secs(10);

/// Why this node is not in its cluster. No text has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection.
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
    /// The token's hash is of another authority.
    #[error(
        "the token is one of another cluster than {0}: it names the authority {1}, and that of the server is {2}; next: put the \
         token of this cluster into the node's group as `k3s_token`, or correct `k3s_url`"
    )]
    OtherCluster(String, String, String),
    /// The server's certificate is not by the authority that it names.
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
    /// 401.
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
    /// What k3s says itself.
    #[error("k3s says: {0}; next: look at `journalctl -u k3s-agent`")]
    K3s(String),
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
    /// Of the bytes that the server sent.
    digest: String,
}

impl Bundle {
    fn parse(pem: &[u8]) -> Result<Self, FetchError> {
        // Refuses what is not a certificate.
        authorities(pem)?;
        let certificates =
            certificates(pem).map_err(|error| FetchError::Setup(error.to_string()))?;
        Ok(Self {
            certificates,
            digest: digest(pem),
        })
    }

    /// Those of them that the token lets a node believe in, or the hash that it has instead. The hash of one certificate is that of
    /// the bytes that the server sends, the hash of several that of the root among them (k3s' `hashCA`). Nothing here says which
    /// that is, so only the certificate that has the token's hash is believed.
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
