//! One mounted connection to the server, and the calls made on it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use gild_source::Trouble;
use nfs3_client::rpc::RpcClient;
use nfs3_client::{PortmapError, PortmapperClient, RpcError};
use nfs3_types::mount::{self, MOUNT_PROGRAM, dirpath, mountstat3};
use nfs3_types::nfs3::{
    self, FSINFO3args, FSINFO3res, GETATTR3args, GETATTR3res, LOOKUP3args, NFS_PROGRAM, Nfs3Option,
    Nfs3Result, READ3args, diropargs3, ftype3, nfs_fh3,
};
use nfs3_types::portmap::{IPPROTO_TCP, PMAP_PORT};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::{Opaque, Pack, Unpack, Void};

use crate::limits::MAX_READ;
use crate::reply::{LookupReply, MountReply, ReadReply};
use crate::stream::{Stream, complete};
use crate::{At, NfsError, NfsUrl};

/// The fewest that one READ asks for: a server that claims less is asked for this much and may answer with less.
const MIN_READ: u32 = 4096;

/// What to ask of a server that does not say.
const DEFAULT_READ: u32 = 64 << 10;

const NFS_SERVICE: &str = "NFS version 3 over TCP";
const MOUNT_SERVICE: &str = "MOUNT version 3 over TCP";

/// Where to connect, and how long to wait for each step.
pub struct Server {
    pub url: NfsUrl,
    pub timeout: Duration,
}

impl Server {
    /// What was being done to the path, for messages.
    pub fn at(&self, doing: &'static str, path: &str) -> At {
        At {
            doing,
            path: path.to_owned(),
            server: self.name(),
        }
    }

    fn name(&self) -> String {
        match self.url.port {
            Some(port) => format!("{}:{port}", self.url.host),
            None => self.url.host.clone(),
        }
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, NfsError> {
        let resolve_error = |source| NfsError::Resolve {
            host: self.url.host.clone(),
            source,
        };
        let addresses: Vec<_> = (self.url.host.as_str(), 0)
            .to_socket_addrs()
            .map_err(resolve_error)?
            .collect();
        if addresses.is_empty() {
            return Err(resolve_error(io::Error::other("it has no address")));
        }
        Ok(addresses)
    }

    fn stream(&self, mut server: SocketAddr, port: u16) -> Result<Stream, NfsError> {
        server.set_port(port);
        Stream::connect(server, self.timeout).map_err(|source| NfsError::Connect {
            server: server.to_string(),
            source,
        })
    }

    /// The port at which the portmapper says the service is.
    fn find_port(
        &self,
        server: SocketAddr,
        program: u32,
        version: u32,
        service: &'static str,
    ) -> Result<u16, NfsError> {
        let mut portmapper = PortmapperClient::new(self.stream(server, PMAP_PORT)?);
        complete(portmapper.getport(program, version, IPPROTO_TCP)).map_err(|error| match error {
            PortmapError::Rpc(error) => {
                let at = self.at("asking the portmapper for the port of", &self.url.path);
                NfsError::from_rpc(error, at, "portmapper")
            }
            PortmapError::ProgramUnavailable | PortmapError::InvalidPortValue(_) => {
                NfsError::NoService {
                    server: server.ip().to_string(),
                    service,
                }
            }
        })
    }
}

/// A connection to the NFS service with the share's directory at hand.
pub struct Connection {
    rpc: RpcClient<Stream>,
    /// The share's directory.
    root: nfs_fh3,
    read_size: u32,
}

/// A file as LOOKUP found it.
pub struct Found {
    pub handle: nfs_fh3,
    pub size: u64,
}

impl Connection {
    /// Connects to the first of the server's addresses that answers, and mounts.
    pub fn open(server: &Server) -> Result<Self, NfsError> {
        let mut last_error = None;
        for address in server.addresses()? {
            match Self::open_at(server, address) {
                Err(error @ (NfsError::Connect { .. } | NfsError::Lost { .. })) => {
                    last_error = Some(error);
                }
                result => return result,
            }
        }
        Err(last_error.expect("a resolved name has an address"))
    }

