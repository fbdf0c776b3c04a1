//! A stub in the place of the cluster's server: it lets a node in as k3s does, by the token and the node's password, over TLS.
//! It has the three pages that a node asks for on its way in, and no Kubernetes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use crate::matchbox::tls::{Authority, Validity};

/// A running stub. It lives as long as the test's process.
pub struct Cluster {
    authority: Authority,
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Arc<ServerConfig>,
    bundle: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The token's password. Without one every token is good.
    password: Option<String>,
    /// What each node came with.
    nodes: BTreeMap<String, String>,
    joins: Vec<String>,
    refused: Vec<&'static str>,
}

impl Cluster {
    /// A cluster with a server that nodes reach wherever they want: its certificate is for 127.0.0.1, as all of k3s are.
    pub fn serve(listener: TcpListener) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let authority = Authority::new()?;
        let shared = Arc::new(Shared {
            tls: authority.server(Ipv4Addr::LOCALHOST.into(), Validity::Now)?,
            bundle: authority.pem(),
            seen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A node that goes away asks again.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Ok(Self {
            authority,
            port,
            shared,
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The token with this password, for this cluster alone.
    #[must_use]
    pub fn token(&self, password: &str) -> String {
        let hash = hex::encode(Sha256::digest(self.authority.pem()));
        format!("K10{hash}::node:{password}")
    }

    /// From now on only a token with this password is good.
    pub fn accept(&self, password: &str) {
        self.seen().password = Some(password.to_owned());
    }

    /// Has another node come by this name.
    pub fn add_node(&self, name: &str, password: &str) {
        self.seen()
            .nodes
            .insert(name.to_owned(), password.to_owned());
    }

    /// The names of nodes that were let in, once for each time.
    #[must_use]
    pub fn joins(&self) -> Vec<String> {
        self.seen().joins.clone()
    }

    /// Why nodes were not.
    #[must_use]
    pub fn refused(&self) -> Vec<&'static str> {
        self.seen().refused.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.tls))?;
        let mut stream = StreamOwned::new(connection, stream);
        let request = Request::read(&mut stream)?;
        let (status, body) = self.answer(&request);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.conn.send_close_notify();
        Ok(stream.flush()?)
    }

    fn answer(&self, request: &Request) -> (&'static str, &str) {
        if request.path == "/cacerts" {
            return ("200 OK", &self.bundle);
        }
        let mut seen = lock(&self.seen);
        let is_let_in = request.password().is_some_and(|shown| {
            let wanted = seen.password.as_ref();
            wanted.is_none_or(|wanted| *wanted == shown)
        });
        if !is_let_in {
            seen.refused.push("token");
            return ("401 Unauthorized", "");
        }
        match &*request.path {
            "/v1-k3s/config" => ("200 OK", "{}"),
            "/v1-k3s/serving-kubelet.crt" => {
                let name = request.header("k3s-node-name");
                let password = request.header("k3s-node-password");
                let known = seen.nodes.entry(name.clone()).or_insert(password.clone());
                if *known != password {
                    seen.refused.push("node password");
                    return ("403 Forbidden", "");
                }
                seen.joins.push(name);
                ("200 OK", "")
            }
            _ => ("404 Not Found", ""),
        }
    }
}

/// What a node asks.
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn read(stream: &mut impl Read) -> Result<Self> {
        // More than a request is not read: a client sends nothing after it.
        let mut reader = BufReader::with_capacity(1, stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split_whitespace().nth(1);
        let path = path.context("a request without a path")?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                return Ok(Self { path, headers });
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }

    /// The password of basic authentication, which a node shows as the user `node`.
    fn password(&self) -> Option<String> {
        let text = self.header("authorization");
        let bytes = STANDARD.decode(text.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Some(text.strip_prefix("node:")?.to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
