//! nginx, a web server that somebody else wrote, on 127.0.0.1. It can also be a cache in front of another server.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::command::command;
use gild_http_testkit::free_port;

const LOCAL: &str = "127.0.0.1";
const START: Duration = Duration::from_secs(20);

/// A running nginx. Dropping it ends it.
pub struct Nginx {
    files: TempDir,
    address: &'static str,
    port: u16,
    scheme: &'static str,
    process: Child,
}

/// A certificate and its key, in PEM form.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Nginx {
    /// Serves a directory as it is.
    pub fn serve(directory: &Path) -> Result<Self> {
        Self::serve_on(LOCAL, directory)
    }

    /// The same at another address of this machine.
    pub fn serve_on(address: &'static str, directory: &Path) -> Result<Self> {
        let location = format!("location / {{ root {}; sendfile on; }}", shown(directory)?);
        Self::start(address, &location, None)
    }

    /// The same over TLS, but only for clients that send `Authorization: Bearer <token>`.
    pub fn serve_members(directory: &Path, token: &str, identity: &Identity) -> Result<Self> {
        let location = format!(
            "location / {{ if ($http_authorization != \"Bearer {token}\") {{ return 403; }} root {}; }}",
            shown(directory)?
        );
        Self::start(LOCAL, &location, Some(identity))
    }

    /// A cache in front of another server. It keeps parts of 1 MiB.
    pub fn cache_of(origin: &str) -> Result<Self> {
        Self::cache_on(LOCAL, origin)
    }

    /// The same at another address of this machine.
    pub fn cache_on(address: &'static str, origin: &str) -> Result<Self> {
        let location = format!(
            "location / {{
                slice 1m;
                proxy_cache parts;
                proxy_cache_lock on;
                proxy_cache_key $uri$slice_range;
                proxy_set_header Range $slice_range;
                proxy_http_version 1.1;
                proxy_cache_valid 200 206 1h;
                proxy_pass {origin};
            }}"
        );
        Self::start(address, &location, None)
    }

    fn start(address: &'static str, location: &str, identity: Option<&Identity>) -> Result<Self> {
        let files = tempfile::Builder::new()
            .prefix("gild-nginx-")
            .tempdir()
            .context("making a directory for nginx")?;
        let port = free_port()?;
        let place = shown(files.path())?;
        let mut tls = String::new();
        if let Some(identity) = identity {
            fs::write(files.path().join("server.pem"), &identity.certificate)?;
            fs::write(files.path().join("server.key"), &identity.key)?;
            tls = format!(
                "ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;"
            );
        }
        let flag = if identity.is_some() { " ssl" } else { "" };
        let as_root = if nix::unistd::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let configuration = format!(
            "{as_root}
            daemon off;
            worker_processes 2;
            error_log {place}/error.log;
            pid {place}/pid;
            events {{ }}
            http {{
                access_log {place}/access.log;
                client_body_temp_path {place}/body;
                proxy_temp_path {place}/proxy;
                fastcgi_temp_path {place}/fastcgi;
                uwsgi_temp_path {place}/uwsgi;
                scgi_temp_path {place}/scgi;
                proxy_cache_path {place}/cache keys_zone=parts:1m;
                server {{
                    listen {address}:{port}{flag};
                    {tls}
                    {location}
                }}
            }}"
        );
        fs::write(files.path().join("nginx.conf"), configuration)?;
        // It ends when the process that started it has gone, however that happened.
        let process = command("setpriv")
            .args(["--pdeathsig", "TERM", "nginx", "-e"])
            .arg(files.path().join("error.log"))
            .arg("-c")
            .arg(files.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .context("starting nginx (Debian's package nginx)")?;
        let mut server = Self {
            files,
            address,
            port,
            scheme: if identity.is_some() { "https" } else { "http" },
            process,
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        let address = SocketAddr::new(self.address.parse()?, self.port);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("nginx ended with {status}: {}", self.log("error.log"));
            }
            if Instant::now() > deadline {
                bail!("nginx does not answer: {}", self.log("error.log"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its address by this name of this machine.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    /// Its address on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address)
    }

    /// The lines of its access log.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.log("access.log").lines().map(str::to_owned).collect()
    }

    /// The number of its first process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.files.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait. Its workers end with it.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.process.id().cast_signed()),
            Signal::SIGTERM,
        );
        let _ = self.process.wait();
    }
}

fn shown(path: &Path) -> Result<String> {
    let path = path
        .canonicalize()
        .with_context(|| format!("looking for {}", path.display()))?;
    let text = path.to_str().context("a path that is not UTF-8")?;
    Ok(text.to_owned())
}
