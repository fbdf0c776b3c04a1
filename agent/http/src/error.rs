//! What can go wrong between a node and a web server.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use gild_card_format::HttpUrl;
use gild_faults::{Fault, HasFault};
use gild_source::{OutOfRange, Trouble};

use crate::certificate::RefusedCertificate;

/// What was being done, to which file. A query is left out: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The activity, such as `reading`.
    pub doing: &'static str,
    /// The file's address without its query.
    pub url: String,
}

impl At {
    pub(crate) fn reading(url: &HttpUrl) -> Self {
        Self {
            doing: "reading",
            url: url.to_string(),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.doing, self.url)
    }
}

/// Why a file on a web server could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The name of a file leads out of the share.
    #[error("`{name}` is not the name of a file inside the share")]
    Name {
        /// The name.
        name: String,
    },
    /// This machine cannot send a request.
    #[error("{0}")]
    Setup(String),
    /// No connection to the server.
    #[error("{at}: no connection: {reason}")]
    Connect {
        /// What was being done.
        at: At,
        /// The reason.
        reason: String,
    },
    /// Nothing proves that the program that answers is the server.
    #[error(
        "{at}: the server's certificate is refused: {refused}; next: {}",
        refused.next_step("`ca` in gild.toml, --ca of gild")
    )]
    Certificate {
        /// What was being done.
        at: At,
        /// The reason.
        refused: RefusedCertificate,
    },
    /// The connection ended, or the server did not answer in time.
    #[error("{at}: {reason}")]
    Lost {
        /// What was being done.
        at: At,
        /// The reason.
        reason: String,
        /// Whether the connection was ended, and the server was not merely silent.
        is_cut_off: bool,
    },
    /// The server says that it cannot answer now.
    #[error("{at}: the server answers {status}{}; next: look at the server's log, if it goes on", asks(*least))]
    Busy {
        /// What was being done.
        at: At,
        /// Its answer.
        status: u16,
        /// How long it asks to be left alone.
        least: Duration,
    },
    /// The server does not let this reader in.
    #[error(
        "{at}: the server answers {status}; next: give this reader access, or give it a header that does (`http.header` in gild.toml, \
         --header-file of gild)"
    )]
    Denied {
        /// What was being done.
        at: At,
        /// Its answer.
        status: u16,
    },
    /// The server does not have this file.
    #[error("{at}: it is not there ({status}); next: publish it there, or correct the address")]
    NotFound {
        /// What was being done.
        at: At,
        /// Its answer.
        status: u16,
    },
    /// The server answers something else.
    #[error("{at}: the server answers {status}; next: look at the server's log")]
    Status {
        /// What was being done.
        at: At,
        /// Its answer.
        status: u16,
    },
    /// It leads to where this reader does not go.
    #[error(
        "{at}: {reason}; next: correct the server, or give the address where the file itself is"
    )]
    Redirect {
        /// What was being done.
        at: At,
        /// What is wrong with it.
        reason: String,
    },
    /// The server gives only whole files.
    #[error(
        "{at}: the server gives the whole file where a part of it was asked for; next: use a server that supports range \
         requests (RFC 9110, section 14)"
    )]
    NoRanges {
        /// What was being done.
        at: At,
    },
    /// The answer is not what was asked for.
    #[error("{at}: {reason}")]
    Odd {
        /// What was being done.
        at: At,
        /// What is odd.
        reason: String,
    },
    /// The file has changed since it was opened.
    #[error(
        "{at}: the file changed while it was read ({change}); next: publish it to its end, and start again"
    )]
    Changed {
        /// What was being done.
        at: At,
        /// What is different.
        change: String,
    },
    /// The file is larger than the reader allows.
    #[error("{at}: it has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// What was being done.
        at: At,
        /// The limit.
        limit: u64,
    },
    /// A read beyond the end of the file was asked for.
    #[error("{at}: {source}")]
    OutOfRange {
        /// What was being done.
        at: At,
        /// What was asked for.
        source: OutOfRange,
    },
}

fn asks(least: Duration) -> String {
    if least.is_zero() {
        String::new()
    } else {
        format!(" and asks to be left alone for {} s", least.as_secs())
    }
}

impl HttpError {
    /// The error behind a request without an answer, or an answer without an end.
    pub(crate) fn from_reqwest(error: reqwest::Error, at: At) -> Self {
        // reqwest's own text leaves out why, and has the address in it.
        let error = error.without_url();
        if let Some(refused) = RefusedCertificate::behind(&error) {
            return Self::Certificate { at, refused };
        }
        let reason = gild_faults::message(&error);
        if error.is_connect() {
            Self::Connect { at, reason }
        } else {
            let is_cut_off = !has_run_out_of_time(&error);
            Self::Lost {
                at,
                reason,
                is_cut_off,
            }
        }
    }
}

/// Whether TCP has given the server up.
fn has_run_out_of_time(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref().map(io::Error::kind);
        if kind == Some(io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}

impl Trouble for HttpError {
    fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Lost { .. } | Self::Busy { .. }
        )
    }

    fn is_cut_off(&self) -> bool {
        matches!(
            self,
            Self::Lost {
                is_cut_off: true,
                ..
            }
        )
    }

    fn least_wait(&self) -> Duration {
        match self {
            Self::Busy { least, .. } => *least,
            _ => Duration::ZERO,
        }
    }
}

impl HasFault for HttpError {
    fn fault(&self) -> Fault {
        match self {
            Self::Changed { .. } | Self::OutOfRange { .. } => Fault::ImageCorrupt,
            _ => Fault::ServerUnreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the request failed")]
    struct Failed(#[source] io::Error);

    #[test]
    fn a_server_that_tcp_has_given_up_has_not_ended_the_connection() {
        let is_over = |kind: io::ErrorKind| has_run_out_of_time(&Failed(kind.into()));
        assert!(is_over(io::ErrorKind::TimedOut));
        assert!(!is_over(io::ErrorKind::ConnectionReset));
    }
}
