//! HTTP to one server: few bytes, short waits, and no redirect to another server.

mod verifier;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gild_http::RefusedCertificate;
pub use gild_http::certificates;
use gild_report::{PROOF_HEADER, Proof};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Url};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::token::Credentials;
use verifier::OfCluster;

const CONNECT: Duration = Duration::from_secs(5);
/// The same for a report, because nothing depends on it.
const HASTY_CONNECT: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;
const MAX_REDIRECTS: usize = 3;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The certificate authority's file cannot be used, or there is no TLS.
    #[error("{0}")]
    Setup(String),
    /// No connection, or no answer in time.
    #[error("{0}")]
    Request(String),
    /// The server's certificate does not fit.
    #[error("the server's certificate is refused: {0}")]
    Certificate(RefusedCertificate),
    /// The server's certificate is not valid yet by this node's clock, which may be wrong.
    #[error("the server's certificate is not valid yet by this node's clock")]
    NotValidYet,
    /// The server refused with this status.
    #[error("the server answers {0}")]
    Status(u16),
    /// The answer is too long.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The answer is not text.
    #[error("the answer is not text")]
    NotText,
}

/// reqwest's own text leaves out the cause.
impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        match RefusedCertificate::behind(&error) {
            Some(refused) if refused.is_not_valid_yet() => Self::NotValidYet,
            Some(refused) => Self::Certificate(refused),
            None => Self::Request(gild_faults::message(&error)),
        }
    }
}

/// A client of one server.
pub struct Client {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client that trusts only this authority, or the public ones if there is none.
    pub fn new(ca: Option<&Path>) -> Result<Self, FetchError> {
        Self::trusting(roots(ca)?)
    }

    /// A client that trusts only these authorities.
    pub fn trusting(roots: RootCertStore) -> Result<Self, FetchError> {
        let tls = tls()?.with_root_certificates(roots);
        Self::with(tls.with_no_client_auth(), CONNECT, to_the_same_server())
    }

    /// A client for reports. It trusts as `new` does, but gives up sooner. It follows no redirect, because the page behind it would answer
    /// another question.
    pub fn hasty(ca: Option<&Path>) -> Result<Self, FetchError> {
        let tls = tls()?.with_root_certificates(roots(ca)?);
        Self::with(tls.with_no_client_auth(), HASTY_CONNECT, Policy::none())
    }

    /// A client that accepts any server. It must send no secret, and its answers must not be trusted.
    pub fn trusting_anybody() -> Result<Self, FetchError> {
        Self::verifying(OfCluster::not_known_yet())
    }

    /// A client of the cluster with these authorities. The bundle may also have the certificates between an authority and a server.
    pub fn of_cluster(
        roots: RootCertStore,
        bundle: Vec<CertificateDer<'static>>,
    ) -> Result<Self, FetchError> {
        let verifier = OfCluster::of(roots, bundle);
        Self::verifying(verifier.map_err(|error| FetchError::Setup(error.to_string()))?)
    }

    fn verifying(verifier: OfCluster) -> Result<Self, FetchError> {
        let tls = tls()?.dangerous();
        let tls = tls.with_custom_certificate_verifier(Arc::new(verifier));
        Self::with(tls.with_no_client_auth(), CONNECT, to_the_same_server())
    }

    fn with(tls: ClientConfig, connect: Duration, redirect: Policy) -> Result<Self, FetchError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(connect)
            .redirect(redirect)
            .no_proxy()
            .build()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| FetchError::Setup(error.to_string()))?;
        Ok(Self { client, runtime })
    }

    /// The answer to a GET.
    pub fn get(&self, url: &Url, time: Duration) -> Result<String, FetchError> {
        self.fetch(self.client.get(url.clone()).timeout(time))
    }

    /// The answer to a GET request that shows this node's proof, if there is one.
    pub fn get_with(
        &self,
        url: &Url,
        proof: Option<&Proof>,
        time: Duration,
    ) -> Result<String, FetchError> {
        self.fetch(showing(self.client.get(url.clone()), proof)?.timeout(time))
    }

    /// Posts a report and returns the server's status. After this time it gives up, with everything that it waits for.
    pub fn post(
        self,
        url: &Url,
        proof: Option<&Proof>,
        report: String,
        time: Duration,
    ) -> Result<u16, FetchError> {
        let request = showing(self.client.post(url.clone()), proof)?
            .header(CONTENT_TYPE, "application/json")
            .body(report)
            .timeout(time);
        let answer = self.runtime.block_on(async { request.send().await });
        // A normal end would wait for the look-up of a name.
        self.runtime.shutdown_background();
        Ok(answer?.status().as_u16())
    }

    /// The answer to a GET request with these credentials.
    pub fn get_as(
        &self,
        url: &Url,
        credentials: Credentials<'_>,
        time: Duration,
    ) -> Result<String, FetchError> {
        let request = self.client.get(url.clone()).timeout(time);
        self.fetch(match credentials {
            Credentials::Password(password) => request.basic_auth("node", Some(password)),
            Credentials::Bearer(token) => request.bearer_auth(token),
        })
    }

    fn fetch(&self, request: RequestBuilder) -> Result<String, FetchError> {
        self.runtime.block_on(async {
            let mut answer = request.send().await?;
            if !answer.status().is_success() {
                return Err(FetchError::Status(answer.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(part) = answer.chunk().await? {
                body.extend_from_slice(&part);
                if body.len() > MAX_ANSWER {
                    return Err(FetchError::TooLong);
                }
            }
            String::from_utf8(body).map_err(|_| FetchError::NotText)
        })
    }
}

/// Adds the proof as a header that the client's logs do not show.
fn showing(request: RequestBuilder, proof: Option<&Proof>) -> Result<RequestBuilder, FetchError> {
    let Some(proof) = proof else {
        return Ok(request);
    };
    let mut value = HeaderValue::from_str(proof.reveal())
        .map_err(|error| FetchError::Setup(error.to_string()))?;
    value.set_sensitive(true);
    Ok(request.header(PROOF_HEADER, value))
}

fn to_the_same_server() -> Policy {
    Policy::custom(|attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if is_same_server(&attempt.previous()[0], attempt.url()) {
            attempt.follow()
        } else {
            attempt.error("a redirect to another server, which this node does not follow")
        }
    })
}

fn tls() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, FetchError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Setup(error.to_string()))
}

fn is_same_server(first: &Url, next: &Url) -> bool {
    first.origin() == next.origin()
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, FetchError> {
    let Some(path) = ca else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let failed = |why: &dyn std::fmt::Display| {
        FetchError::Setup(format!("reading {}: {why}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| failed(&error))?;
    authorities(&pem).map_err(|error| failed(&error))
}

/// The certificate authorities in a PEM file. The builder of the image reads the file too, so that an error is found before a node needs
/// it.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, FetchError> {
    let failed = |why: &dyn std::fmt::Display| FetchError::Setup(why.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(|error| failed(&error))? {
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
