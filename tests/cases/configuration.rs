//! The card and what is written on it, by the operator and by the agent.
//!
//! Simulated: Matchbox and the receiver of receipts are a small HTTP server.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use gild_format::network::{Found, NETWORK_LENGTH, NETWORK_OFFSET, Settings, Static};
use gild_http_testkit::{Reply, Server};
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use serde_json::Value;

/// This machine, as a board in QEMU's own network sees it.
const HOST: &str = "10.0.2.2";

#[test]
fn without_gild_toml_console_and_card_say_what_is_missing() -> Result<()> {
    let mut scene = Scene::new("no-configuration", Product::Rpi5)?;
    scene.card = gild_tests::card::Card::make(scene.card.image(), None)?;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    let line = board.wait_for("gild: FAULT", PATIENCE)?;
    board.wait_for("gild: waiting:", PATIENCE)?;

    assert!(
        line.contains("gild.toml") || line.contains("server"),
        "{line}"
    );
    assert!(
        scene.note()?.contains("gild.toml"),
        "the text on the card says what to do"
    );
    scene.assert_disk_is_untouched()
}

#[test]
fn without_a_card_the_kernel_arguments_are_enough() -> Result<()> {
    let mut scene = Scene::new("no-card", Product::Rock5b)?;
    scene.hardware.card = None;
    for line in scene.configuration().lines() {
        let (key, value) = line.split_once(" = ").unwrap_or_default();
        scene
            .arguments
            .extend([" gild.", key, "=", value.trim_matches('"')]);
    }

    let mut board = scene.power_on()?;
    board.wait_for("gild: done, rebooting", PATIENCE)?;
    board.wait_end(PATIENCE)?;

    scene.assert_disk_is_the_image()
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() -> Result<()> {
    let scene = Scene::new("unknown-key", Product::Rpi5)?;
    scene.card.write(
        "gild.toml",
        &format!("{}matchbx = \"http://10.0.2.2\"\n", scene.configuration()),
    )?;

    let mut board = scene.power_on()?;
    board.tolerate_faults();
    let line = board.wait_for("gild: FAULT", PATIENCE)?;

    assert!(
        line.contains("matchbx") && line.contains("matchbox"),
        "{line}"
    );
    scene.assert_disk_is_untouched()
}

/// To such a name the kernel says that it has written the file, and the old content stays.
#[test]
fn files_of_the_card_whose_names_lead_to_free_bytes_are_written_again() -> Result<()> {
    let scene = Scene::new("freed-clusters", Product::Rpi5)?;
    let files =
        ["json", "txt", "boot"].map(|ending| format!("gild-{}.{ending}", Product::Rpi5.mac12()));
    assert_eq!(scene.flash()?["outcome"], "flashed");
    let content = || {
        files
            .iter()
            .map(|name| scene.card.get(name))
            .collect::<Result<Vec<_>>>()
    };
    let before = content()?;
    for name in &files {
        scene.card.free_clusters_of(name)?;
    }
    assert_eq!(scene.flash()?["outcome"], "already-done");
    for ((name, before), now) in files.iter().zip(before).zip(content()?) {
        assert!(now.is_some(), "{name}");
        assert_ne!(now, before, "{name}");
    }
    Ok(())
}

#[test]
fn a_full_card_does_not_keep_the_node_from_being_flashed() -> Result<()> {
    let scene = Scene::new("full-card", Product::Rock5b)?;
    scene.card.fill()?;

    let mut board = scene.power_on()?;
    board.wait_for("gild: warning: the receipt is not on the card", PATIENCE)?;
    board.wait_for("gild: done, rebooting", PATIENCE)?;
    board.wait_end(PATIENCE)?;

    assert!(scene.receipt().is_err(), "there was no room for a receipt");
    scene.assert_disk_is_the_image()
}

#[test]
fn matchbox_s_name_is_on_the_console_and_its_token_is_nowhere() -> Result<()> {
    const TOKEN: &str = "K10deadbeef-this-is-a-secret";
    let scene = Scene::new("matchbox", Product::Rpi5)?;
    let mac = Product::Rpi5.mac();
    let matchbox = Server::start(move |_| {
        let text =
            format!("HOSTNAME=worker-7\nK3S_TOKEN={TOKEN}\nMAC={mac}\nREQUEST_QUERY_MAC={mac}\n");
        Reply::new(200, text)
    });
    let receiver = Server::start(|_| Reply::new(204, ""));
    scene.card.write(
        "gild.toml",
        &format!(
            "{}matchbox = \"{}\"\nstatus_url = \"{}/receipts\"\n",
            scene.configuration(),
            matchbox.url_at(HOST),
            receiver.url_at(HOST)
        ),
    )?;

    let mut board = scene.power_on()?;
    board.wait_for("worker-7", PATIENCE)?;
    let receipt = scene.finish(&mut board)?;

    assert_eq!(
        matchbox.requests()[0].line(),
        format!("GET /metadata?mac={mac}")
    );
    let posted = receiver.requests();
    let last = posted.last().expect("the receipt");
    assert_eq!(last.line(), "POST /receipts");
    let last: Value = serde_json::from_str(&last.body)?;
    assert_eq!(last["image_id"], receipt["image_id"]);
    assert_eq!(last["hostname"], "worker-7");
    let mut texts = board.console();
    texts.extend(posted.into_iter().map(|request| request.body));
    for name in scene.card.names()? {
        texts.push(scene.card.read(&name)?);
    }
    assert!(
        !texts.iter().any(|text| text.contains(TOKEN)),
        "the token was written somewhere"
    );
    Ok(())
}

/// The board has a static address of its own, and Matchbox does not know it.
#[test]
fn a_static_address_reaches_the_disk_and_a_node_without_a_group_is_flashed() -> Result<()> {
    let scene = Scene::new("matchbox-unknown", Product::Rock5b)?;
    let matchbox = Server::start(|_| Reply::new(404, ""));
    scene.card.write(
        "gild.toml",
        &format!(
            "{}matchbox = \"{}\"\n\
             [network]\naddress = \"10.9.9.9/24\"\n\
             [network.\"{}\"]\naddress = \"10.0.2.77/24\"\ngateway = \"10.0.2.2\"\ndns = [\"10.0.2.3\"]\nntp = [\"10.0.2.2\"]\n",
            scene.configuration(),
            matchbox.url_at(HOST),
            Product::Rock5b.mac()
        ),
    )?;

    let mut board = scene.power_on()?;
    board.wait_for("10.0.2.77/24", PATIENCE)?;
    board.wait_for(
        "the metadata server (a desk or Matchbox) does not know",
        PATIENCE,
    )?;

    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    let mut block = [0; NETWORK_LENGTH];
    File::open(scene.nvme())?.read_exact_at(&mut block, NETWORK_OFFSET)?;
    let expected = Settings {
        address: Some(Static {
            address: [10, 0, 2, 77].into(),
            prefix: 24,
            gateway: Some([10, 0, 2, 2].into()),
            dns: vec![[10, 0, 2, 3].into()],
        }),
        vlan: None,
        ntp: vec![[10, 0, 2, 2].into()],
    };
    assert_eq!(Found::in_bytes(&block), Found::Settings(expected));
    Ok(())
}
