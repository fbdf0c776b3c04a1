//! What can go wrong between a node and its image server.

use std::fmt;
use std::io;

use gild_card_format::NfsUrlError;
use gild_faults::{Fault, HasFault};
use gild_source::{OutOfRange, Trouble};
use nfs3_client::RpcError;
use nfs3_types::nfs3::nfsstat3;

use crate::limits::MAX_LINKS;

/// What was being done, to which path, on which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The activity, such as `reading`.
    pub doing: &'static str,
    /// The absolute path on the server.
    pub path: String,
    /// Host and port as the address of the share names them.
    pub server: String,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.doing, self.path, self.server)
    }
}

/// Why a symbolic link cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkProblem {
    /// The server lets nobody mount a folder in which both the link and its target are.
    #[error(
        "which is not in the share; next: put the file itself there, or a link to a place inside the share"
    )]
    Outside,
    /// Nothing is there.
    #[error("and there is nothing; next: put the file there, or correct the link")]
    Dangling,
    /// Links that point at each other, most likely.
    #[error("after {MAX_LINKS} other links; next: make the link point at the file itself")]
    TooMany,
}

/// Why a share could not be used or a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NfsError {
    /// The text is not the address of a share.
    #[error(transparent)]
    Url(#[from] NfsUrlError),
    /// The name of a file leads out of the share.
    #[error("`{name}` is not the name of a file inside the share")]
    Name {
        /// The name.
        name: String,
    },
    /// The server's name has no address.
    #[error(
        "the server's name {host} has no address: {source}; next: correct the name, or look at the name servers"
    )]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// No connection to the server.
    #[error(
        "no connection to {server}: {source}; next: start the server, let this machine reach it, or correct its address{}",
        if *.lacks_port { ": it needs the port of NFS where no portmapper runs, as nfs://host:2049/... of a desk" } else { "" }
    )]
    Connect {
        /// Address and port.
        server: String,
        /// Whether it is the portmapper that does not answer, and the address of the share has no port.
        lacks_port: bool,
        /// The reason.
        source: io::Error,
    },
    /// The connection ended, or the server did not answer in time.
    #[error("{at}: {source}")]
    Lost {
        /// What was being done.
        at: At,
        /// The reason.
        source: io::Error,
    },
    /// The host answers, but does not offer a service that is needed.
    #[error("{server} offers no {service}; next: use an NFSv3 server, or correct the port")]
    NoService {
        /// Address and port.
        server: String,
        /// The service.
        service: &'static str,
    },
    /// The server does not let this machine mount the path.
    #[error(
        "{server} refuses to mount {path} ({status}); next: export it to this machine's address{}",
        if *.is_privileged { "" } else { ", and to callers without root, whose ports are above 1023" }
    )]
    MountRefused {
        /// Host and port.
        server: String,
        /// The path.
        path: String,
        /// The server's reason.
        status: String,
        /// Whether this machine asked from a port that takes root to open.
        is_privileged: bool,
    },
    /// A share that was mounted before cannot be mounted again. A server that is starting may
    /// answer before its exports and its disks are there.
    #[error("{source}; the share was there before and may come back")]
    ShareGone {
        /// What the server says now.
        source: Box<NfsError>,
    },
    /// The server does not accept the credentials of the call.
    #[error(
        "{at}: the server refuses the caller ({reason}); next: have the export allow sec=sys{}",
        if *.is_privileged { "" } else { ", and callers without root, whose ports are above 1023" }
    )]
    Denied {
        /// What was being done.
        at: At,
        /// The server's reason.
        reason: String,
        /// Whether this machine asked from a port that takes root to open.
        is_privileged: bool,
    },
    /// The server does not have this file.
    #[error("{at}: it is not there; next: publish it there, or correct the address")]
    NotFound {
        /// What was being done.
        at: At,
    },
    /// A directory was expected.
    #[error("{at}: a part of the path is not a folder; next: correct the address")]
    NotADirectory {
        /// What was being done.
        at: At,
    },
    /// A regular file was expected.
    #[error("{at}: it is not a regular file; next: publish the file there")]
    NotAFile {
        /// What was being done.
        at: At,
    },
    /// A symbolic link that cannot be followed.
    #[error("{at}: it is a symbolic link to {target}, {problem}")]
    Link {
        /// What was being done.
        at: At,
        /// Where the link leads, as the server has it.
        target: String,
        /// Why it is not followed.
        problem: LinkProblem,
    },
    /// The server answered with an error.
    #[error("{at}: {}", explain(*.status))]
    Status {
        /// What was being done.
        at: At,
        /// The server's answer.
        status: nfsstat3,
    },
    /// The server failed to handle a call at all.
    #[error("{at}: the server reports an internal error; next: look at the server's log")]
    ServerFailed {
        /// What was being done.
        at: At,
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
    #[error("{at}: it has {size} bytes, and at most {limit} are allowed")]
    TooLarge {
        /// What was being done.
        at: At,
        /// Its size.
        size: u64,
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
    /// The answer is not one of NFS version 3.
    #[error("{at}: the answer makes no sense ({reason}); next: give the port of an NFSv3 server")]
    Protocol {
        /// What was being done.
        at: At,
        /// What is wrong with it.
        reason: String,
    },
}

impl NfsError {
    /// Whether a file handle is no longer known to the server.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: nfsstat3::NFS3ERR_STALE | nfsstat3::NFS3ERR_BADHANDLE,
                ..
            }
        )
    }

    /// Whether the server does not have the file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Link {
                    problem: LinkProblem::Dangling,
                    ..
                }
        )
    }

    /// Whether the connection is at the start of a message and its mount is good.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self {
            Self::Status { .. } => !self.is_stale(),
            Self::NotFound { .. }
            | Self::NotADirectory { .. }
            | Self::NotAFile { .. }
            | Self::Link { .. }
            | Self::Changed { .. }
            | Self::TooLarge { .. } => true,
            _ => false,
        }
    }

    /// The error behind a call that got no proper answer.
    pub(crate) fn from_rpc(
        error: RpcError,
        at: At,
        service: &'static str,
        is_privileged: bool,
    ) -> Self {
        match error {
            RpcError::Io(source) if source.kind() == io::ErrorKind::InvalidData => Self::Protocol {
                at,
                reason: source.to_string(),
            },
            RpcError::Io(source) => Self::Lost { at, source },
            RpcError::Auth(status) => Self::Denied {
                at,
                reason: status.to_string(),
                is_privileged,
            },
            RpcError::ProgUnavail | RpcError::ProgMismatch { .. } => Self::NoService {
                server: at.server,
                service,
            },
            RpcError::SystemErr => Self::ServerFailed { at },
            other => Self::Protocol {
                at,
                reason: other.to_string(),
            },
        }
    }

    /// The error behind a status other than OK.
    pub(crate) fn from_status(status: nfsstat3, at: At) -> Self {
        match status {
            nfsstat3::NFS3ERR_NOENT => Self::NotFound { at },
            nfsstat3::NFS3ERR_NOTDIR => Self::NotADirectory { at },
            nfsstat3::NFS3ERR_ISDIR => Self::NotAFile { at },
            _ => Self::Status { at, status },
        }
    }
}

