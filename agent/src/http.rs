//! HTTP for optional information, which must never hold up the work: short time-outs, small answers.

use std::time::Duration;

use gild_http::{Access, RefusedCertificate};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::runtime::Runtime;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No runtime.
    #[error("{0}")]
    Setup(String),
    /// No connection, or no answer in time.
    #[error("{0}")]
    Request(String),
    /// The certificate does not prove that this is the server.
    #[error("the server's certificate is refused: {0}; next: {next}", next = .0.next_step("`ca` in gild.toml"))]
    Certificate(RefusedCertificate),
    /// The server refused with this status.
    #[error("the server answers {0}")]
    Status(reqwest::StatusCode),
    /// The answer is too long.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The answer is not text.
    #[error("the answer is not text")]
    NotText,
}

/// reqwest's own text leaves out the cause. It also has the address in it, which may hold a password.
impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        match RefusedCertificate::behind(&error) {
            Some(refused) => Self::Certificate(refused),
            None => Self::Request(gild_faults::message(&error)),
        }
    }
}

impl From<gild_http::HttpError> for HttpError {
    fn from(error: gild_http::HttpError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<std::io::Error> for HttpError {
    fn from(error: std::io::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// The answer to a GET.
pub fn get(access: &Access, url: &Url) -> Result<String, HttpError> {
    let answer = get_within(access, url, WHOLE)?;
    String::from_utf8(answer).map_err(|_| HttpError::NotText)
}

/// The answer with any bytes. After this time it gives up, with everything that it waits for.
pub fn get_within(access: &Access, url: &Url, time: Duration) -> Result<Vec<u8>, HttpError> {
    let runtime = runtime()?;
    let answer = runtime.block_on(async {
        let request = client(access)?.get(url.clone()).timeout(time);
        let mut answer = accepted(request).await?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                return Err(HttpError::TooLong);
            }
        }
        Ok(body)
    });
    // A normal end would wait for the look-up of a name.
    runtime.shutdown_background();
    answer
}

/// Posts to a server whose certificate is signed by one of these authorities or a public one, and keeps the connection.
pub struct Poster {
    runtime: Runtime,
    client: Client,
}

impl Poster {
    /// Does not connect yet.
    pub fn new(authorities: Option<&str>) -> Result<Self, HttpError> {
        Ok(Self {
            runtime: runtime()?,
            client: client(&Access::new(authorities, None)?)?,
        })
    }

    /// Posts JSON with this header. It does not read the answer.
    pub fn post_json(
        &self,
        url: &Url,
        header: Option<(&str, String)>,
        json: &str,
    ) -> Result<(), HttpError> {
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(json.to_owned());
        self.runtime.block_on(accepted(request))?;
        Ok(())
    }
}

async fn accepted(request: reqwest::RequestBuilder) -> Result<reqwest::Response, HttpError> {
    let answer = request.send().await?;
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(HttpError::Status(answer.status()))
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn client(access: &Access) -> Result<Client, HttpError> {
    Ok(access
        .client()
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .build()?)
}
