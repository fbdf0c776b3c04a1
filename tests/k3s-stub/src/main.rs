//! A stub instead of k3s. It records how it was started, and asks the stub server to let it in, as k3s' agent asks a real server. If it is
//! refused, it says the same as k3s. Once it is let in, it says that it is ready. It joins no cluster and runs nothing.
//!
//! Its steps are those of k3s' pkg/clientaccess and pkg/agent/config: the authority, its hash, the configuration, the node's password. It
//! shares no code with gild.

mod server;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use server::{Refusal, Server};

/// Where k3s itself looks.
const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const NODE_PASSWORD: &str = "/etc/rancher/node/password";
/// Where it keeps the certificates of a cluster that has let it in.
const AGENT: &str = "/var/lib/rancher/k3s/agent";
/// An unknown option, with which it ends like k3s.
const NO_OPTION: &str = "no-such-option";
const RECORD: &str = "/var/lib/k3s-stub";
/// k3s waits 2 or 5 seconds, depending on what has failed.
const RETRY: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    // gild writes JSON, which is also YAML. The stub cannot read other YAML.
    let config: Value = serde_json::from_str(&read(CONFIG)?)
        .with_context(|| format!("{CONFIG} is not the JSON that gild writes"))?;
    record(&config)?;
    let text = |key: &str| {
        let value = config[key].as_str();
        value.with_context(|| format!("the configuration has no {key}"))
    };
    let server = Server::new(text("server")?, text("token")?)?;
    if config.get(NO_OPTION).is_some() {
        bail!("flag provided but not defined: -{NO_OPTION}");
    }
    let name = read("/proc/sys/kernel/hostname")?;
    let authority = loop {
        match server.enter(name.trim(), read(NODE_PASSWORD)?.trim()) {
            Ok(authority) => break authority,
            Err(Refusal { level, message }) => {
                eprintln!("time=\"now\" level={level} msg={message:?}");
            }
        }
        thread::sleep(RETRY);
    };
    fs::create_dir_all(AGENT)?;
    fs::write(format!("{AGENT}/server-ca.crt"), authority)?;
    fs::write(format!("{AGENT}/client-kubelet.crt"), "")?;
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
        "boot": read("/proc/sys/kernel/random/boot_id")?.trim(),
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
        "environment": std::env::vars().collect::<BTreeMap<_, _>>(),
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
