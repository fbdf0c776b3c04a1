//! Signed orders, on a virtual board whose firmware starts the card; and a dry run.
//!
//! Real: the agent, its network, the signatures. Simulated: the hardware, and the order server, by a web server of the tests.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gild_boards::mac::Mac;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record};
use gild_http_testkit::{Reply, Server};
use gild_orders::{Action, Channel, Choice, Flash, Order, OrderId, SignedOrder};
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use minisign::KeyPair;
use serde_json::Value;

/// This machine, as a board sees it.
const HOST: &str = "10.0.2.2";
/// Made when the test runs, because an order may not count long after the time in its id.
static ID: LazyLock<OrderId> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    OrderId::made(now.unwrap_or_default().as_secs(), [0x1a, 0x2b, 0x3c]).expect("our days")
});
/// How long a disk may wait for network and answer, and three seconds for a busy machine.
const LONGEST_WAIT: f64 = 10.0 + 3.0;

/// A board whose disk is flashed, which also proves its image. From then on the share has the board's image only in the channel.
fn proven(name: &str) -> Result<Scene> {
    let scene = Scene::with_own_share(name, Product::Rpi5)?;
    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "flashed");
    let board = scene.share.directory.join(Product::Rpi5.name());
    for ending in ["", ".minisig"] {
        let file = |name: &str| board.join(format!("{name}{ending}"));
        fs::rename(file("golden.json"), file("golden-canary.json"))?;
    }
    Ok(scene)
}

/// Powers the board on until it restarts to its disk. Returns the receipt of this start from the console, because the card keeps that of
/// the flash. Nothing starts from the disk in this test, so the loop guard's count is removed first.
fn start(scene: &Scene, has_cable: bool, said: &str) -> Result<(Value, String)> {
    scene
        .card
        .remove(&format!("gild-{}.boot", Product::Rpi5.mac12()))?;
    let mut board = scene.power_on()?;
    if !has_cable {
        board.set_cable(false)?;
    }
    board.wait_for(said, PATIENCE)?;
    scene.finish(&mut board)?;
    let console = board.console();
    let receipt = console
        .iter()
        .find_map(|line| line.split_once("gild: receipt "))
        .context("a receipt on the console")?;
    Ok((serde_json::from_str(receipt.1)?, console.join("\n")))
}

/// An order to write this board again with the image of the channel, signed with this key.
fn order(pair: &KeyPair) -> Result<String> {
    let choice = Choice::Channel(Channel::parse("canary").context("a channel")?);
    let flash = Flash {
        choice,
        ..Flash::default()
    };
    signed(pair, Action::Flash(flash))
}

fn signed(pair: &KeyPair, action: Action) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let order = Order {
        id: ID.clone(),
        nodes: vec![Mac::parse(Product::Rpi5.mac()).context("an address")?],
        expires: (now + Duration::from_hours(1)).as_secs(),
        action,
    };
    let text = order.to_text();
    let signature = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&text), None, None)?;
    Ok(SignedOrder::new(text, signature.into_string()).to_text())
}

/// Makes the card ask this server and trust only this key.
fn ask(scene: &Scene, server: &str, pair: &KeyPair) -> Result<()> {
    let key = pair.pk.to_base64();
    let text = scene.configuration();
    scene.card.write(
        "gild.toml",
        &format!("{text}order_url = \"{server}/orders\"\norder_key = \"{key}\"\n"),
    )
}

/// A web server with the order under the board's address. For a board it looks like any server with files.
fn web_server(order: String) -> Server {
    let path = format!("/orders/{}", Product::Rpi5.mac12());
    Server::start(move |request| {
        if request.target == path || request.method == "POST" {
            Reply::new(200, order.clone())
        } else {
            Reply::new(404, "no such file")
        }
    })
}

fn carried_out(scene: &Scene) -> Result<Vec<String>> {
    let disk = fs::read(scene.nvme())?;
    let at = usize::try_from(RECORD_OFFSET)?;
    let record = Record::parse(&disk[at..at + RECORD_LENGTH]).context("a record")?;
    Ok(record.orders)
}

#[test]
fn a_signed_order_has_a_proven_disk_written_once_with_the_image_that_it_chooses() -> Result<()> {
    let scene = proven("order-signed")?;
    assert_eq!(carried_out(&scene)?, [""; 0]);
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let server = web_server(order(&pair)?);
    ask(&scene, &server.url_at(HOST), &pair)?;

    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "flashed", "{receipt}");
    assert_eq!(receipt["order"], ID.as_str());
    assert_eq!(carried_out(&scene)?, [ID.as_str()]);
    scene.assert_disk_is_the_image()?;

    // The server still has the order.
    let asked = server.requests().len();
    let (receipt, console) = start(&scene, true, "is spent: the disk has carried out")?;
    assert_eq!(receipt["outcome"], "already-done");
    assert_eq!(receipt["order"], ID.as_str());
    assert!(server.requests().len() > asked);
    assert!(!console.contains("gild: stage flash"), "{console}");
    scene.assert_disk_is_the_image()
}

