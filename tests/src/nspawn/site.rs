//! A site: the network that machines are plugged into, with a DHCP server. It is not visible outside.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use rustls::ServerConfig;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::command::{command, run};
use crate::matchbox::Matchbox;

/// The address of the site's servers.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The port of the cluster's server.
pub const CLUSTER_PORT: u16 = 6443;

/// Matchbox has the same port in every site, so that it may start later than the machine that asks it.
const MATCHBOX_PORT: u16 = 8080;
/// How often a port is tried again, and after which pause.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// The first process of its own namespaces, so everything in them dies with it. Its input ends when the process that started it has gone,
/// however that happened.
const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs -o ro sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
ip link set lo up
ip link add site type bridge
ip address add "$1/24" dev site
ip link set site up
echo ready
exec cat >/dev/null
"#;

/// A network that has only a bridge. The processes in it see no other network.
pub struct Site {
    files: TempDir,
    process: Child,
    /// The process whose namespaces these are.
    holder: u32,
    dhcp: Mutex<Option<Child>>,
}

/// A cable between a machine and the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The interface's name on the machine.
    pub name: &'static str,
    /// Its MAC address.
    pub mac: &'static str,
    /// Whether the other end is plugged in.
    pub plugged: bool,
}

impl Site {
    /// A site without servers. Needs root.
    pub fn new() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "first boots are tested in namespaces and containers, which takes root: run `make test`, or the test as root"
        );
        let files = tempfile::Builder::new().prefix("gild-site-").tempdir()?;
        let mut process = command("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", SCRIPT, "site", &GATEWAY.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("making namespaces with unshare")?;
        let output = process.stdout.take().context("the output of the site")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(
            line == "ready\n",
            "the site's namespaces could not be made; they need root, a bridge and iproute2"
        );
        let holder = child_of(process.id())?;
        Ok(Self {
            files,
            process,
            holder,
            dhcp: Mutex::new(None),
        })
    }

    /// A command that runs in the site's namespaces.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = command("nsenter");
        command
            .arg(format!("--target={}", self.holder))
            .args(["--mount", "--net", "--pid", "--", program]);
        command
    }

    /// A path as the site's processes see it, because the site has its own mounts.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        PathBuf::from(format!("/proc/{}/root", self.holder)).join(inside)
    }

    /// Starts a DHCP server.
    pub fn start_dhcp(&self) -> Result<()> {
        let leases = self.files.path().join("leases");
        let mut child = self
            .command("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--user=root",
            ])
            .args([
                "--interface=site",
                "--bind-interfaces",
                "--dhcp-authoritative",
            ])
            .args(["--no-ping", "--log-facility=-", "--pid-file="])
            .arg("--dhcp-range=10.77.0.100,10.77.0.200,1h")
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting dnsmasq: `make setup` installs it")?;
        let mut log = BufReader::new(child.stderr.take().context("dnsmasq's log")?);
        *self.dhcp.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let mut words = String::new();
        while !words.contains("DHCP, IP range") {
            let before = words.len();
            log.read_line(&mut words)?;
            ensure!(
                words.len() > before,
                "dnsmasq ended before it was ready: {words}"
            );
        }
        // The log is read to its end, because a full pipe would stop the program.
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Ok(())
    }

    /// Starts the stand-in for Matchbox, at the address that [`Self::matchbox_url`] names.
    pub fn matchbox(&self, data: &Path, tls: Option<Arc<ServerConfig>>) -> Result<Matchbox> {
        Matchbox::serve(self.listen(MATCHBOX_PORT)?, data, tls)
    }

    /// Starts a stub of a cluster's server on this port.
    pub fn cluster(&self, port: u16) -> Result<Cluster> {
        Cluster::serve(self.listen(port)?)
    }

    /// The address at which the site's machines look for Matchbox, whether it runs or not.
    #[must_use]
    pub fn matchbox_url(scheme: &str) -> String {
        format!("{scheme}://{GATEWAY}:{MATCHBOX_PORT}")
    }

    fn listen(&self, port: u16) -> Result<TcpListener> {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.holder))
            .context("opening the site's network")?;
        // A separate thread does this, because it can never return to this process' network.
        let thread = thread::spawn(move || -> Result<TcpListener> {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the site's network")?;
            bind(port).context("listening in the site's network")
        });
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("entering the site's network panicked"))?
    }

    /// Makes the machine's end of a cable, ready to be moved into it.
    pub fn lay(&self, cable: &Cable, number: usize) -> Result<()> {
        let Cable { name, mac, plugged } = cable;
        let socket = format!("socket{number}");
        let up = if *plugged { "up" } else { "down" };
        let script = format!(
            "ip link del {socket} 2>/dev/null; set -e; \
             ip link add {socket} type veth peer name {name} address {mac}; \
             ip link set {socket} master site {up}"
        );
        run(self.command("sh").args(["-c", &script]))
            .with_context(|| format!("laying a cable to {name}"))?;
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let dhcp = self.dhcp.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(dhcp) = dhcp {
            let _ = dhcp.kill();
            let _ = dhcp.wait();
        }
        // Its namespaces and everything in them end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The only child of a process.
pub fn child_of(process: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
        .with_context(|| format!("looking for the child of process {process}"))?;
    let child = children
        .split_whitespace()
        .next()
        .with_context(|| format!("process {process} has no child"))?;
    Ok(child.parse()?)
}

/// Tries again, because the port may still be in use. If another test starts a program at this moment, its process briefly holds the socket
/// of a server that has just ended.
fn bind(port: u16) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind((GATEWAY, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => tries += 1,
            bound => return bound,
        }
        thread::sleep(PAUSE);
    }
}
