//! One mounted connection to the server, and the calls made on it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use gild_source::Trouble;
use nfs3_client::{PortmapError, PortmapperClient};
use nfs3_types::nfs3::{
    self, FSINFO3args, FSINFO3res, GETATTR3args, GETATTR3res, LOOKUP3args, NFS_PROGRAM, Nfs3Option,
    Nfs3Result, READ3args, READLINK3args, diropargs3, fattr3, ftype3, nfs_fh3,
};
use nfs3_types::portmap::{IPPROTO_TCP, PMAP_PORT};
use nfs3_types::xdr_codec::{Pack, Unpack};

use crate::limits::MAX_READ;
use crate::mount::{Mount, mount, mount_at, parent};
use crate::reply::{Entry, LookupReply, ReadReply, ReadlinkReply, kind_of};
use crate::rpc::{Rpc, Service};
use crate::stream::{Stream, Waits, complete};
use crate::{At, NfsError, NfsUrl};

/// The fewest that one READ asks for: a server that claims less is asked for this much and may answer with less.
const MIN_READ: u32 = 4096;

/// What to ask of a server that does not say.
const DEFAULT_READ: u32 = 64 << 10;

const SERVICE: Service = Service {
    program: nfs3::PROGRAM,
    version: nfs3::VERSION,
    name: "NFS version 3 over TCP",
};

/// Where to connect, and how long to wait for each step.
pub struct Server {
    pub url: NfsUrl,
    pub waits: Waits,
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

    /// Host and port as the address has them.
    pub fn name(&self) -> String {
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
        self.waits.patience.got_on();
        Ok(addresses)
    }

    pub fn stream(&self, mut server: SocketAddr, port: u16) -> Result<Stream, NfsError> {
        server.set_port(port);
        Stream::connect(server, self.waits.clone()).map_err(|source| NfsError::Connect {
            server: server.to_string(),
            lacks_port: port == PMAP_PORT && self.url.port.is_none(),
            source,
        })
    }

    /// The port at which the portmapper says the service is.
    pub fn find_port(&self, server: SocketAddr, service: Service) -> Result<u16, NfsError> {
        let stream = self.stream(server, PMAP_PORT)?;
        let is_privileged = stream.is_privileged();
        let mut portmapper = PortmapperClient::new(stream);
        let port = portmapper.getport(service.program, service.version, IPPROTO_TCP);
        complete(port).map_err(|error| match error {
            PortmapError::Rpc(error) => {
                let at = self.at("asking the portmapper for the port of", &self.url.path);
                NfsError::from_rpc(error, at, "portmapper", is_privileged)
            }
            PortmapError::ProgramUnavailable | PortmapError::InvalidPortValue(_) => {
                NfsError::NoService {
                    server: server.ip().to_string(),
                    service: service.name,
                }
            }
        })
    }
}

/// A connection to the NFS service, with a mounted directory that contains the share's.
pub struct Connection {
    rpc: Rpc,
    pub address: SocketAddr,
    pub mounted: Mount,
    /// What the mounted directory is, if the server says so.
    pub mounted_kind: Option<ftype3>,
    read_size: u32,
}

/// A file as LOOKUP found it.
pub struct Found {
    pub handle: nfs_fh3,
    pub size: u64,
}

impl Connection {
    /// Connects to the first of the server's addresses that answers, and mounts. An address that answers and refuses is
    /// skipped too: an export may be for callers over IPv4, and the name may have an IPv6 address as well.
    pub fn open(server: &Server) -> Result<Self, NfsError> {
        let mut refusal = None;
        let mut last_error = None;
        for address in server.addresses()? {
            match Self::open_at(server, address) {
                Err(error @ (NfsError::Connect { .. } | NfsError::Lost { .. })) => {
                    server.waits.patience.waiting(&address.ip(), Duration::ZERO);
                    last_error = Some(error);
                }
                Err(
                    error @ (NfsError::MountRefused { .. }
                    | NfsError::NoService { .. }
                    | NfsError::Denied { .. }),
                ) => {
                    refusal.get_or_insert(error);
                }
                result => return result,
            }
        }
        Err(refusal
            .or(last_error)
            .expect("a resolved name has an address"))
    }