/// A node has noted the order and made its disk blank. While the flasher asks, the desk is started again, and first holds the board.
#[test]
fn a_disk_made_blank_for_an_order_waits_for_the_desk_and_gets_the_image_of_the_order() -> Result<()>
{
    let mut scene = proven("order-away")?;
    scene.arguments = "gild.hold_seconds=3".into();
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let (hold, flash) = (signed(&pair, Action::Hold)?, order(&pair)?);
    let is_held = Arc::new(AtomicBool::new(true));
    let holds = Arc::clone(&is_held);
    let server = Server::start(move |_| {
        let order = if holds.load(Ordering::SeqCst) {
            &hold
        } else {
            &flash
        };
        Reply::new(200, order.clone())
    });
    ask(&scene, &server.url_at(HOST), &pair)?;
    let disk = File::options().read(true).write(true).open(scene.nvme())?;
    let mut bytes = vec![0; RECORD_LENGTH];
    disk.read_exact_at(&mut bytes, RECORD_OFFSET)?;
    let mut record = Record::parse(&bytes).context("a record")?;
    record.orders = vec![ID.to_string()];
    disk.write_all_at(&record.to_bytes(), RECORD_OFFSET)?;
    disk.write_all_at(&[0; 512], 0)?;

    server.set_down(true);
    let mut board = scene.power_on()?;
    board.wait_for("signed orders cannot be asked for", PATIENCE)?;
    server.set_down(false);
    board.wait_for("holds this node: nothing is written", PATIENCE)?;
    is_held.store(false, Ordering::SeqCst);
    let receipt = scene.finish(&mut board)?;
    assert_eq!(receipt["outcome"], "flashed", "{receipt}");
    assert_eq!(receipt["order"], ID.as_str());
    scene.assert_disk_is_the_image()
}

#[test]
fn an_order_of_another_key_or_for_an_image_that_is_not_there_has_nothing_written() -> Result<()> {
    let scene = proven("order-stranger")?;
    let (own, stranger) = (
        KeyPair::generate_unencrypted_keypair()?,
        KeyPair::generate_unencrypted_keypair()?,
    );
    let server = web_server(order(&stranger)?);
    ask(&scene, &server.url_at(HOST), &own)?;
    let status = format!("status_url = \"{}/status\"\n", server.url_at(HOST));
    let text = scene.card.read("gild.toml")?;
    scene.card.write("gild.toml", &format!("{text}{status}"))?;
    let written = fs::metadata(scene.nvme())?.mtime();
    let (receipt, console) = start(&scene, true, "its signature does not count")?;
    assert_eq!(receipt["outcome"], "already-done");
    assert!(!console.contains("gild: stage flash"), "{console}");
    assert!(carried_out(&scene)?.is_empty());
    assert_eq!(fs::metadata(scene.nvme())?.mtime(), written);
    let requests = server.requests();
    let mut reports = requests.iter().filter(|request| request.method == "POST");
    assert!(reports.any(|report| report.body.contains("its signature does not count")));

    // The card now trusts the order's key, but the image that the order chooses is missing. The board must not wait for it.
    ask(&scene, &server.url_at(HOST), &stranger)?;
    let board = scene.share.directory.join(Product::Rpi5.name());
    fs::remove_file(board.join("golden-canary.json"))?;
    let (receipt, console) = start(&scene, true, "the disk is started as it is")?;
    assert_eq!(receipt["outcome"], "already-done");
    assert!(!console.contains("gild: stage flash"), "{console}");
    assert!(carried_out(&scene)?.is_empty());
    assert_eq!(fs::metadata(scene.nvme())?.mtime(), written);
    Ok(())
}

/// The board's clock has lost the time, and no time server answers. By such a clock each order counts that ever was.
#[test]
fn an_order_has_no_proven_disk_written_by_a_board_that_does_not_know_the_time() -> Result<()> {
    let mut scene = proven("order-no-time")?;
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let server = web_server(order(&pair)?);
    ask(&scene, &server.url_at(HOST), &pair)?;
    let status = format!("status_url = \"{}/status\"\n", server.url_at(HOST));
    let text = scene.card.read("gild.toml")?;
    scene.card.write("gild.toml", &format!("{text}{status}"))?;
    scene.hardware.clock = "1970-01-02";
    let why = "this board does not know the time";
    let (receipt, console) = start(&scene, true, why)?;
    assert_eq!(receipt["outcome"], "already-done");
    assert!(!console.contains("gild: stage flash"), "{console}");
    assert!(carried_out(&scene)?.is_empty());
    let requests = server.requests();
    let mut reports = requests.iter().filter(|request| request.method == "POST");
    assert!(reports.any(|report| report.body.contains(why)));

    scene.hardware.clock = "utc";
    let receipt = scene.flash()?;
    assert_eq!(receipt["outcome"], "flashed", "{receipt}");
    assert_eq!(carried_out(&scene)?, [ID.as_str()]);
    Ok(())
}

