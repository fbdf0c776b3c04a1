//! Networks: which interface the agent uses, and a server that can be reached only by IPv6.
//!
//! Real: the kernel, the agent and its DHCP client, and dnsmasq for the lease that is lost. Simulated: the other routers and DHCP servers
//! are those of QEMU's user-mode network. agent/dhcp/tests tries other answers of DHCP servers.

use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use gild_tests::board_dtb::Product;
use gild_tests::command::{command, run};
use gild_tests::nfs_server::{EXPORT, NfsServer};
use gild_tests::scene::{PATIENCE, Scene};
use nix::sched::{CloneFlags, unshare};

/// This is slow enough for a lease to be renewed and lost before the disk is written.
const SLOW: u64 = 4 << 20;

/// Makes the client renew the lease every three seconds.
const SOON: &str = "--dhcp-option=option:T1,3";

/// Puts this thread into a network of its own, together with the board's cable. Programs started from here on are in it too.
fn use_own_network(scene: &mut Scene) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace needs root: `make test`")?;
    for arguments in [
        "link set lo up",
        "tuntap add board mode tap",
        "address add 10.0.2.2/24 dev board",
        "address add fd00:1::2/64 dev board nodad",
        "link set board up",
    ] {
        run(command("ip").args(arguments.split(' ')))?;
    }
    scene.hardware.netdev = "tap,ifname=board,script=no,downscript=no";
    Ok(())
}

/// A dnsmasq that has one address to give.
struct Dnsmasq(Child);

impl Dnsmasq {
    fn start(address: &str, options: &[&str]) -> Result<Self> {
        let child = command("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null"])
            .args(["--user=root", "--interface=board", "--bind-interfaces"])
            .args(["--dhcp-authoritative", "--no-ping", "--leasefile-ro"])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--pid-file=",
                "--log-facility=-",
            ])
            .arg(format!("--dhcp-range={address},{address},10m"))
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting dnsmasq: `make setup` installs it")?;
        Ok(Self(child))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_interface_that_leads_to_the_server_wins() -> Result<()> {
    let mut scene = Scene::new("two-networks", Product::Rpi5)?;
    scene.hardware.dead_end = true;

    // If two servers answer at the same time, either one may be first.
    let mut board = scene.power_on()?;
    board.set_cable(false)?;
    board.wait_for("gild: network eth0 ", PATIENCE)?;
    board.set_cable(true)?;
    board.tolerate_faults();
    board.wait_for("gild: FAULT 3:", PATIENCE)?;
    board.wait_for("gild: network eth1 ", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_server_with_an_ipv6_address_needs_no_dhcp_server() -> Result<()> {
    let mut scene = Scene::new("ipv6", Product::Rock5b)?;
    scene.hardware.netdev = "user,ipv4=off";
    scene.server = NfsServer::start_at(&scene.share.directory, "[::1]:0".parse()?)?;
    let host = format!("nfs://[fec0::2]:{}{EXPORT}", scene.server.port());
    let configuration = format!(
        "server = \"{host}\"\npublic_key = \"{}\"\n",
        scene.share.public_key
    );
    scene.card.write("gild.toml", &configuration)?;

    let mut board = scene.power_on()?;
    board.wait_for("by IPv6 only", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_lease_is_renewed_during_the_flash_and_one_that_is_refused_costs_only_time() -> Result<()> {
    let mut scene = Scene::new("lease", Product::Rpi5)?;
    use_own_network(&mut scene)?;
    scene.server = NfsServer::start_at(&scene.share.directory, "10.0.2.2:0".parse()?)?;
    scene.card.write("gild.toml", &scene.configuration())?;
    scene.hardware.nvme[0].bytes_per_second = SLOW;
    let first = Dnsmasq::start("10.0.2.50", &[SOON])?;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    board.wait_for("10.0.2.50/24", PATIENCE)?;
    board.wait_for("the lease of 10.0.2.50 on eth0 is extended", PATIENCE)?;
    board.wait_for("gild: progress", PATIENCE)?;
    drop(first);
    let _second = Dnsmasq::start("10.0.2.60", &[SOON])?;
    board.wait_for("10.0.2.50 of eth0 is lost and taken off", PATIENCE)?;
    board.wait_for("gild: FAULT 3:", PATIENCE)?;
    board.wait_for("10.0.2.60/24", PATIENCE)?;
    board.let_disk_run(0)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_short_name_with_only_an_ipv6_address_is_found_in_the_domain_of_dhcp() -> Result<()> {
    let mut scene = Scene::new("short-name", Product::Rock5b)?;
    use_own_network(&mut scene)?;
    scene.server = NfsServer::start_at(&scene.share.directory, "[fd00:1::2]:0".parse()?)?;
    let configuration = format!(
        "server = \"{}\"\npublic_key = \"{}\"\n",
        scene.server.url_at("share"),
        scene.share.public_key
    );
    scene.card.write("gild.toml", &configuration)?;
    let _dnsmasq = Dnsmasq::start(
        "10.0.2.50",
        &[
            "--domain=lan",
            // dnsmasq is the authority for all names there, so the server's name has no IPv4 address.
            "--local=/lan/",
            "--host-record=share.lan,fd00:1::2",
            "--enable-ra",
            "--dhcp-range=fd00:1::,ra-only,64,10m",
        ],
    )?;

    let receipt = scene.flash()?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}
