//! Facts about what the agent asks and hears. The server belongs to the test.

use std::io::{Cursor, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use gild_disk::select::Candidate;
use gild_format::manifest::Sha256Hex;
use gild_format::record::{Record, State};
use gild_format::release::GOLDEN;
use gild_http_testkit::{Reply, Server, free_port};
use gild_orders::{Action, Choice, Flash, OrderId, SignedOrder};
use minisign::KeyPair;

use super::*;
use crate::clock::Setting;
use crate::consent::{Holds, Proven};

const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ID: &str = "20261228T101500Z-1a2b3c";
const LATER: &str = "20261229T101500Z-1a2b3c";
/// After both.
const NOW: u64 = 1_798_600_000;
const TIME: Duration = Duration::from_secs(5);

struct Operator {
    pair: KeyPair,
    key: PublicKey,
}

impl Operator {
    fn new() -> Self {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key pair");
        let key = PublicKey::parse(&pair.pk.to_base64()).expect("a key");
        Self { pair, key }
    }

    fn signs(&self, order: &Order) -> String {
        let text = order.to_text();
        let data = Cursor::new(&text);
        let signed = minisign::sign(Some(&self.pair.pk), &self.pair.sk, data, None, None);
        let signature = signed.expect("a signature").into_string();
        SignedOrder::new(text, signature).to_text()
    }
}

fn order(id: &str, action: Action) -> Order {
    Order {
        id: OrderId::parse(id).expect("an id"),
        nodes: vec![MAC],
        expires: NOW + 3600,
        action,
    }
}

fn flash() -> Action {
    Action::Flash(Flash::default())
}

/// The result of an answer from this server, for a node that trusts this key.
fn asked(server: &str, key: &PublicKey, time: Duration) -> Result<Option<Order>, NotHeard> {
    let access = Access::new(None, None).expect("access");
    let question = Question {
        server: &Url::parse(server).expect("an address"),
        access: &access,
        keys: &[key],
        macs: &[OTHER, MAC],
        mac: MAC,
        board: "rpi5",
    };
    question.ask(Instant::now() + time, NOW)
}

/// A server with this text under this name.
fn server(name: &'static str, body: String) -> Server {
    Server::start(move |request| {
        if request.target == format!("/orders/{name}") {
            Reply::new(200, body.clone())
        } else {
            Reply::new(404, "no such page")
        }
    })
}

fn record(orders: &[&str]) -> Record {
    Record {
        state: State::Proven,
        image_id: "a-1".to_owned(),
        manifest_sha256: Sha256Hex([7; 32]),
        rollback_counter: 1,
        rollback_floor: 0,
        trial_starts: 0,
        is_discarded: false,
        is_boot_order_pending: false,
        orders: orders.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn proven(orders: &[&str]) -> Holds {
    Holds::Proven(Proven::Record(record(orders)))
}

/// Whether a disk that would be started is written after this answer.
fn writes(answer: Result<Option<Order>, NotHeard>, orders: &[&str]) -> bool {
    writes_at(&Setting::Right, NOW, answer, orders)
}

/// The same, at this time, after the clock was set like this.
fn writes_at(
    clock: &Setting,
    now: u64,
    answer: Result<Option<Order>, NotHeard>,
    orders: &[&str],
) -> bool {
    let mut heard = Heard::default();
    heard.knows_time_by(clock);
    let holds = proven(orders);
    let _ = heard.takes(answer, holds.carried_out(), now);
    let signed = heard.order_for("S1", now);
    let decision = consent::decide(holds, None, signed.as_ref());
    if let Some(signed) = &signed {
        heard.doubts(&signed.id, now);
    }
    let is_written = matches!(decision, Decision::Write(_));
    let says_why = signed.is_some() && heard.trouble().is_some();
    assert!(!(is_written && says_why), "{:?}", heard.trouble());
    is_written
}

/// A board without a battery and without a time server: an old order would count again.
#[test]
fn an_order_has_no_proven_disk_written_by_a_clock_that_nobody_set() {
    let good = || Ok(Some(order(ID, flash())));
    assert!(writes_at(&Setting::Right, NOW, good(), &[]));
    assert!(writes_at(&Setting::Own, NOW, good(), &[]), "a battery");
    assert!(!writes_at(&Setting::Unknown, NOW, good(), &[]));
    let floor = gild_orders::FLOOR.as_secs();
    assert!(
        !writes_at(&Setting::Own, floor, good(), &[]),
        "the order was made after the time of this clock"
    );

    let mut heard = Heard::default();
    heard.takes(good(), &[], NOW).expect("an order");
    let signed = heard.order_for("S1", NOW).expect("an order");
    heard.doubts(&signed.id, NOW);
    let said = heard.trouble().expect("a report says why");
    assert!(
        said.contains(ID) && said.contains("does not know the time"),
        "{said}"
    );
    let blank = Holds::Blank(Some(record(&[ID])));
    assert!(heard.chosen(&blank, "S1").is_some(), "no node lives on it");
    heard.knows_time_by(&Setting::Right);
    assert!(heard.order_for("S1", NOW).expect("an order").is_in_time);
}

#[test]
fn a_good_order_is_heard_under_the_node_s_name_and_under_its_board_s() {
    let operator = Operator::new();
    let good = order(ID, flash());
    for name in ["d83add010203", "rpi5"] {
        let server = server(name, operator.signs(&good));
        let url = format!("{}/orders/", server.url());
        let heard = asked(&url, &operator.key, TIME).expect("an answer");
        assert_eq!(heard.as_ref(), Some(&good), "{name}");
        assert!(writes(Ok(heard), &[]), "{name}");
    }
}

/// For each answer that is not a valid order to flash this node, or that this disk has already carried out, the disk is started.
#[test]
fn nothing_but_a_good_order_to_flash_has_a_proven_disk_written() {
    let (operator, stranger) = (Operator::new(), Operator::new());
    let good = order(ID, flash());
    let signs = |order: &Order| operator.signs(order);
    let of_others = Order {
        nodes: vec![Mac([2; 6])],
        ..good.clone()
    };
    let expired = Order {
        expires: NOW,
        ..good.clone()
    };
    let for_another_disk = Action::Flash(Flash {
        disk: Some("S2".to_owned()),
        ..Flash::default()
    });
    let changed = signs(&order(ID, Action::Hold)).replace("hold", "flash");
    for (name, body, expected) in [
        ("not an order", "<html>".to_owned(), "not a signed order"),
        (
            "an order without a signature",
            good.to_text(),
            "not a signed order",
        ),
        (
            "a stranger's",
            stranger.signs(&good),
            "signature does not count",
        ),
        ("changed", changed, "signature does not count"),
        ("of other nodes", signs(&of_others), "names other nodes"),
        ("expired", signs(&expired), "has expired"),
        ("too long", " ".repeat(65 << 10), "longer than"),
    ] {
        let server = server("d83add010203", body);
        let url = format!("{}/orders", server.url());
        let error = asked(&url, &operator.key, TIME).expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(!writes(Err(error), &[]), "{name}");
    }
    for (name, order) in [
        ("a hold", order(ID, Action::Hold)),
        ("identify", order(ID, Action::Identify)),
        ("for another disk", order(ID, for_another_disk)),
    ] {
        let server = server("d83add010203", signs(&order));
        let url = format!("{}/orders", server.url());
        let heard = asked(&url, &operator.key, TIME).expect(name);
        assert_eq!(heard, Some(order), "{name}");
        assert!(!writes(Ok(heard), &[]), "{name}");
    }
    for done in [ID, LATER] {
        assert!(!writes(Ok(Some(good.clone())), &[done]), "spent by {done}");
    }
    assert!(writes(Ok(Some(good)), &["20260101T000000Z-000000"]));
}

#[test]
fn a_server_without_an_order_one_that_is_away_and_one_that_never_answers_have_nothing_written() {
    let key = Operator::new().key;
    let empty = server("nobody", String::new());
    let none = asked(&empty.url(), &key, TIME).expect("no order");
    assert_eq!(none, None);
    assert_eq!(empty.requests().len(), 2, "its own name, and its board's");
    assert!(!writes(Ok(none), &[]));
    let broken = Server::start(|_| Reply::new(500, ""));
    let port = free_port().expect("a port");
    for url in [broken.url(), format!("http://127.0.0.1:{port}")] {
        let error = asked(&url, &key, TIME).expect_err("trouble");
        assert!(matches!(error, NotHeard::Unreachable(_)), "{error}");
        assert!(!writes(Err(error), &[]));
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("a port").port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in silent.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            kept.push(stream);
        }
    });
    let start = Instant::now();
    let url = format!("http://127.0.0.1:{port}");
    let error = asked(&url, &key, Duration::from_secs(1)).expect_err("no answer");
    assert!(matches!(error, NotHeard::Unreachable(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

/// A signed order survives a network that fails, and ends with another answer.
#[test]
fn a_hold_ends_with_another_answer_and_not_with_the_network() {
    let away = || Err(NotHeard::Unreachable(HttpError::TooLong));
    let mut heard = Heard::default();
    let hold = order(ID, Action::Hold);
    heard
        .takes(Ok(Some(hold.clone())), &[], NOW)
        .expect("a hold");
    assert!(heard.hold(NOW).is_some());
    heard.takes(away(), &[], NOW).expect_err("away");
    assert!(heard.hold(NOW).is_some() && heard.trouble().is_some());
    assert!(heard.hold(NOW + 3600).is_none(), "it has expired");
    heard.takes(Ok(None), &[], NOW).expect("an answer");
    assert!(heard.hold(NOW).is_none() && heard.trouble().is_none());
    // It was signed before an order that the disk has carried out.
    heard
        .takes(Ok(Some(hold)), &[LATER.to_owned()], NOW)
        .expect("a hold");
    assert!(heard.hold(NOW).is_some());
}

/// Only the server knows which image the order chooses, and whether the disk is to be erased.
#[test]
fn a_disk_made_blank_for_an_order_waits_for_a_server_that_is_away() {
    let away = || Err(NotHeard::Unreachable(HttpError::TooLong));
    let made = order(ID, flash()).id.made_at();
    let blank = |orders: &[&str]| Holds::Blank(Some(record(orders)));
    let missing = |answer, holds: &Holds, now| {
        let mut heard = Heard::default();
        let _ = heard.takes(answer, holds.carried_out(), now);
        heard.missing(holds, now)
    };
    let (order, other) = (order(ID, flash()), order(LATER, flash()));
    let status = |status: u16| {
        let status = reqwest::StatusCode::from_u16(status).expect("a status");
        Err(NotHeard::Unreachable(HttpError::Status(status)))
    };
    let hours = |hours| made + Duration::from_hours(hours).as_secs();
    for (answer, now) in [(away(), made), (status(503), made), (away(), hours(335))] {
        assert!(missing(answer, &blank(&[ID, "2026-12"]), now));
    }
    for (why, answer, holds, now) in [
        ("it is here", Ok(Some(order.clone())), blank(&[ID]), made),
        ("a later one is", Ok(Some(other)), blank(&[ID]), made),
        ("it was taken back", Ok(None), blank(&[ID]), made),
        ("a server without it", status(403), blank(&[ID]), made),
        ("the card's order", away(), blank(&["2026-12", ID]), made),
        ("it is too old", away(), blank(&[ID]), hours(337)),
        ("no order was begun", away(), blank(&["2026-12"]), made),
        ("a bare disk", away(), Holds::Blank(None), made),
        ("a foreign disk", away(), Holds::Foreign, made),
        ("a node", away(), proven(&[ID]), made),
    ] {
        assert!(!missing(answer, &holds, now), "{why}");
    }
    // What was heard once is signed.
    let mut heard = Heard::default();
    let begun = [ID.to_owned()];
    let _ = heard.takes(Ok(Some(order)), &begun, NOW);
    heard.takes(away(), &begun, NOW).expect_err("away");
    assert!(!heard.missing(&blank(&[ID]), NOW));
}

#[test]
fn an_order_that_the_server_takes_back_is_forgotten_unless_the_disk_notes_it() {
    let mut heard = Heard::default();
    let begun = [ID.to_owned()];
    heard
        .takes(Ok(Some(order(ID, flash()))), &[], NOW)
        .expect("one");
    heard.takes(Ok(None), &begun, NOW).expect("an answer");
    assert!(heard.any(None).is_some());
    heard.takes(Ok(None), &[], NOW).expect("an answer");
    assert!(heard.any(None).is_none());
}

/// A node notes the order and makes its disk blank. Then the power may fail while the agent writes the disk.
#[test]
fn a_blank_disk_that_notes_an_order_gets_the_image_that_it_chooses() {
    let mut heard = Heard::default();
    let flash = Action::Flash(Flash {
        choice: Choice::Image("rpi5-0".parse().expect("an id")),
        ..Flash::default()
    });
    let _ = heard.takes(Ok(Some(order(ID, flash))), &[ID.to_owned()], NOW);
    let chosen = |holds: &Holds| {
        heard
            .chosen(holds, "S1")
            .map(|chosen| chosen.id.to_string())
    };
    assert_eq!(
        chosen(&Holds::Blank(Some(record(&[ID])))).as_deref(),
        Some(ID)
    );
    assert_eq!(chosen(&Holds::Blank(None)).as_deref(), Some(ID));
    assert_eq!(chosen(&Holds::Blank(Some(record(&[LATER])))), None);
    assert_eq!(chosen(&proven(&[ID])), None, "it was carried out");
    let name = Chosen::manifest(heard.any(None));
    assert_eq!(name, "rpi5-0.json");
    assert_eq!(Chosen::manifest(None), GOLDEN);
}

#[test]
fn an_order_for_one_disk_is_not_for_another() {
    let mut heard = Heard::default();
    let flash = Action::Flash(Flash {
        disk: Some("S2".to_owned()),
        ..Flash::default()
    });
    heard
        .takes(Ok(Some(order(ID, flash))), &[], NOW)
        .expect("one");
    let disk = |serial: &str| Candidate {
        path: PathBuf::from("/dev/nvme0n1"),
        model: "Disk".to_owned(),
        serial: serial.to_owned(),
        size: 1,
        sector_size: 512,
    };
    let found = heard.disk(&[disk("S1"), disk("S2")]);
    assert_eq!(found.as_deref(), Some("S2"));
    assert_eq!(heard.disk(&[disk("S1")]), None);
    assert!(heard.chosen(&Holds::Foreign, "S1").is_none());
    assert!(heard.any(Some("S1")).is_none() && heard.any(None).is_none());
    assert!(heard.any(Some("S2")).is_some());
    heard.meets("S2");
    assert_eq!(heard.trouble(), None);
    heard.meets("S1");
    let said = heard.trouble().expect("a report says why");
    assert!(
        said.contains(ID) && said.contains("serial number S2"),
        "{said}"
    );
}

/// The disk that was looked at has already carried out the order, and another disk is found once the image is known.
#[test]
fn a_disk_that_comes_late_is_not_written_by_an_order_that_was_judged_by_another_disk() {
    let mut heard = Heard::default();
    let id = OrderId::made(clock::seconds(), [1, 2, 3]).expect("our days");
    let order = Order {
        expires: clock::seconds() + 3600,
        ..order(id.as_str(), flash())
    };
    heard.takes(Ok(Some(order)), &[], NOW).expect("one");
    heard.knows_time_by(&Setting::Right);
    let by = |holds: &Holds| {
        let chosen = heard.chosen(holds, "S1").cloned();
        let signed = heard.order_by(chosen.as_ref(), "S2", clock::seconds());
        signed.map(|signed| signed.id.to_string())
    };
    assert_eq!(by(&proven(&[id.as_str()])), None);
    assert_eq!(by(&proven(&[])).as_deref(), Some(id.as_str()));
}

#[test]
fn the_led_shows_which_board_it_is_until_the_order_expires() {
    let mut heard = Heard::default();
    let identify = order(ID, Action::Identify);
    heard.takes(Ok(Some(identify)), &[], NOW).expect("one");
    assert_eq!(heard.identify(NOW), Some(Duration::from_hours(1)));
    assert_eq!(heard.identify(NOW + 3600), None);
    assert!(heard.hold(NOW).is_none() && heard.any(None).is_none());
}
