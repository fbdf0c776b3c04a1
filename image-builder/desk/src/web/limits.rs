//! Limits on what one address may ask, so that it cannot block the desk for others. The programs of this machine have no limits.

mod buckets;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refused;
use crate::places::{Full, Place, Places};
use crate::source::Source;
use buckets::Buckets;

/// Requests of one address: per second, and at a time. A flasher at work reports every 5 seconds, so 500 boards behind one address have
/// room. `gild check` asks for a thousand nodes at a time.
const REQUESTS: (f64, f64) = (100.0, 1000.0);
/// Wrong logins of one address: per second, and at a time.
const LOGINS: (f64, f64) = (10.0 / 60.0, 10.0);
/// At most this many pages are kept up to date at a time, and this many of one source.
const PAGES: usize = 64;
const PAGES_OF_SOURCE: usize = 8;
/// A page that found no place may try again after this time.
const PAGE: Duration = Duration::from_secs(10);

/// How much each address has asked lately.
pub struct Limits {
    requests: Mutex<Buckets>,
    logins: Mutex<Buckets>,
    pages: Arc<Places>,
}

impl Default for Limits {
    fn default() -> Self {
        let buckets = |(rate, burst)| Mutex::new(Buckets::new(rate, burst));
        Self {
            requests: buckets(REQUESTS),
            logins: buckets(LOGINS),
            pages: Places::new(PAGES, PAGES_OF_SOURCE),
        }
    }
}

/// The request came too often. Says when to come again.
pub struct Later {
    status: StatusCode,
    why: &'static str,
    wait: Duration,
}

impl Later {
    const fn too_many(why: &'static str, wait: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            why,
            wait,
        }
    }
}

impl IntoResponse for Later {
    /// `Retry-After` is in whole seconds.
    fn into_response(self) -> Response {
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let mut response = refused(self.status, self.why);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        response
    }
}

impl Limits {
    /// A place for a page that is kept up to date.
    pub fn page(&self, from: SocketAddr) -> Result<Place, Later> {
        self.pages
            .take(Source::of(from))
            .map_err(|full| match full {
                Full::Whole => Later {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    why: "too many pages watch the desk already",
                    wait: PAGE,
                },
                Full::OfSource => Later::too_many(
                    "too many pages of this address watch the desk already; next: close one",
                    PAGE,
                ),
            })
    }

    /// Whether this address may try a login, or has shown too many wrong ones.
    pub fn may_log_in(&self, from: SocketAddr) -> Result<(), Later> {
        let source = Source::of(from);
        let wait = source.and_then(|source| lock(&self.logins).wait(source, Instant::now()));
        wait.map_or(Ok(()), |wait| {
            Err(Later::too_many(
                "too many wrong logins came from this address; next: wait, or ask from another one",
                wait,
            ))
        })
    }

    /// This address has shown a wrong login.
    pub fn wrong_login(&self, from: SocketAddr) {
        if let Some(source) = Source::of(from) {
            // If several requests come at the same moment, this one may pass all the same. It is counted, so the next one waits.
            let _ = lock(&self.logins).take(source, Instant::now());
        }
    }
}

/// Refuses requests of an address that asks too often.
pub async fn requests(
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let taken = Source::of(from).map(|source| lock(&limits.requests).take(source, Instant::now()));
    if let Some(Err(wait)) = taken {
        return Later::too_many("too many requests come from this address", wait).into_response();
    }
    next.run(request).await
}

fn lock(buckets: &Mutex<Buckets>) -> MutexGuard<'_, Buckets> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}
