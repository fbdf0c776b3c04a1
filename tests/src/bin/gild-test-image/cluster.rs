//! A stub in the place of the cluster's server: it lets a node in as k3s does, by the token and the node's password.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use gild_tests::board_dtb::Product;
use serde_json::{Value, json};

use crate::image::{AUTHORIZED_KEY, HOST};

/// The cluster's token.
pub const TOKEN: &str = "K10d3a1f06b5c2e49788fd3a1f06b5c2e49788fd3a1f06b5c2e49788fd3a1f06b5c::node:s3cret-of-the-cluster";
/// What the node of the test proves its name with.
pub const NODE_PASSWORD: &str = "5ec2e7-of-the-node";
/// The node's name.
pub const NAME: &str = "node-1";

/// A running stub. It lives as long as the test's process.
pub struct Cluster {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    passwords: BTreeMap<String, String>,
    joins: Vec<Value>,
    refused: Vec<Value>,
}

impl Cluster {
    /// Listens on a port that the system chooses.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::default());
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A node that goes away asks again.
                if let Err(error) = serve(&stream, &shared) {
                    eprintln!("stub server: {error:#}");
                }
            }
        });
        Ok(Self { port, seen })
    }

    /// As nodes see it.
    pub fn url(&self) -> String {
        format!("https://{HOST}:{}", self.port)
    }

    /// The requests of nodes that were let in.
    pub fn joins(&self) -> Vec<Value> {
        lock(&self.seen).joins.clone()
    }

    /// And of those that were not.
    pub fn refused(&self) -> Vec<Value> {
        lock(&self.seen).refused.clone()
    }
}

fn serve(mut stream: &TcpStream, seen: &Mutex<Seen>) -> Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let request: Value = serde_json::from_str(&line).context("a request that is not JSON")?;
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let mut seen = lock(seen);
    let answer = if text("token") != TOKEN {
        "token rejected"
    } else if *seen
        .passwords
        .entry(text("node"))
        .or_insert_with(|| text("password"))
        != text("password")
    {
        "Node password rejected"
    } else {
        "accepted"
    };
    if answer == "accepted" {
        seen.joins.push(request);
    } else {
        seen.refused.push(request);
    }
    Ok(writeln!(stream, "{answer}")?)
}

/// The node's entry in Matchbox.
pub fn write_group(groups: &Path, product: Product, cluster: &Cluster) -> Result<()> {
    fs::create_dir_all(groups)?;
    let group = json!({
        "id": NAME, "profile": "gild", "selector": { "mac": product.mac() },
        "metadata": {
            "hostname": NAME, "k3s_url": cluster.url(), "k3s_token": TOKEN, "k3s_node_password": NODE_PASSWORD,
            "k3s_node_labels": { "rack": "example.com/rack=a1" }, "ssh_keys": { "site": AUTHORIZED_KEY },
        },
    });
    Ok(fs::write(groups.join("node-1.json"), group.to_string())?)
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_by_its_password_alone() -> Result<()> {
        let cluster = Cluster::start()?;
        let ask = |token: &str, password: &str| -> Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", cluster.port))?;
            let request = json!({ "node": NAME, "token": token, "password": password });
            writeln!(stream, "{request}")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            Ok(answer.trim().to_owned())
        };
        assert_eq!(ask("another", "second")?, "token rejected");
        assert_eq!(ask(TOKEN, "first")?, "accepted");
        assert_eq!(ask(TOKEN, "second")?, "Node password rejected");
        assert_eq!(ask(TOKEN, "first")?, "accepted");
        assert_eq!((cluster.joins().len(), cluster.refused().len()), (2, 2));
        Ok(())
    }
}