    fn open_at(server: &Server, address: SocketAddr) -> Result<Self, NfsError> {
        let port = match server.url.port {
            Some(port) => port,
            None => server.find_port(address, nfs3::PROGRAM, nfs3::VERSION, NFS_SERVICE)?,
        };
        let stream = server.stream(address, port)?;
        let (mounted, handle) = mount(server, address)?;
        let mut connection = Self {
            rpc: RpcClient::new_with_auth(stream, credential(), opaque_auth::default()),
            root: handle,
            read_size: DEFAULT_READ,
        };
        let at = server.at("looking for", &server.url.path);
        connection.root = connection.walk(&server.url.path[mounted.len()..], &at)?;
        connection.read_size = connection.negotiate_read_size(server)?;
        log::debug!(
            "mounted {mounted} of {address}, port {port}, reading {} bytes at a time",
            connection.read_size
        );
        Ok(connection)
    }

    /// Finds a file by its path below the share's directory.
    pub fn find(&mut self, server: &Server, name: &str) -> Result<Found, NfsError> {
        let at = server.at("opening", &server.url.path_of(name));
        let handle = self.walk(name, &at)?;
        let args = GETATTR3args {
            object: handle.clone(),
        };
        match self.call::<_, GETATTR3res>(NFS_PROGRAM::NFSPROC3_GETATTR, &args, &at)? {
            Nfs3Result::Ok(found) if found.obj_attributes.type_ == ftype3::NF3REG => Ok(Found {
                handle,
                size: found.obj_attributes.size,
            }),
            Nfs3Result::Ok(_) => Err(NfsError::NotAFile { at }),
            Nfs3Result::Err((status, _)) => Err(NfsError::from_status(status, at)),
        }
    }

    /// Reads into the start of `buffer` as much as one READ brings, and says how much that was.
    /// The buffer ends inside the file, whose size is `size`.
    pub fn read(
        &mut self,
        file: &nfs_fh3,
        buffer: &mut [u8],
        offset: u64,
        size: u64,
        at: &At,
    ) -> Result<usize, NfsError> {
        let wanted = buffer.len().min(self.read_size as usize);
        let args = READ3args {
            file: file.clone(),
            offset,
            count: u32::try_from(wanted).unwrap_or(self.read_size),
        };
        let ReadReply(reply) = self.call(NFS_PROGRAM::NFSPROC3_READ, &args, at)?;
        let data = reply.map_err(|status| NfsError::from_status(status, at.clone()))?;
        if let Nfs3Option::Some(now) = data.attributes
            && now.size != size
        {
            return Err(NfsError::Changed {
                at: at.clone(),
                change: format!("it had {size} bytes and now has {}", now.size),
            });
        }
        let read = data.bytes.len();
        if read == 0 && data.eof {
            return Err(NfsError::Changed {
                at: at.clone(),
                change: format!("it had {size} bytes and now ends before byte {offset}"),
            });
        }
        if read == 0 || read > wanted {
            return Err(NfsError::Protocol {
                at: at.clone(),
                reason: format!("{read} bytes when {wanted} were asked for"),
            });
        }
        buffer[..read].copy_from_slice(&data.bytes);
        Ok(read)
    }

    /// The handle of `path`, which is relative to the root of the connection.
    fn walk(&mut self, path: &str, at: &At) -> Result<nfs_fh3, NfsError> {
        let mut handle = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let args = LOOKUP3args {
                what: diropargs3 {
                    dir: handle,
                    name: name.as_bytes().into(),
                },
            };
            let LookupReply(reply) = self.call(NFS_PROGRAM::NFSPROC3_LOOKUP, &args, at)?;
            handle = reply.map_err(|status| NfsError::from_status(status, at.clone()))?;
        }
        Ok(handle)
    }

