//! A network in a namespace: a server, a shaped link between two switches, and a network stack for each node.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{command, run, run_with_text};

/// The server's address.
pub const SERVER: &str = "10.88.0.1";
const NETWORK: &str = "10.88.0.0/16";

/// Runs this program again, with these arguments, in its own namespaces. Everything that it makes there ends with it.
pub fn enter(arguments: &[String]) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "network namespaces take root; next: run this through make, which asks for it"
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
        .args(arguments)
        .status()
        .context("making namespaces with unshare")?;
    ensure!(status.success(), "the network ended with {status}");
    Ok(())
}

/// Connects the nodes. The server's link carries this many bits a second for all of them together.
pub fn build(nodes: usize, rate: u64) -> Result<()> {
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
        // This is the congestion control of Debian's kernels, whatever this machine's default is.
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
    // A queue of 20 ms, as in a switch's port. It is not at the server's own end: there a kernel tells its own sockets when the queue is
    // full, so no packet would be lost, and a few connections would keep most of the link.
    let shape = format!("qdisc add dev shaped root tbf rate {rate}bit burst 256k latency 20ms");
    run_with_text(command("tc").args(["-batch", "-"]), &shape)?;
    Ok(())
}

/// A command that runs this program again in the network stack of a node.
pub fn node(node: usize) -> Result<Command> {
    let mut program = command("ip");
    program
        .args(["netns", "exec", &format!("n{node}")])
        .arg(std::env::current_exe()?);
    Ok(program)
}
