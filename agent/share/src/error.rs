//! Why none of the servers gave what was asked for.

use std::time::Duration;

use gild_faults::{Fault, HasFault};
use gild_http::HttpError;
use gild_nfs::NfsError;
use gild_source::{SourceError, Trouble};

/// Why none of the servers gave what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The only server, over NFS.
    #[error(transparent)]
    Nfs(#[from] NfsError),
    /// The only server, over HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A server has another file under the name of the one that is being read.
    #[error(
        "{name} on {server} has {found} bytes, and the one that was opened has {wanted}: it is another file"
    )]
    OtherFile {
        /// The file.
        name: String,
        /// The server's directory.
        server: String,
        /// Its size there.
        found: u64,
        /// The size of the one that was opened.
        wanted: u64,
    },
    /// Each of several servers.
    #[error("none of {} servers has it: {}", .0.len(), in_words(.0))]
    All(Vec<ShareError>),
}

fn in_words(errors: &[ShareError]) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

impl Trouble for ShareError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Nfs(error) => error.is_retryable(),
            Self::Http(error) => error.is_retryable(),
            Self::OtherFile { .. } => false,
            Self::All(errors) => errors.iter().any(Self::is_retryable),
        }
    }

    fn least_wait(&self) -> Duration {
        match self {
            Self::Nfs(error) => error.least_wait(),
            Self::Http(error) => error.least_wait(),
            Self::OtherFile { .. } => Duration::ZERO,
            Self::All(errors) => {
                let waits = errors.iter().filter(|error| error.is_retryable());
                waits.map(Self::least_wait).min().unwrap_or_default()
            }
        }
    }
}

impl HasFault for ShareError {
    fn fault(&self) -> Fault {
        match self {
            Self::Nfs(NfsError::Changed { .. } | NfsError::OutOfRange { .. })
            | Self::Http(HttpError::Changed { .. } | HttpError::OutOfRange { .. })
            | Self::OtherFile { .. } => Fault::ImageCorrupt,
            Self::Nfs(_) | Self::Http(_) => Fault::ServerUnreachable,
            Self::All(errors) => {
                let is_corrupt = |error: &Self| error.fault() == Fault::ImageCorrupt;
                if errors.iter().all(is_corrupt) {
                    Fault::ImageCorrupt
                } else {
                    Fault::ServerUnreachable
                }
            }
        }
    }
}

impl From<ShareError> for SourceError {
    fn from(error: ShareError) -> Self {
        Self {
            fault: error.fault(),
            message: error.to_string(),
        }
    }
}
