//! A board that is flashed from a desk: `gild init` and `gild serve` are all that it talks to.
//!
//! Real: gild's commands, the desk's three ports and TLS, the agent with the card's configuration that `gild init` wrote. Simulated:
//! the board. `make test-desk` goes on until the node has joined.

use std::fs;

use anyhow::{Result, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::desk::Desk;
use gild_tests::real_image::AUTHORIZED_KEY;
use gild_tests::scene::Scene;
use gild_tests::workspace;

const HOST: &str = "10.0.2.2";
const TOKEN: &str =
    "K1072b45d7512215efce211384f6fcdbaa93e621b8cd01b8c0c69484c14b289ca51::node:s3cret";

#[test]
fn a_board_that_a_desk_flashes_has_its_door_open_and_its_name_on_the_console() -> Result<()> {
    let product = Product::Rpi5;
    let scene = Scene::new("desk", product)?;
    let directory = workspace::fresh("desk-of-the-case")?;
    let (token, keys) = (directory.join("token"), directory.join("keys"));
    fs::write(&token, TOKEN)?;
    fs::write(&keys, format!("{AUTHORIZED_KEY}\n"))?;
    let k3s = "https://k3s.invalid:6443";
    let desk = Desk::init(&directory.join("desk"), HOST, k3s, &token, &keys)?;
    desk.add_node(product.mac(), "node-1")?;
    // Images that another key has signed: the desk serves what lies there.
    let images = desk.path("images");
    fs::remove_dir(&images)?;
    let share = scene.share.copy_to(&images)?;
    let own_key = desk.path("gild.toml");
    let configuration = fs::read_to_string(&own_key)?;
    let configuration: String = configuration
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("public_key", _)) => format!("public_key = \"{}\"\n", share.public_key),
            _ => format!("{line}\n"),
        })
        .collect();
    scene.card.write("gild.toml", &configuration)?;
    let _serving = desk.serve()?;
    ensure!(
        !desk.metadata(product.mac())?.contains(TOKEN),
        "a door is open"
    );

    let mut board = scene.power_on()?;
    let receipt = scene.finish(&mut board)?;
    ensure!(receipt["outcome"] == "flashed", "{receipt}");
    let said = board.console().join("\n");
    ensure!(said.contains("node-1"), "the name is not on the console");
    ensure!(!said.contains("s3cret"), "the token is on the console");

    let node = desk.node(product.mac())?;
    ensure!(node["trust"] == "card", "{node}");
    // The card has no firmware files, so that the boot order stays.
    ensure!(node["state"] == "fault" && node["fault"] == 8, "{node}");
    ensure!(node["image_id"] == receipt["image_id"], "{node}");
    ensure!(node["hostname"] == "node-1", "{node}");
    ensure!(node["door"]["state"] == "open", "{node}");
    ensure!(
        desk.metadata(product.mac())?.contains(TOKEN),
        "the door is closed"
    );
    Ok(())
}
