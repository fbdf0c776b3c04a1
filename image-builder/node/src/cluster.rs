//! Whether the cluster would let this node in: asked of its server before and while k3s tries to join.
//!
//! k3s' agent does the same first steps (its pkg/clientaccess/token.go): it gets the cluster's authority from `/cacerts`, compares
//! it with the token's hash, and asks for `/v1-k3s/config` with the token. Its log says of a failure what failed, and not always
//! why; the answers do.

use std::time::Duration;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::client::{Client, FetchError, authorities};
use crate::token::Token;

/// As long as k3s waits for an answer.
const TRY: Duration = Duration::from_secs(10);

/// Why this node is not in its cluster. No text has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection.
    #[error(
        "nothing answers at {0}: {1}; next: start the cluster's servers, let this node reach that port, or correct `k3s_url` in \
         Matchbox"
    )]
    Silent(String, String),
    /// Something else answers.
    #[error("what answers at {0} is not a server of k3s: {1}; next: correct `k3s_url` in Matchbox")]
    NotK3s(String, String),
    /// The token's hash is of another authority.
    #[error(
        "the token is one of another cluster than {0}: it names the authority {1}, and that of the server is {2}; next: put the \
         token of this cluster into Matchbox as `k3s_token`, or correct `k3s_url`"
    )]
    OtherCluster(String, String, String),
    /// The server's certificate does not fit.
    #[error(
        "the certificate of {0} does not fit: {1}; next: name this address to the cluster's servers with --tls-san, or correct \
         `k3s_url` in Matchbox"
    )]
    Certificate(String, String),
    /// 401.
    #[error(
        "the cluster at {0} does not take the token: it is wrong, or it has expired; next: put a valid one into Matchbox as \
         `k3s_token`"
    )]
    Token(String),
    /// Any other answer.
    #[error("the cluster's server at {0} answers {1}; next: look at the server's own log")]
    Status(String, u16),
    /// The name is taken.
    #[error(
        "the cluster knows another node as {0} (k3s: Node password rejected); next: run `kubectl delete node {0}` if that node is \
         gone, or correct `hostname` or `k3s_node_password` in Matchbox"
    )]
    Name(String),
    /// What k3s says itself.
    #[error("k3s says: {0}; next: look at `journalctl -u k3s-agent`")]
    K3s(String),
}

/// Asks the cluster's server whether a node with this token may join.
pub fn look(server: &str, token: &Token) -> Result<(), Trouble> {
    let named = |error: FetchError| trouble(server, &error);
    let base =
        Url::parse(server).map_err(|error| Trouble::NotK3s(server.into(), error.to_string()))?;
    let at = |path: &str| {
        let mut url = base.clone();
        url.set_path(path);
        url
    };
    let anybody = Client::trusting_anybody().map_err(named)?;
    let bundle = anybody.get(&at("/cacerts"), TRY).map_err(named)?;
    let client = match authority(bundle.as_bytes(), token) {
        Ok(roots) => Client::trusting(roots).map_err(named)?,
        // k3s compares no hash where a public authority vouches for the server.
        Err(refused) => {
            let public = Client::new(None).map_err(named)?;
            public
                .get(&at("/cacerts"), TRY)
                .map_err(|_| refused.at(server))?;
            public
        }
    };
    let answer = client.get_as(&at("/v1-k3s/config"), token.credentials(), TRY);
    answer.map(drop).map_err(named)
}

fn trouble(server: &str, error: &FetchError) -> Trouble {
    let at = server.to_owned();
    match error {
        FetchError::Status(401 | 403) => Trouble::Token(at),
        FetchError::Status(404) => Trouble::NotK3s(at, "it has no such page".to_owned()),
        FetchError::Status(status) => Trouble::Status(at, *status),
        FetchError::NotValidYet | FetchError::Certificate(_) => {
            Trouble::Certificate(at, error.to_string())
        }
        FetchError::TooLong | FetchError::NotText => Trouble::NotK3s(at, error.to_string()),
        FetchError::Setup(_) | FetchError::Request(_) => Trouble::Silent(at, error.to_string()),
    }
}

/// Why a server's authority is not believed.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It sends no certificates.
    NoAuthority(String),
    /// The token names another: its hash, and the server's.
    Other(String, String),
}

impl Refused {
    fn at(self, server: &str) -> Trouble {
        let server = server.to_owned();
        match self {
            Self::NoAuthority(why) => Trouble::NotK3s(server, why),
            Self::Other(token, found) => Trouble::OtherCluster(server, token, found),
        }
    }
}

/// The authorities of a server that sends this bundle, as far as the token lets a node believe in them. The hash of one
/// certificate is that of the bundle's bytes, the hash of several that of the root among them (k3s' `hashCA`). Nothing here tells
/// which that is, so only the certificate that has the token's hash is believed.
fn authority(bundle: &[u8], token: &Token) -> Result<RootCertStore, Refused> {
    let all = authorities(bundle).map_err(|error| Refused::NoAuthority(error.to_string()))?;
    let Some(wanted) = token.authority() else {
        return Ok(all);
    };
    let found = digest(bundle);
    if found == wanted && all.len() == 1 {
        return Ok(all);
    }
    let root = CertificateDer::pem_slice_iter(bundle)
        .flatten()
        .find(|certificate| all.len() > 1 && digest(certificate) == wanted)
        .ok_or_else(|| Refused::Other(wanted.to_owned(), found))?;
    let mut roots = RootCertStore::empty();
    let added = roots.add(root);
    added.map_err(|error| Refused::NoAuthority(error.to_string()))?;
    Ok(roots)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