    fn open_at(server: &Server, address: SocketAddr) -> Result<Self, NfsError> {
        let port = match server.url.port {
            Some(port) => port,
            None => server.find_port(address, SERVICE)?,
        };
        let stream = server.stream(address, port)?;
        let mut connection = Self {
            rpc: Rpc::new(stream, SERVICE),
            address,
            mounted: mount(server, address)?,
            mounted_kind: None,
            read_size: DEFAULT_READ,
        };
        connection.learn(server)?;
        // Some servers let a symbolic link itself be mounted. From above it can be followed.
        while connection.mounted_kind == Some(ftype3::NF3LNK)
            && let Some(above) = parent(&connection.mounted.path)
        {
            connection.mounted = mount_at(server, address, connection.mounted.port, above)?;
            connection.learn(server)?;
        }
        let at = server.at("looking for", &server.url.path);
        let share = connection.locate(server, &server.url.path, &at)?;
        if share.kind.is_some_and(|kind| kind != ftype3::NF3DIR) {
            return Err(NfsError::NotADirectory { at });
        }
        log::debug!(
            "mounted {} of {address}, port {port}, reading {} bytes at a time",
            connection.mounted.path,
            connection.read_size
        );
        Ok(connection)
    }

    /// Finds a file by its path below the share's directory.
    pub fn find(&mut self, server: &Server, name: &str) -> Result<Found, NfsError> {
        let path = server.url.path_of(name);
        let at = server.at("opening", &path);
        let handle = self.locate(server, &path, &at)?.handle;
        let attributes = self.attributes(&handle, &at)?;
        if attributes.type_ != ftype3::NF3REG {
            return Err(NfsError::NotAFile { at });
        }
        Ok(Found {
            handle,
            size: attributes.size,
        })
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

    /// What is behind a name in a directory. It has a kind.
    pub fn look_up(
        &mut self,
        directory: &nfs_fh3,
        name: &[u8],
        at: &At,
    ) -> Result<Entry, NfsError> {
        let args = LOOKUP3args {
            what: diropargs3 {
                dir: directory.clone(),
                name: name.into(),
            },
        };
        let LookupReply(reply) = self.call(NFS_PROGRAM::NFSPROC3_LOOKUP, &args, at)?;
        let mut entry = reply.map_err(|status| NfsError::from_status(status, at.clone()))?;
        if entry.kind.is_none() {
            entry.kind = Some(self.attributes(&entry.handle, at)?.type_);
        }
        Ok(entry)
    }

    /// The target of a symbolic link.
    pub fn read_link(&mut self, link: &nfs_fh3, at: &At) -> Result<Vec<u8>, NfsError> {
        let args = READLINK3args {
            symlink: link.clone(),
        };
        let ReadlinkReply(reply) = self.call(NFS_PROGRAM::NFSPROC3_READLINK, &args, at)?;
        reply.map_err(|status| NfsError::from_status(status, at.clone()))
    }

    fn attributes(&mut self, object: &nfs_fh3, at: &At) -> Result<fattr3, NfsError> {
        let args = GETATTR3args {
            object: object.clone(),
        };
        match self.call::<_, GETATTR3res>(NFS_PROGRAM::NFSPROC3_GETATTR, &args, at)? {
            Nfs3Result::Ok(found) => Ok(found.obj_attributes),
            Nfs3Result::Err((status, _)) => Err(NfsError::from_status(status, at.clone())),
        }
    }

    /// Asks for the read size, and what the mounted directory is.
    fn learn(&mut self, server: &Server) -> Result<(), NfsError> {
        let at = server.at("asking for the read size of", &server.url.path);
        let args = FSINFO3args {
            fsroot: self.mounted.handle.clone(),
        };
        (self.mounted_kind, self.read_size) =
            match self.call::<_, FSINFO3res>(NFS_PROGRAM::NFSPROC3_FSINFO, &args, &at)? {
                Nfs3Result::Ok(info) => {
                    let size = match info.rtmax {
                        0 => DEFAULT_READ,
                        most => most.clamp(MIN_READ, MAX_READ),
                    };
                    (kind_of(&info.obj_attributes), size)
                }
                Nfs3Result::Err((status, _)) => {
                    let error = NfsError::from_status(status, at);
                    if error.is_retryable() {
                        return Err(error);
                    }
                    (None, DEFAULT_READ)
                }
            };
        Ok(())
    }

    fn call<A, R>(&mut self, procedure: NFS_PROGRAM, args: &A, at: &At) -> Result<R, NfsError>
    where
        A: Pack + Send + Sync,
        R: Unpack,
    {
        self.rpc.call(procedure as u32, args, at)
    }
}
