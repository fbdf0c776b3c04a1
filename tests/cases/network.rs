//! Networks: which interface is used, and a server that is reached by IPv6 only.
//!
//! Real: the kernel, the agent and its DHCP client. Simulated: routers and DHCP servers are those of QEMU's user-mode network.
//! What real DHCP servers say is tried in agent/dhcp/tests, and a lease that ends in agent/src/network/keeper.rs.

use anyhow::Result;
use gild_tests::board_dtb::Product;
use gild_tests::nfs_server::{EXPORT, NfsServer};
use gild_tests::scene::{PATIENCE, Scene};

#[test]
fn the_interface_that_leads_to_the_server_wins() -> Result<()> {
    let mut scene = Scene::new("two-networks", Product::Rpi5)?;
    scene.hardware.dead_end = true;

    let mut board = scene.power_on()?;
    board.wait_for("gild: network eth0 ", PATIENCE)?;
    board.wait_for_fault(3, PATIENCE)?;
    board.wait_for("gild: network eth1 ", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_server_with_an_ipv6_address_needs_no_dhcp_server() -> Result<()> {
    let mut scene = Scene::new("ipv6", Product::Rock5b)?;
    scene.hardware.network_options = ",ipv4=off";
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
