//! A stub instead of the cluster's server. Like k3s, it lets a node in by the token and the node's password, over TLS. It has the three
//! pages that a node requests on its way in, and no Kubernetes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use gild_http_testkit::{Reply, Request, Server};
use sha2::{Digest, Sha256};

use crate::matchbox::tls::{Authority, Validity};

/// A running stub. It runs as long as the test's process.
pub struct Cluster {
    authority: Authority,
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    bundle: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The password of a valid token. Without one every token is valid.
    password: Option<String>,
    /// The password that each node showed.
    nodes: BTreeMap<String, String>,
    joins: Vec<String>,
    refused: Vec<&'static str>,
}

impl Cluster {
    /// A cluster whose server nodes may reach by any address. Its certificate is for 127.0.0.1, like those of k3s.
    pub fn serve(listener: TcpListener) -> Result<Self> {
        let authority = Authority::new()?;
        let tls = authority.server(Ipv4Addr::LOCALHOST.into(), Validity::Now)?;
        let shared = Arc::new(Shared {
            bundle: authority.pem(),
            seen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let server = Server::serve(listener, Some(tls), move |request| serving.answer(request));
        Ok(Self {
            authority,
            server,
            shared,
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The token with this password, for this cluster alone.
    #[must_use]
    pub fn token(&self, password: &str) -> String {
        let hash = hex::encode(Sha256::digest(self.authority.pem()));
        format!("K10{hash}::node:{password}")
    }

    /// From now on only a token with this password is accepted.
    pub fn accept(&self, password: &str) {
        self.seen().password = Some(password.to_owned());
    }

    /// Registers another node under this name.
    pub fn add_node(&self, name: &str, password: &str) {
        self.seen()
            .nodes
            .insert(name.to_owned(), password.to_owned());
    }

    /// The names of nodes that were let in. A name appears once for each time.
    #[must_use]
    pub fn joins(&self) -> Vec<String> {
        self.seen().joins.clone()
    }

    /// Why nodes were refused.
    #[must_use]
    pub fn refused(&self) -> Vec<&'static str> {
        self.seen().refused.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }
}

impl Shared {
    fn answer(&self, request: &Request) -> Reply {
        if request.target == "/cacerts" {
            return Reply::new(200, self.bundle.as_str());
        }
        let mut seen = lock(&self.seen);
        let is_let_in = password(request).is_some_and(|shown| {
            let wanted = seen.password.as_ref();
            wanted.is_none_or(|wanted| *wanted == shown)
        });
        if !is_let_in {
            seen.refused.push("token");
            return Reply::new(401, "");
        }
        match &*request.target {
            "/v1-k3s/config" => Reply::new(200, "{}"),
            "/v1-k3s/serving-kubelet.crt" => {
                let header = |name| request.header(name).unwrap_or_default().to_owned();
                let (name, password) = (header("k3s-node-name"), header("k3s-node-password"));
                let known = seen.nodes.entry(name.clone()).or_insert(password.clone());
                if *known != password {
                    seen.refused.push("node password");
                    return Reply::new(403, "");
                }
                seen.joins.push(name);
                Reply::new(200, "")
            }
            _ => Reply::new(404, ""),
        }
    }
}

/// The password of basic authentication, which a node shows as the user `node`.
fn password(request: &Request) -> Option<String> {
    let text = request.header("authorization")?;
    let bytes = STANDARD.decode(text.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.strip_prefix("node:")?.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