    fn negotiate_read_size(&mut self, server: &Server) -> Result<u32, NfsError> {
        let at = server.at("asking for the read size of", &server.url.path);
        let args = FSINFO3args {
            fsroot: self.root.clone(),
        };
        match self.call::<_, FSINFO3res>(NFS_PROGRAM::NFSPROC3_FSINFO, &args, &at)? {
            Nfs3Result::Ok(info) => match info.obj_attributes {
                Nfs3Option::Some(attributes) if attributes.type_ != ftype3::NF3DIR => {
                    Err(NfsError::NotADirectory { at })
                }
                _ => Ok(info.rtmax.clamp(MIN_READ, MAX_READ)),
            },
            Nfs3Result::Err((status, _)) => {
                let error = NfsError::from_status(status, at);
                if error.is_retryable() {
                    return Err(error);
                }
                Ok(DEFAULT_READ)
            }
        }
    }

    fn call<A, R>(&mut self, procedure: NFS_PROGRAM, args: &A, at: &At) -> Result<R, NfsError>
    where
        A: Pack + Send + Sync,
        R: Unpack,
    {
        let program = (nfs3::PROGRAM, nfs3::VERSION);
        complete(self.rpc.call(program.0, program.1, procedure as u32, args))
            .map_err(|error| NfsError::from_rpc(error, at.clone(), NFS_SERVICE))
    }
}

/// The share's files belong to whom the server says; it is asked as root, as a mount would.
fn credential() -> opaque_auth<'static> {
    opaque_auth::auth_unix(&auth_unix {
        machinename: Opaque::borrowed(b"gild"),
        ..auth_unix::default()
    })
}

/// Mounts the share's directory, or the nearest one above it that the server exports.
/// Returns which that was and its handle.
fn mount(server: &Server, address: SocketAddr) -> Result<(String, nfs_fh3), NfsError> {
    let url = &server.url;
    let portmapper = || server.find_port(address, mount::PROGRAM, mount::VERSION, MOUNT_SERVICE);
    let port = match (url.mount_port, url.port) {
        (Some(port), _) => port,
        (None, None) => portmapper()?,
        (None, Some(port)) => match mount_at(server, address, port) {
            // Servers with one port for everything are common; others need the portmapper.
            Err(NfsError::NoService { .. } | NfsError::Connect { .. }) => portmapper()?,
            Err(NfsError::Lost { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                portmapper()?
            }
            result => return result,
        },
    };
    mount_at(server, address, port)
}

fn mount_at(
    server: &Server,
    address: SocketAddr,
    port: u16,
) -> Result<(String, nfs_fh3), NfsError> {
    let path = &server.url.path;
    let stream = server.stream(address, port)?;
    let mut rpc = RpcClient::new_with_auth(stream, credential(), opaque_auth::default());
    let mut refusal = None;
    for directory in self_and_parents(path) {
        let MountReply(reply) = mount_call(&mut rpc, MOUNT_PROGRAM::MOUNTPROC3_MNT, directory)
            .map_err(|error| {
                NfsError::from_rpc(error, server.at("mounting", directory), MOUNT_SERVICE)
            })?;
        match reply {
            Ok(handle) => {
                // The handle outlives the entry in the server's list of mounts, and a node whose
                // power is cut would leave the entry behind. So it is taken back at once.
                let _: Result<Void, _> =
                    mount_call(&mut rpc, MOUNT_PROGRAM::MOUNTPROC3_UMNT, directory);
                let mounted = directory.trim_end_matches('/').to_owned();
                return Ok((mounted, handle));
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
        path: path.clone(),
        status: refusal.map_or_else(String::new, |status| status.to_string()),
    })
}

fn mount_call<R: Unpack>(
    rpc: &mut RpcClient<Stream>,
    procedure: MOUNT_PROGRAM,
    directory: &str,
) -> Result<R, RpcError> {
    let args = dirpath(Opaque::borrowed(directory.as_bytes()));
    complete(rpc.call(mount::PROGRAM, mount::VERSION, procedure as u32, &args))
}

/// `/a/b`, `/a`, `/`.
fn self_and_parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let end = path.rfind('/')?;
        match (end, path.len()) {
            (0, 1) => None,
            (0, _) => Some("/"),
            _ => Some(&path[..end]),
        }
    })
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
