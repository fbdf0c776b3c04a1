//! What the status server gets from a node while it is flashed.
//!
//! Real: the agent, its network, the disk's speed limit. Simulated: the status server, by a web server of the tests, and a disk that
//! reports that it is failing, by QEMU's NVMe.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use gild_http_testkit::free_port;
use gild_http_testkit::{Reply, Request, Server};
use gild_report::{Kind, Report, ReportKey, SIGNATURE_HEADER};
use gild_tests::board_dtb::Product;
use gild_tests::scene::{PATIENCE, Scene};
use serde_json::json;

/// This machine, as a board sees it.
const HOST: &str = "10.0.2.2";
/// Bytes per second of the disk: a flash takes half a minute.
const SLOW: u64 = 4 << 20;
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Makes the card send signed reports to this server.
fn report_to(scene: &Scene, desk: &str) -> Result<()> {
    scene.card.write(
        "gild.toml",
        &format!(
            "{}status_url = \"{desk}/reports\"\nstatus_key = \"{KEY}\"\n",
            scene.configuration()
        ),
    )
}

/// The reports that arrived. The card's key has signed each.
fn reports(requests: &[Request]) -> Result<Vec<Report>> {
    let key = ReportKey::parse(KEY)?;
    let report = |request: &Request| {
        assert_eq!(request.line(), "POST /reports");
        let signature = request.header(SIGNATURE_HEADER).unwrap_or_default();
        assert!(
            key.has_signed(request.body.as_bytes(), signature),
            "{}",
            request.body
        );
        serde_json::from_str(&request.body).with_context(|| request.body.clone())
    };
    requests.iter().map(report).collect()
}

#[test]
fn a_flash_is_reported_signed_while_it_happens_and_the_receipt_at_its_end() -> Result<()> {
    let mut scene = Scene::new("reports", Product::Rpi5)?;
    scene.hardware.nvme[0].bytes_per_second = SLOW;
    let desk = Server::start(|_| Reply::new(204, ""));
    report_to(&scene, &desk.url_at(HOST))?;
    let mut board = scene.power_on()?;
    let on_card = scene.finish(&mut board)?;
    let said = board.console();
    drop(board);

    let reports = reports(&desk.requests())?;
    let (receipt, progress) = reports.split_last().context("reports")?;
    assert_eq!(receipt.kind, Kind::Receipt);
    assert_eq!(receipt.outcome.as_deref(), Some("flashed"));
    assert_eq!(
        receipt.image_id,
        on_card["image_id"].as_str().map(str::to_owned)
    );
    assert_eq!(receipt.mac.as_deref(), Some(Product::Rpi5.mac()));
    assert!(progress.iter().all(|report| report.kind == Kind::Progress));
    for pair in reports.windows(2) {
        assert_eq!(pair[0].boot, pair[1].boot);
        assert!(pair[0].sequence < pair[1].sequence, "{pair:?}");
    }
    for stage in ["flash", "verify"] {
        let of_stage = || {
            progress
                .iter()
                .filter(|report| report.stage.as_deref() == Some(stage))
        };
        let percents: Vec<u8> = of_stage().filter_map(|report| report.percent).collect();
        println!("{stage}: {percents:?} %");
        assert!(percents.is_sorted(), "{stage}: {percents:?}");
        // Most data was read back while the rest was written, so the last stage may end before a report is due.
        assert!(
            stage == "verify" || percents.len() >= 2 && percents.first() < percents.last(),
            "{stage}: {percents:?}"
        );
        assert!(of_stage().all(|report| report.percent.is_none()
            || (report.bytes_per_second.is_some() && report.seconds_left.is_some())));
    }
    assert!(
        progress
            .iter()
            .all(|report| report.address.as_deref() == Some("10.0.2.15")),
        "{progress:?}"
    );
    assert!(
        !said.iter().any(|line| line.contains(KEY)),
        "the key is on the console"
    );
    for name in scene.card.names()? {
        let is_configuration = name == "gild.toml";
        assert!(
            is_configuration || !scene.card.read(&name)?.contains(KEY),
            "{name} has the key"
        );
    }
    Ok(())
}

#[test]
fn a_receipt_that_nobody_takes_does_not_hold_up_the_node_and_is_sent_at_the_next_start()
-> Result<()> {
    let scene = Scene::new("reports-later", Product::Rock5b)?;
    let port = free_port()?;
    report_to(&scene, &format!("http://{HOST}:{port}"))?;
    let mut board = scene.power_on()?;
    board.wait_for(
        "gild: warning: the status URL does not take reports",
        PATIENCE,
    )?;
    assert_eq!(scene.finish(&mut board)?["outcome"], "flashed");
    drop(board);
    let name = format!("gild-{}.unsent", Product::Rock5b.serial_number());
    let unsent = scene.card.read(&name)?;
    let unsent = unsent.trim_end();
    let left: Report = serde_json::from_str(unsent)?;
    assert_eq!(left.outcome.as_deref(), Some("flashed"));

    // `gild-reprovision` leaves the disk like this. The next start asks the share.
    let target = OpenOptions::new().write(true).open(scene.nvme())?;
    target.write_all_at(&[0; 512], 0)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let desk = Server::serve(listener, None, |_| Reply::new(204, ""));
    let mut board = scene.power_on()?;
    let unreliable = json!({
        "path": "/machine/peripheral/nvme0-slot", "property": "smart_critical_warning", "value": 0b100,
    });
    board.qmp().execute("qom-set", unreliable)?;
    board.wait_for(
        "gild: warning: nvme: the disk says that it is not reliable",
        PATIENCE,
    )?;
    scene.finish(&mut board)?;
    assert!(scene.note()?.contains("not reliable any more"));
    let log = scene
        .card
        .read(&format!("gild-{}.log", Product::Rock5b.mac12()))?;
    assert_eq!(log.matches("=== start ").count(), 2, "both starts: {log}");
    assert_eq!(log.matches("gild: stage flash\n").count(), 2, "{log}");

    let requests = desk.requests();
    assert_eq!(requests[0].body, unsent);
    let reports = reports(&requests)?;
    let last = reports.last().context("reports")?;
    assert_eq!((last.kind, last.boot == left.boot), (Kind::Receipt, false));
    assert!(!scene.card.names()?.contains(&name), "it was taken");
    let found: Vec<&str> = last.hardware.iter().map(|found| &*found.subject).collect();
    assert_eq!(found, ["nvme"]);
    Ok(())
}