/// A blank disk is written, but not while the hold counts. No trouble of the server ends the hold.
#[test]
fn a_held_board_is_not_written_until_the_hold_is_taken_back() -> Result<()> {
    let scene = Scene::new("order-hold", Product::Rpi5)?;
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let hold = signed(&pair, Action::Hold)?;
    let is_held = Arc::new(AtomicBool::new(true));
    let holds = Arc::clone(&is_held);
    let server = Server::start(move |_| {
        if holds.load(Ordering::SeqCst) {
            Reply::new(200, hold.clone())
        } else {
            Reply::new(404, "")
        }
    });
    ask(&scene, &server.url_at(HOST), &pair)?;
    let mut board = scene.power_on()?;
    board.wait_for("holds this node: nothing is written", PATIENCE)?;
    server.set_down(true);
    board.wait_for("signed orders cannot be asked for", PATIENCE)?;
    assert_eq!(scene.receipt()?["outcome"], "held");
    scene.assert_disk_is_untouched()?;
    is_held.store(false, Ordering::SeqCst);
    server.set_down(false);
    let receipt = scene.finish(&mut board)?;
    assert_eq!(receipt["outcome"], "flashed");
    scene.assert_disk_is_the_image()
}

#[test]
fn a_dry_run_says_what_it_would_do_and_writes_nothing() -> Result<()> {
    let mut scene = Scene::new("dry-run", Product::Rpi5)?;
    scene.arguments.push_str(" gild.dry_run=1");
    let logs = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    logs.set_read_timeout(Some(PATIENCE))?;
    let server = format!("syslog = \"udp://{HOST}:{}\"\n", logs.local_addr()?.port());
    let text = scene.configuration();
    scene.card.write("gild.toml", &format!("{text}{server}"))?;
    let mut before = scene.card.names()?;
    let mut board = scene.power_on()?;
    let image = format!(
        "dry run: this node would write image {}",
        scene.share.golden.image_id
    );
    let said = board.wait_for(&image, PATIENCE)?;
    assert!(said.contains("serial NVME-SIM-0001"), "{said}");
    // It looks again but does not restart.
    board.wait_for("gild: stage disk", PATIENCE)?;
    board.wait_for("gild: stage target", PATIENCE)?;
    let receipt = scene.receipt()?;
    assert_eq!(receipt["outcome"], "dry-run");
    assert_eq!(receipt["bytes_written"], 0);
    board.cut_power()?;
    let mut line = [0; 2048];
    let beginning = format!("<30>1 - {} gild - - - dry run: ", Product::Rpi5.mac12());
    loop {
        let length = logs.recv(&mut line)?;
        if line[..length].starts_with(beginning.as_bytes()) {
            break;
        }
    }
    scene.assert_disk_is_untouched()?;
    for ending in ["json", "log", "txt"] {
        before.push(format!("gild-{}.{ending}", Product::Rpi5.mac12()));
    }
    let mut after = scene.card.names()?;
    before.sort();
    after.sort();
    assert_eq!(after, before);
    Ok(())
}

/// Starting the disk depends on nobody: not on a server that accepts the connection and says nothing, and not on the network.
#[test]
fn a_proven_disk_is_started_in_time_without_an_answer_and_without_a_network() -> Result<()> {
    let scene = proven("order-silence")?;
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{HOST}:{}", silent.local_addr()?.port());
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in silent.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            kept.push(stream);
        }
    });
    ask(&scene, &url, &pair)?;
    for (has_cable, said) in [(true, "cannot be asked for"), (false, "no carrier on")] {
        let (receipt, console) = start(&scene, has_cable, said)?;
        let waited = receipt["seconds"]["network"].as_f64().context("a time")?;
        println!("{said}: {waited} s");
        assert!(waited <= LONGEST_WAIT, "{said}: {waited} s");
        assert!(!console.contains("gild: stage flash"), "{console}");
    }
    assert!(carried_out(&scene)?.is_empty());
    Ok(())
}

/// The order is good, but the server of images sends single bytes. The disk is started and not changed.
#[test]
fn a_proven_disk_is_started_in_time_though_the_share_trickles() -> Result<()> {
    let scene = proven("order-trickle")?;
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let server = web_server(order(&pair)?);
    let share = Server::start(|_| Reply::new(200, vec![b' '; 100_000]).dripping());
    ask(&scene, &server.url_at(HOST), &pair)?;
    let text = scene.card.read("gild.toml")?;
    let text = text.lines().map(|line| match line.split_once(" = ") {
        Some(("server", _)) => format!("server = \"{}\"\n", share.url_at(HOST)),
        _ => format!("{line}\n"),
    });
    scene.card.write("gild.toml", &text.collect::<String>())?;
    let written = fs::metadata(scene.nvme())?.mtime();
    let begun = Instant::now();
    let (receipt, console) = start(&scene, true, "the disk is started as it is")?;
    println!("started after {:?}", begun.elapsed());
    assert_eq!(receipt["outcome"], "already-done");
    let waited = receipt["seconds"]["manifest"].as_f64().context("a time")?;
    assert!(waited <= 20.0 + 5.0, "{waited} s");
    assert!(
        console.contains("did not come within 20 seconds"),
        "{console}"
    );
    assert!(!console.contains("gild: stage flash"), "{console}");
    assert!(carried_out(&scene)?.is_empty());
    assert_eq!(fs::metadata(scene.nvme())?.mtime(), written);
    Ok(())
}
