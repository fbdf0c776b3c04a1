//! Which certificate authorities to trust, and the header that gives access.

use std::sync::Arc;

use gild_card_format::Header;
use gild_source::{PROBE_AFTER, PROBE_EVERY, PROBES, UNACKNOWLEDGED};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::{ClientConfig, RootCertStore};

use crate::HttpError;
use crate::pem::{GIVE_PEM, certificates};

/// Whom to believe, and what lets a reader in.
#[derive(Clone, Debug)]
pub struct Access {
    tls: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    header: Option<Header>,
}

impl Access {
    /// The reader trusts public authorities and the site's own: certificates in PEM form. The header goes to servers of images.
    pub fn new(authorities: Option<&str>, header: Option<&Header>) -> Result<Self, HttpError> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let own = authorities.map(|pem| certificates(pem.as_bytes()));
        let own = own.transpose().map_err(|error| {
            HttpError::Setup(format!(
                "a certificate in `ca` cannot be used: {error}; next: {GIVE_PEM}"
            ))
        })?;
        for certificate in own.unwrap_or_default() {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let roots = Arc::new(roots);
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| HttpError::Setup(error.to_string()))?
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(tls),
            roots,
            header: header.cloned(),
        })
    }

    /// The authorities that are believed.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// A client that believes them, follows no redirect by itself and asks for one thing at a time.
    pub fn client(&self) -> ClientBuilder {
        Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
            .redirect(redirect::Policy::none())
            // The environment of a shell is not for this.
            .no_proxy()
            .tcp_keepalive(PROBE_AFTER)
            .tcp_keepalive_interval(PROBE_EVERY)
            .tcp_keepalive_retries(PROBES)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("gild/", env!("CARGO_PKG_VERSION")))
    }

    /// The headers of a request to a server of images.
    pub(crate) fn headers(&self) -> Result<HeaderMap, HttpError> {
        let mut headers = HeaderMap::new();
        if let Some(header) = &self.header {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_str(&header.value);
            let (Ok(name), Ok(mut value)) = (name, value) else {
                return Err(HttpError::Setup("`http.header` is not a header".to_owned()));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

fn unusable(error: &dyn std::fmt::Display) -> HttpError {
    HttpError::Setup(format!(
        "a certificate in `ca` cannot be used ({error}); next: check it with openssl x509 -noout -text"
    ))
}
