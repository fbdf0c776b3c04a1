//! A network in a namespace: a server, a shaped link between two switches, and a network stack for each node.

use std::io::Write;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail, ensure};
use gild_tests::command::{command, run, run_with_text};

use crate::node::Outcome;

/// The server's address.
pub const SERVER: &str = "10.88.0.1";
const NETWORK: &str = "10.88.0.0/16";
/// The first word of the process in the namespace.
pub const INSIDE: &str = "inside";

/// The only way from the server to the nodes.
pub struct Link;

impl Link {
    /// In bits a second.
    pub const RATE: u64 = 1_000_000_000;
}

/// Nodes and their server.
pub struct Rack {
    nodes: usize,
}

impl Rack {
    /// Runs this program in its own namespaces. All that it makes there ends with it.
    pub fn enter(fleets: &[usize]) -> Result<()> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "network namespaces take root; next: make fleet, which asks for it"
        );
        let status = command("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .arg(std::env::current_exe()?)
            .arg(INSIDE)
            .args(fleets.iter().map(ToString::to_string))
            .status()
            .context("making namespaces with unshare")?;
        ensure!(status.success(), "the fleet ended with {status}");
        Ok(())
    }

    /// Lays the cables.
    pub fn build(nodes: usize) -> Result<Self> {
        run(command("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
        let mut links = vec![
            "link set lo up".to_owned(),
            "link add rack type bridge".to_owned(),
            "link set rack up".to_owned(),
            "link add core type bridge".to_owned(),
            "link set core up".to_owned(),
            "link add shaped type veth peer name uplink".to_owned(),
            "link set shaped master core".to_owned(),
            "link set uplink master rack".to_owned(),
            "link set shaped up".to_owned(),
            "link set uplink up".to_owned(),
            "link add server type veth peer name port".to_owned(),
            "link set port master core".to_owned(),
            "link set port up".to_owned(),
            format!("address add {SERVER}/16 dev server"),
            "link set server up".to_owned(),
            // The congestion control of Debian's kernels, whatever this machine's default is.
            format!("route replace {NETWORK} dev server src {SERVER} congctl cubic"),
        ];
        for node in 0..nodes {
            links.extend([
                format!("netns add n{node}"),
                format!("link add n{node} type veth peer name eth0 netns n{node}"),
                format!("link set n{node} master rack"),
                format!("link set n{node} up"),
                format!("-n n{node} address add 10.88.1.{}/16 dev eth0", node + 1),
                format!("-n n{node} link set eth0 up"),
            ]);
        }
        for words in links {
            run(command("ip").args(words.split_whitespace()))?;
        }
        // A queue as a switch's port has it: 20 ms. It is not at the server's own end, because a kernel lets its own sockets
        // know of a full queue, and then no packet is lost: a few connections would keep most of the link.
        let shape = format!(
            "qdisc add dev shaped root tbf rate {}bit burst 256k latency 20ms",
            Link::RATE
        );
        run_with_text(command("tc").args(["-batch", "-"]), &shape)?;
        Ok(Self { nodes })
    }

    /// Lets so many nodes read at once.
    pub fn run(&self, nodes: usize, url: &str, bytes: u64) -> Result<Vec<Outcome>> {
        ensure!(nodes <= self.nodes, "the rack has {} nodes", self.nodes);
        let program = std::env::current_exe()?;
        let mut started: Vec<Child> = (0..nodes)
            .map(|node| {
                command("ip")
                    .args(["netns", "exec", &format!("n{node}")])
                    .arg(&program)
                    .args(["node", url, &bytes.to_string()])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .context("starting a node")
            })
            .collect::<Result<_>>()?;
        for node in &mut started {
            node.stdin
                .as_mut()
                .context("a node's input")?
                .write_all(b"\n")?;
        }
        started
            .into_iter()
            .map(|node| {
                let output = node.wait_with_output()?;
                if !output.status.success() {
                    bail!("a node ended with {}", output.status);
                }
                Ok(serde_json::from_slice(&output.stdout)?)
            })
            .collect()
    }
}