impl Trouble for NfsError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::NoService { .. }
            | Self::ShareGone { .. }
            | Self::ServerFailed { .. } => true,
            Self::Status { status, .. } => matches!(
                status,
                nfsstat3::NFS3ERR_JUKEBOX
                    | nfsstat3::NFS3ERR_IO
                    | nfsstat3::NFS3ERR_SERVERFAULT
                    | nfsstat3::NFS3ERR_STALE
                    | nfsstat3::NFS3ERR_BADHANDLE
            ),
            _ => false,
        }
    }

    fn is_cut_off(&self) -> bool {
        matches!(self, Self::Lost { source, .. } if source.kind() != io::ErrorKind::TimedOut)
    }
}

impl HasFault for NfsError {
    fn fault(&self) -> Fault {
        match self {
            Self::Changed { .. } | Self::OutOfRange { .. } => Fault::ImageCorrupt,
            _ => Fault::ServerUnreachable,
        }
    }
}

fn explain(status: nfsstat3) -> String {
    let text = match status {
        nfsstat3::NFS3ERR_PERM => {
            "the server does not allow it; next: allow callers from all ports on the server (`insecure`), or run this \
             as root, because such a server refuses callers without root"
        }
        nfsstat3::NFS3ERR_ACCES => {
            "the server does not allow it; next: make the file and its folders readable for everyone on the server \
             (chmod -R a+rX), because it treats root on other machines as nobody (root_squash)"
        }
        nfsstat3::NFS3ERR_IO | nfsstat3::NFS3ERR_SERVERFAULT => {
            "the server failed; look at its disk and its log"
        }
        nfsstat3::NFS3ERR_STALE | nfsstat3::NFS3ERR_BADHANDLE => {
            "the server no longer knows the file handle"
        }
        nfsstat3::NFS3ERR_JUKEBOX => "the server asks to come back later",
        _ => return status.to_string(),
    };
    format!("{text} ({status})")
}

#[cfg(test)]
mod tests {
    use io::ErrorKind;

    use super::*;

    #[test]
    fn an_address_without_a_port_is_named_where_no_portmapper_answers() {
        let said = |lacks_port| {
            let error = NfsError::Connect {
                server: "192.0.2.2:111".to_owned(),
                lacks_port,
                source: ErrorKind::ConnectionRefused.into(),
            };
            error.to_string()
        };
        assert!(
            said(true).contains("needs the port of NFS"),
            "{}",
            said(true)
        );
        assert!(
            said(false).ends_with("or correct its address"),
            "{}",
            said(false)
        );
    }

    #[test]
    fn a_closed_connection_is_not_a_silent_one() {
        let is_cut_off = |kind: ErrorKind| {
            let at = At {
                doing: "reading",
                path: "/a".to_owned(),
                server: "nas".to_owned(),
            };
            let source = kind.into();
            NfsError::Lost { at, source }.is_cut_off()
        };
        for kind in [
            ErrorKind::UnexpectedEof,
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
        ] {
            assert!(is_cut_off(kind), "{kind}");
        }
        assert!(!is_cut_off(ErrorKind::TimedOut));
    }
}
