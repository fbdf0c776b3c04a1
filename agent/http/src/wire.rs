//! One connection: sends requests, follows redirects, and waits for as long as a server may take.

use std::ops::Range;
use std::pin::pin;
use std::time::{Duration, Instant};

use gild_source::{Options, Patience, TICK};
use reqwest::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, HeaderValue, IF_MATCH, LOCATION, RANGE,
};
use reqwest::{Client, Response, Url};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::access::Access;
use crate::{At, HttpError};

/// The client divides the time for a connection among the addresses of a name: two are common.
const ADDRESSES: u32 = 2;
/// In the time for an answer, at least as much of a body must come: a slower body counts as silence.
const LEAST: usize = 64 << 10;
/// More redirects than this are a loop.
const REDIRECTS: usize = 5;

/// One connection, made when it is first needed.
#[derive(Debug)]
pub struct Wire {
    runtime: Runtime,
    client: Client,
    /// Only for the server that they belong to.
    headers: HeaderMap,
    /// How long nothing may come.
    limit: Duration,
}

/// One question.
pub struct Question<'a> {
    /// What for.
    pub at: &'a At,
    /// The file.
    pub url: &'a Url,
    /// Where a redirect led before.
    pub known: Option<&'a Url>,
    /// A part of it.
    pub range: Option<Range<u64>>,
    /// Only this version.
    pub version: Option<&'a str>,
}

/// The beginning of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Status and headers are here, and the body is on its way.
    pub response: Response,
    /// Where it came from.
    pub from: Url,
    /// Since when so few bytes have come.
    since: Instant,
    come: usize,
}

impl Wire {
    pub fn new(access: &Access, options: Options) -> Result<Self, HttpError> {
        let setup = |error: &dyn std::fmt::Display| HttpError::Setup(error.to_string());
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| setup(&error))?,
            client: access
                .client()
                .connect_timeout(options.connect * ADDRESSES)
                .build()
                .map_err(|error| setup(&error))?,
            headers: access.headers()?,
            limit: options.answer,
        })
    }

    /// Asks, and goes where a redirect leads.
    pub fn ask(&self, question: &Question, patience: &dyn Patience) -> Result<Answer, HttpError> {
        self.runtime.block_on(async {
            let mut url = question.known.unwrap_or(question.url).clone();
            for _ in 0..=REDIRECTS {
                let response = self.ask_once(question, &url, patience).await?;
                if !response.status().is_redirection() {
                    return Ok(Answer {
                        response,
                        from: url,
                        since: Instant::now(),
                        come: 0,
                    });
                }
                patience.got_on();
                let location = response.headers().get(LOCATION);
                let location = location.and_then(|location| location.to_str().ok());
                url = led_to(location, &url).map_err(|reason| HttpError::Redirect {
                    at: question.at.clone(),
                    reason: reason.to_owned(),
                })?;
            }
            Err(HttpError::Redirect {
                at: question.at.clone(),
                reason: format!("more than {REDIRECTS} redirects"),
            })
        })
    }

    async fn ask_once(
        &self,
        question: &Question<'_>,
        url: &Url,
        patience: &dyn Patience,
    ) -> Result<Response, HttpError> {
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if url.origin() == question.url.origin() {
            request = request.headers(self.headers.clone());
        }
        if let Some(Range { start, end }) = question.range {
            request = request.header(RANGE, format!("bytes={start}-{}", end.saturating_sub(1)));
        } else {
            // A proxy may keep an old manifest beside a new signature. The image has a name of its own, and may be kept.
            request = request.header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(tag) = question.version {
            request = request.header(IF_MATCH, tag);
        }
        let result = self.in_time(request.send(), question.at, patience).await?;
        result.map_err(|error| HttpError::from_reqwest(error, question.at.clone()))
    }

    /// The next bytes of an answer's body.
    pub fn more(
        &self,
        answer: &mut Answer,
        at: &At,
        patience: &dyn Patience,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, HttpError> {
        self.runtime.block_on(async {
            let next = self.in_time(answer.response.chunk(), at, patience).await?;
            let next = next.map_err(|error| HttpError::from_reqwest(error, at.clone()))?;
            answer.come += next.as_deref().map_or(0, <[u8]>::len);
            if answer.come >= LEAST {
                (answer.since, answer.come) = (Instant::now(), 0);
            } else if next.is_some() && answer.since.elapsed() >= self.limit {
                return Err(HttpError::Lost {
                    at: at.clone(),
                    reason: format!("only {} bytes came in {:?}", answer.come, self.limit),
                    is_cut_off: false,
                });
            }
            Ok(next)
        })
    }

    /// The result of the work, unless the server is silent for too long.
    async fn in_time<F: Future>(
        &self,
        work: F,
        at: &At,
        patience: &dyn Patience,
    ) -> Result<F::Output, HttpError> {
        let mut work = pin!(work);
        let start = Instant::now();
        loop {
            if let Ok(output) = timeout(TICK.min(self.limit), work.as_mut()).await {
                return Ok(output);
            }
            let silence = start.elapsed();
            if silence >= self.limit {
                return Err(HttpError::Lost {
                    at: at.clone(),
                    reason: format!("no answer for {:?}", self.limit),
                    is_cut_off: false,
                });
            }
            if patience.is_over() {
                return Err(HttpError::Lost {
                    at: at.clone(),
                    reason: "other requests have waited for too long already".to_owned(),
                    is_cut_off: false,
                });
            }
            patience.waiting(at, silence);
        }
    }
}

/// Where a redirect leads.
fn led_to(location: Option<&str>, from: &Url) -> Result<Url, &'static str> {
    let url = location
        .and_then(|location| from.join(location).ok())
        .ok_or("a redirect leads nowhere")?;
    match (from.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => Ok(url),
        ("https", "http") => Err(
            "a redirect leads from https:// to http://, where no certificate proves who answers",
        ),
        _ => Err("a redirect leads to an address that is not http or https"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_leads_from_a_server_that_proves_itself_to_one_that_does_not() {
        let led = |from: &str, to| {
            let from = Url::parse(from).expect("an address");
            led_to(to, &from).map(|url| url.to_string())
        };
        for (from, to, target) in [
            ("http://a/b", "https://c/d", "https://c/d"),
            ("http://a/b", "http://c/d", "http://c/d"),
            ("https://a/b", "https://c/d", "https://c/d"),
            ("https://a/b", "/d", "https://a/d"),
            ("https://a/b", "//c/d", "https://c/d"),
        ] {
            assert_eq!(led(from, Some(to)).as_deref(), Ok(target));
        }
        for (from, to) in [
            ("https://a/b", Some("http://a/b")),
            ("https://a/b", Some("ftp://a/b")),
            ("http://a/b", Some("file:///etc/passwd")),
            ("http://a/b", Some("http://")),
            ("http://a/b", None),
        ] {
            assert!(led(from, to).is_err(), "{from} -> {to:?}");
        }
    }
}
