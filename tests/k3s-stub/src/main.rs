//! A stub in the place of k3s: it writes down how it was started, asks the stub server to be let in, says that it is
//! ready, and does nothing more. It joins no cluster.
//!
//! The request is a line of JSON over plain TCP, and so is the answer: k3s itself speaks TLS.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Where k3s itself looks.
const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const NODE_PASSWORD: &str = "/etc/rancher/node/password";
const RECORD: &str = "/var/lib/k3s-stub";
const RETRY: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    // gild writes JSON, which is YAML: the stub has no reader for the rest of it.
    let config: Value = serde_json::from_str(&read(CONFIG)?)
        .with_context(|| format!("{CONFIG} is not the JSON that gild writes"))?;
    record(&config)?;
    let request = json!({
        "node": read("/proc/sys/kernel/hostname")?.trim(),
        "token": config["token"],
        "password": read(NODE_PASSWORD)?.trim(),
        "labels": config["node-label"],
    });
    let server = config["server"]
        .as_str()
        .and_then(|url| url.strip_prefix("https://"))
        .context("the configuration names no server")?;
    loop {
        match join(server, &request) {
            Ok(answer) if answer == "accepted" => break,
            // As k3s ends when its password is rejected; systemd starts it again.
            Ok(answer) => bail!("the stub server says: {answer}"),
            Err(error) => eprintln!("k3s-stub: no answer from {server}: {error:#}"),
        }
        thread::sleep(RETRY);
    }
    ready()?;
    loop {
        thread::park();
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// One line for each start.
fn record(config: &Value) -> Result<()> {
    let start = json!({
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        "config": config,
    });
    fs::create_dir_all(RECORD)?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(format!("{RECORD}/starts"))?;
    writeln!(file, "{start}")?;
    Ok(file.sync_all()?)
}

fn join(server: &str, request: &Value) -> Result<String> {
    let mut stream = TcpStream::connect(server)?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// As `sd_notify(3)` does.
fn ready() -> Result<()> {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        return Ok(());
    };
    UnixDatagram::unbound()?
        .send_to(b"READY=1\nSTATUS=a stub, not k3s", path)
        .context("telling systemd")?;
    Ok(())
}
