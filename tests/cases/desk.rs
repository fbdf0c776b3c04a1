//! A board that is flashed from a desk. It talks only to `gild init`'s card and `gild serve`.
//!
//! Real: gild's commands, the desk's three ports and TLS, and the agent with the card's configuration from `gild init`. Simulated: the
//! board. The tests' image lacks the node's own programs, so the test sends the node's reports, and the commit proves the image. `make
//! test-desk` goes on until the node has joined.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gild_report::{Kind, Proof, Report};
use gild_tests::board_dtb::Product;
use gild_tests::desk::Desk;
use gild_tests::real_image::AUTHORIZED_KEY;
use gild_tests::scene::{PATIENCE, Scene};
use gild_tests::workspace;

const HOST: &str = "10.0.2.2";
const TOKEN: &str =
    "K1072b45d7512215efce211384f6fcdbaa93e621b8cd01b8c0c69484c14b289ca51::node:s3cret";

/// A desk that knows this board and has its images, and whose card is in the board.
fn desk(scene: &Scene, name: &str) -> Result<Desk> {
    let directory = workspace::fresh(name)?;
    let (token, keys) = (directory.join("token"), directory.join("keys"));
    fs::write(&token, TOKEN)?;
    fs::write(&keys, format!("{AUTHORIZED_KEY}\n"))?;
    let k3s = "https://k3s.invalid:6443";
    let desk = Desk::init(&directory.join("desk"), HOST, k3s, &token, &keys)?;
    desk.add_node(Product::Rpi5.mac(), "node-1")?;
    // The images are signed with another key. The desk serves whatever is in the folder.
    let images = desk.path("images");
    fs::remove_dir(&images)?;
    let share = scene.share.copy_to(&images)?;
    let own_key = desk.path("gild.toml");
    let configuration = fs::read_to_string(&own_key)?;
    let configuration: String = configuration
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("public_key", site)) => {
                format!(
                    "public_key = \"{}\"\norder_key = {site}\n",
                    share.public_key
                )
            }
            _ => format!("{line}\n"),
        })
        .collect();
    scene.card.write("gild.toml", &configuration)?;
    Ok(desk)
}

#[test]
fn a_board_that_a_desk_flashes_has_its_door_open_and_its_name_on_the_console() -> Result<()> {
    let product = Product::Rpi5;
    let scene = Scene::new("desk", product)?;
    let desk = desk(&scene, "desk-of-the-case")?;
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
    // The card has no firmware files, so the boot order stays. The maker of the card knows that, so it is not a fault.
    ensure!(
        node["state"] == "booting" && node["fault"].is_null(),
        "{node}"
    );
    ensure!(node["image_id"] == receipt["image_id"], "{node}");
    ensure!(node["hostname"] == "node-1", "{node}");
    ensure!(node["door"]["state"] == "open", "{node}");
    ensure!(
        desk.metadata(product.mac())?.contains(TOKEN),
        "the door is closed"
    );
    Ok(())
}

/// From the operator's `gild order` to *done*. The board asks the desk at its start and writes its proven disk once, but not a second time.
#[test]
fn a_board_flashes_itself_by_an_order_that_the_operator_signs_at_the_desk() -> Result<()> {
    let product = Product::Rpi5;
    let scene = Scene::new("desk-order", product)?;
    let desk = desk(&scene, "desk-of-the-order")?;
    let serving = desk.serve()?;
    let receipt = scene.flash()?;
    ensure!(receipt["outcome"] == "flashed", "{receipt}");
    let image = receipt["image_id"].as_str().context("an image")?.to_owned();
    joins(&desk, 1, None, &image)?;
    ensure!(desk.node(product.mac())?["state"] == "joined");

    desk.order("new", &["--action", "flash", "--node", "node-1"])?;
    // The desk reads the folder every two seconds.
    wait_until("it is queued", || {
        Ok(desk.latest_order()?["state"] == "queued")
    })?;
    let said = start(&scene)?;
    ensure!(!said.contains("gild: stage flash"), "a draft is an order");
    desk.order("sign", &["--yes"])?;
    wait_until("it is signed", || {
        Ok(desk.latest_order()?["state"] == "signed")
    })?;
    let order = desk.latest_order()?;
    let id = order["id"].as_str().context("an id")?.to_owned();
    ensure!(order["nodes"][0]["state"] == "waits", "{order}");

    let said = start(&scene)?;
    ensure!(said.contains(&format!("signed order {id} is for this node")));
    ensure!(said.contains("gild: stage flash"), "it was not written");
    scene.assert_disk_is_the_image()?;
    let order = desk.latest_order()?;
    // The card has no firmware files, so the boot order stays. If that were a fault, a rolling order would stop.
    ensure!(order["nodes"][0]["state"] == "begun", "{order}");
    ensure!(order["state"] == "signed", "{order}");
    ensure!(desk.node(product.mac())?["door"]["state"] == "open");
    joins(&desk, 2, Some(&id), &image)?;
    // The desk ends without warning, as in a power cut.
    drop(serving);
    let _serving = desk.serve()?;
    let order = desk.latest_order()?;
    ensure!(order["state"] == "done", "{order}");
    ensure!(order["nodes"][0]["state"] == "done", "{order}");

    let said = start(&scene)?;
    ensure!(!said.contains("gild: stage flash"), "it was written again");
    ensure!(
        !said.contains("is for this node"),
        "it was handed out again"
    );
    scene.assert_disk_is_the_image()
}

/// Reports as a node that has joined. Each flash gives the node another secret.
fn joins(desk: &Desk, start: u8, order: Option<&str>, image: &str) -> Result<()> {
    let report = Report {
        kind: Kind::Node,
        mac: Some(Product::Rpi5.mac().to_owned()),
        boot: format!("node-{start}"),
        sequence: 1,
        stage: Some("joined".to_owned()),
        image_id: Some(image.to_owned()),
        order: order.map(str::to_owned),
        ..Report::default()
    };
    desk.report(&Proof::of([start; 32]), &report)
}

/// Starts the card's agent and returns its console. Nothing starts from the disk in this test, so the loop guard's count is removed first.
fn start(scene: &Scene) -> Result<String> {
    let count = format!("gild-{}.boot", Product::Rpi5.mac12());
    scene.card.remove(&count)?;
    let mut board = scene.power_on()?;
    scene.finish(&mut board)?;
    Ok(board.console().join("\n"))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < PATIENCE, "{what}: it never is");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
