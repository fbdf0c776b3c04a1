//! The MOUNT service: the handle of a directory that the server exports.

use std::io;
use std::net::SocketAddr;

use nfs3_types::mount::{self, MOUNT_PROGRAM, dirpath, mountstat3};
use nfs3_types::nfs3::nfs_fh3;
use nfs3_types::xdr_codec::{Opaque, Unpack, Void};

use crate::NfsError;
use crate::connection::Server;
use crate::reply::MountReply;
use crate::rpc::{Rpc, Service};

const SERVICE: Service = Service {
    program: mount::PROGRAM,
    version: mount::VERSION,
    name: "MOUNT version 3 over TCP",
};

/// A directory that the server let this machine mount.
pub struct Mount {
    /// Its path, without a slash at the end: empty for the root.
    pub path: String,
    /// Its handle.
    pub handle: nfs_fh3,
    /// Where the MOUNT service is.
    pub port: u16,
}

/// Mounts the share's directory, or the nearest one above it that the server exports.
pub fn mount(server: &Server, address: SocketAddr) -> Result<Mount, NfsError> {
    let url = &server.url;
    let portmapper = || server.find_port(address, SERVICE);
    let port = match (url.mount_port, url.port) {
        (Some(port), _) => port,
        (None, None) => portmapper()?,
        (None, Some(port)) => match mount_at(server, address, port, &url.path) {
            // Servers with one port for everything are common; others need the portmapper.
            Err(NfsError::NoService { .. } | NfsError::Connect { .. }) => portmapper()?,
            Err(NfsError::Lost { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                portmapper()?
            }
            result => return result,
        },
    };
    mount_at(server, address, port, &url.path)
}

/// Mounts the directory, or the nearest one above it that the server exports.
pub fn mount_at(
    server: &Server,
    address: SocketAddr,
    port: u16,
    path: &str,
) -> Result<Mount, NfsError> {
    let mut rpc = Rpc::new(server.stream(address, port)?, SERVICE);
    let mut refusal = None;
    for directory in self_and_parents(path) {
        let MountReply(reply) = call(server, &mut rpc, MOUNT_PROGRAM::MOUNTPROC3_MNT, directory)?;
        match reply {
            Ok(handle) => {
                // The handle outlives the entry in the server's list of mounts, and a node whose
                // power is cut would leave the entry behind. So it is taken back at once.
                let _: Result<Void, _> =
                    call(server, &mut rpc, MOUNT_PROGRAM::MOUNTPROC3_UMNT, directory);
                return Ok(Mount {
                    path: directory.trim_end_matches('/').to_owned(),
                    handle,
                    port,
                });
            }
            Err(mountstat3::MNT3ERR_SERVERFAULT | mountstat3::MNT3ERR_IO) => {
                return Err(NfsError::ServerFailed {
                    at: server.at("mounting", directory),
                });
            }
            Err(status) => {
                refusal.get_or_insert(status);
            }
        }
    }
    Err(NfsError::MountRefused {
        server: server.name(),
        path: path.to_owned(),
        status: refusal.map_or_else(String::new, |status| status.to_string()),
        is_privileged: rpc.is_privileged(),
    })
}

fn call<R: Unpack>(
    server: &Server,
    rpc: &mut Rpc,
    procedure: MOUNT_PROGRAM,
    directory: &str,
) -> Result<R, NfsError> {
    let args = dirpath(Opaque::borrowed(directory.as_bytes()));
    let at = server.at("mounting", directory);
    rpc.call(procedure as u32, &args, &at)
}

/// `/a/b`, `/a`, `/`.
fn self_and_parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| parent(path))
}

/// The directory above, if it is not the root already.
pub fn parent(path: &str) -> Option<&str> {
    let end = path.rfind('/')?;
    match (end, path.len()) {
        (0, 1) => None,
        (0, _) => Some("/"),
        _ => Some(&path[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::self_and_parents;

    #[test]
    fn the_directories_above_a_path_end_at_the_root() {
        let all: Vec<_> = self_and_parents("/srv/gild/rpi5").collect();
        assert_eq!(all, ["/srv/gild/rpi5", "/srv/gild", "/srv", "/"]);
        assert_eq!(self_and_parents("/").collect::<Vec<_>>(), ["/"]);
    }
}
