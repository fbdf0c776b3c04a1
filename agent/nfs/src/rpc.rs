//! Calls on one connection to one service.

use std::time::Duration;

use nfs3_client::rpc::RpcClient;
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::{Opaque, Pack, Unpack};

use crate::stream::{Stream, complete};
use crate::{At, NfsError};

/// A service that is called.
#[derive(Clone, Copy)]
pub struct Service {
    pub program: u32,
    pub version: u32,
    /// For messages.
    pub name: &'static str,
}

/// A connection to a service.
pub struct Rpc {
    stream: Stream,
    service: Service,
    is_privileged: bool,
}

impl Rpc {
    pub fn new(stream: Stream, service: Service) -> Self {
        Self {
            is_privileged: stream.is_privileged(),
            stream,
            service,
        }
    }

    /// Whether only root can open this end's port.
    pub fn is_privileged(&self) -> bool {
        self.is_privileged
    }

    /// Waits no longer than this for an answer from here on.
    pub fn hurry(&mut self, limit: Duration) {
        self.stream.hurry(limit);
    }

    pub fn call<A, R>(&mut self, procedure: u32, args: &A, at: &At) -> Result<R, NfsError>
    where
        A: Pack + Send + Sync,
        R: Unpack,
    {
        let Service {
            program,
            version,
            name,
        } = self.service;
        let mut client =
            RpcClient::new_with_auth(&mut self.stream, credential(), opaque_auth::default());
        complete(client.call(program, version, procedure, args))
            .map_err(|error| NfsError::from_rpc(error, at.clone(), name, self.is_privileged))
    }
}

/// The share's files belong to whom the server says; it is asked as root, as a mount would.
fn credential() -> opaque_auth<'static> {
    opaque_auth::auth_unix(&auth_unix {
        machinename: Opaque::borrowed(b"gild"),
        ..auth_unix::default()
    })
}
