//! The MOUNT service: the handle of a directory that the server exports.

use std::io;
use std::net::SocketAddr;

use nfs3_types::mount::{self, MOUNT_PROGRAM, dirpath, mountstat3};
use nfs3_types::nfs3::nfs_fh3;
use nfs3_types::xdr_codec::{Opaque, Unpack, Void};

use crate::NfsError;
use crate::connection::Server;
use crate::limits::FAREWELL;
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
                // power is cut would leave the entry behind. So it is taken back at once, without waiting for a server that
                // has gone silent.
                rpc.hurry(FAREWELL);
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
    use std::fmt::Display;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use gild_source::{Patience, Trouble};

    use super::{mount_at, self_and_parents};
    use crate::NfsUrl;
    use crate::connection::Server;
    use crate::record::LAST_FRAGMENT;
    use crate::stream::Waits;
    use gild_source::TICK;

    /// Remembers whether a silent server was waited for.
    #[derive(Default)]
    struct Watch(AtomicBool);

    impl Patience for Watch {
        fn wait(&self, _: u32, _: &dyn Trouble) -> bool {
            unreachable!("a mount is not tried again here")
        }

        fn waiting(&self, _: &dyn Display, _: Duration) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Reads a call. Gives its XID.
    fn read_call(socket: &mut TcpStream) -> u32 {
        let mut mark = [0; 4];
        socket.read_exact(&mut mark).expect("a record mark");
        let length = u32::from_be_bytes(mark) & !LAST_FRAGMENT;
        let mut call = vec![0; length as usize];
        socket.read_exact(&mut call).expect("a call");
        u32::from_be_bytes(*call.first_chunk().expect("an XID"))
    }

    #[test]
    fn a_server_that_is_silent_after_the_mount_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let xid = read_call(&mut socket);
            let answer = [LAST_FRAGMENT | 0x2c, xid, 1, 0, 0, 0, 0, 0, 4, 7, 1, 1];
            let answer: Vec<u8> = answer.iter().flat_map(|word| word.to_be_bytes()).collect();
            socket.write_all(&answer).expect("sent");
            read_call(&mut socket);
            // Until the other side hangs up.
            let _ = socket.read(&mut [0]);
        });
        let patience = Arc::<Watch>::default();
        let server = Server {
            url: NfsUrl::parse("nfs://127.0.0.1/srv").expect("an address"),
            waits: Waits {
                connect: Duration::from_secs(5),
                answer: 4 * TICK,
                patience: patience.clone(),
            },
        };
        let mounted = mount_at(&server, address, address.port(), "/srv").expect("mounted");
        assert_eq!(mounted.path, "/srv");
        service.join().expect("the service did its part");
        assert!(!patience.0.load(Ordering::Relaxed), "it was waited for");
    }

    #[test]
    fn the_directories_above_a_path_end_at_the_root() {
        let all: Vec<_> = self_and_parents("/srv/gild/rpi5").collect();
        assert_eq!(all, ["/srv/gild/rpi5", "/srv/gild", "/srv", "/"]);
        assert_eq!(self_and_parents("/").collect::<Vec<_>>(), ["/"]);
    }
}
