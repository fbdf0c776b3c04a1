//! HTTP for optional information, which must never hold up the work: short time-outs, small answers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// A request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No TLS, no runtime.
    #[error("{0}")]
    Setup(String),
    /// No connection, or no answer in time.
    #[error("{0}")]
    Request(String),
    /// The server refuses.
    #[error("the server answers {0}")]
    Status(reqwest::StatusCode),
    /// The answer has no end.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The answer is not text.
    #[error("the answer is not text")]
    NotText,
}

/// reqwest's own text leaves out why, and has the address in it, which may hold a password.
impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Request(gild_faults::message(&error.without_url()))
    }
}

impl From<std::io::Error> for HttpError {
    fn from(error: std::io::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<rustls::Error> for HttpError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// The answer to a GET.
pub fn get(url: &str) -> Result<String, HttpError> {
    block_on(async {
        let mut answer = accepted(client()?.get(url)).await?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                return Err(HttpError::TooLong);
            }
        }
        String::from_utf8(body).map_err(|_| HttpError::NotText)
    })
}

/// Posts JSON; the answer is not read.
pub fn post_json(url: &str, json: String) -> Result<(), HttpError> {
    block_on(async {
        let request = client()?
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(json);
        accepted(request).await?;
        Ok(())
    })
}

async fn accepted(request: reqwest::RequestBuilder) -> Result<reqwest::Response, HttpError> {
    let answer = request.send().await?;
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(HttpError::Status(answer.status()))
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// A client with roots of its own: the card has no /etc/ssl.
fn client() -> Result<reqwest::Client, HttpError> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_root_certificates(roots)
    .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}
