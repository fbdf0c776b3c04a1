//! Why none of the servers gave what was asked for.

use std::time::Duration;

use gild_faults::{Fault, HasFault};
use gild_http::HttpError;
use gild_nfs::NfsError;
use gild_source::{SourceError, Trouble};

/// Why none of the servers gave what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A server over NFS.
    #[error(transparent)]
    Nfs(#[from] NfsError),
    /// A server over HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A server has another file under the wanted name.
    #[error(
        "{name} on {server} has {found} bytes, and the manifest says {wanted}; next: publish the image there again"
    )]
    OtherFile {
        /// The file.
        name: String,
        /// The server's directory.
        server: String,
        /// Its size there.
        found: u64,
        /// The size of the wanted file.
        wanted: u64,
    },
    /// This reader may not use what a server gave.
    #[error("{name} on {server} is refused: {reason}")]
    Refused {
        /// The file.
        name: String,
        /// The server's directory.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A server that failed a moment ago, or asked to be left alone.
    #[error("{reason} (it is asked again in {} s)", .rest.as_secs() + 1)]
    Rests {
        /// How it failed.
        reason: String,
        /// What that means for the node.
        fault: Fault,
        /// For how long it is left alone.
        rest: Duration,
    },
    /// Each of several servers.
    #[error("each of {} servers failed: {}", .0.len(), in_words(.0))]
    All(Vec<ShareError>),
}

fn in_words(errors: &[ShareError]) -> String {
    let in_words = |error: &ShareError| {
        let said = error.to_string();
        match said.split_once("; next: ") {
            Some((what, next)) => format!("{what} (next: {next})"),
            None => said,
        }
    };
    let errors: Vec<String> = errors.iter().map(in_words).collect();
    errors.join("; ")
}

impl Trouble for ShareError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Nfs(error) => error.is_retryable(),
            Self::Http(error) => error.is_retryable(),
            Self::OtherFile { .. } | Self::Refused { .. } => false,
            Self::Rests { .. } => true,
            Self::All(errors) => errors.iter().any(Self::is_retryable),
        }
    }

    fn is_cut_off(&self) -> bool {
        match self {
            Self::Nfs(error) => error.is_cut_off(),
            Self::Http(error) => error.is_cut_off(),
            Self::OtherFile { .. } | Self::Refused { .. } | Self::Rests { .. } | Self::All(_) => {
                false
            }
        }
    }

    fn least_wait(&self) -> Duration {
        match self {
            Self::Nfs(error) => error.least_wait(),
            Self::Http(error) => error.least_wait(),
            Self::OtherFile { .. } | Self::Refused { .. } => Duration::ZERO,
            Self::Rests { rest, .. } => *rest,
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
            Self::Nfs(error) => error.fault(),
            Self::Http(error) => error.fault(),
            Self::OtherFile { .. } => Fault::ImageCorrupt,
            Self::Refused { .. } => Fault::ManifestRefused,
            Self::Rests { fault, .. } => *fault,
            // What an operator can do about a server comes before what it holds.
            Self::All(errors) => errors
                .iter()
                .map(Self::fault)
                .min()
                .unwrap_or(Fault::ServerUnreachable),
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
