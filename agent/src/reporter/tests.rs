//! Facts about what is sent, when, and what it costs the work. The server is a socket of this test, and this machine's loopback is the
//! boards' network.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use gild_faults::Fault;
use gild_http_testkit::free_port;
use gild_report::{Finding, Level, Report, ReportKey};
use reqwest::Url;
use serde_json::Value;

use super::outbox::{Letter, Next, Outbox, Outcome};
use super::{Destination, Reporter};
use crate::failure::{Failure, Remedy};
use crate::led::Led;
use crate::machine::Machine;
use crate::node::Node;
use crate::progress::Measure;
use crate::receipt::{self, Receipt};

const SECOND: Duration = Duration::from_secs(1);

fn to(url: &str) -> Destination {
    Destination {
        url: Url::parse(url).expect("an address"),
        authorities: None,
        key: ReportKey::parse(&"0b".repeat(32)).ok(),
    }
}

fn failure() -> Failure {
    Failure {
        fault: Fault::NoTarget,
        message: "no disk".to_owned(),
        next_step: Fault::NoTarget.next_step().into(),
        remedy: Remedy::LookAgain,
    }
}

fn machine() -> Machine {
    Machine::new(Led::start(), SECOND)
}

fn receipt(image_id: &str) -> Receipt {
    let node = Node {
        image_id: Some(image_id.to_owned()),
        ..Node::default()
    };
    receipt::make(&machine(), &node, None, false)
}

fn measure(percent: u8) -> Measure {
    Measure {
        percent,
        bytes_per_second: 7,
        seconds_left: 9,
    }
}

/// An outbox of a node with a network, and its time.
struct Scene {
    outbox: Outbox,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let mut outbox = Outbox::default();
        outbox.knows(Some(to("http://desk/")), Report::default());
        let now = Instant::now();
        Self { outbox, now }
    }

    fn letter(&mut self) -> (Letter, Value) {
        match self.outbox.next(self.now, Some(1)) {
            Next::Send(letter) => {
                let json = serde_json::from_str(&letter.json).expect("JSON");
                (letter, json)
            }
            Next::Wait(time) => panic!("nothing is sent for {time:?}"),
        }
    }

    fn waits(&mut self) -> Option<Duration> {
        match self.outbox.next(self.now, Some(1)) {
            Next::Send(letter) => panic!("{} is sent", letter.json),
            Next::Wait(time) => time,
        }
    }

    /// Advances to the time when the report is sent again.
    fn rests(&mut self) {
        let wait = self.waits().expect("it is sent again");
        self.now += wait;
    }

    fn posted(&mut self, is_taken: bool) -> (Value, Outcome) {
        let (letter, json) = self.letter();
        (json, self.outbox.posted(&letter, is_taken, self.now))
    }
}

#[test]
fn nothing_is_sent_without_a_network_and_the_latest_when_there_is_one() {
    let mut outbox = Outbox::default();
    let now = Instant::now();
    outbox.enters("network", true);
    assert_eq!(outbox.next(now, None), Next::Wait(None));
    outbox.enters("manifest", true);
    outbox.knows(Some(to("http://desk/")), Report::default());
    let mut scene = Scene { outbox, now };
    let (report, _) = scene.posted(true);
    assert_eq!(
        (&report["kind"], &report["stage"]),
        (&"progress".into(), &"manifest".into())
    );
    assert_eq!(
        (&report["sequence"], &report["uptime_seconds"]),
        (&1.into(), &1.into())
    );
    assert_eq!(scene.waits(), None);
}

#[test]
fn a_stage_is_reported_at_once_and_its_progress_every_few_seconds() {
    let mut scene = Scene::new();
    scene.outbox.enters("flash", true);
    assert_eq!(scene.posted(true).0["stage"], "flash");
    for percent in [10, 20, 30] {
        scene.outbox.measured(measure(percent - 5));
        let wait = scene.waits().expect("an end");
        assert!((SECOND * 4..=SECOND * 6).contains(&wait), "{wait:?}");
        scene.now += wait;
        scene.outbox.measured(measure(percent));
        let (report, _) = scene.posted(true);
        assert_eq!(report["percent"], percent);
        assert_eq!(report["bytes_per_second"], 7);
        assert_eq!(report["seconds_left"], 9);
    }
    scene.outbox.measured(measure(99));
    scene.outbox.enters("verify", true);
    let (report, _) = scene.posted(true);
    assert_eq!(
        (&report["stage"], &report["percent"]),
        (&"verify".into(), &Value::Null)
    );
}

#[test]
fn a_fault_is_reported_until_the_work_gets_past_it() {
    let mut scene = Scene::new();
    scene.outbox.failed(&failure(), true);
    let said = |scene: &mut Scene| {
        let report = scene.posted(true).0;
        (
            report["fault"].clone(),
            report["held"].clone(),
            report["next_step"].clone(),
        )
    };
    let is_held = (5.into(), true.into(), Fault::NoTarget.next_step().into());
    let is_well = (Value::Null, false.into(), Value::Null);
    assert_eq!(said(&mut scene), is_held);
    scene.outbox.enters("board", false);
    assert_eq!(said(&mut scene), is_held);
    scene.outbox.enters("flash", true);
    assert_eq!(said(&mut scene), is_well);
    scene.outbox.failed(&failure(), true);
    said(&mut scene);
    scene.outbox.got_on();
    assert_eq!(said(&mut scene), is_well);
    scene.outbox.got_on();
    assert_eq!(scene.waits(), None);
}

#[test]
fn the_waits_after_failures_grow_to_a_minute_and_only_the_first_is_said() {
    let mut scene = Scene::new();
    scene.outbox.enters("flash", true);
    let mut outcomes = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..12 {
        outcomes.push(scene.posted(false).1);
        let wait = scene.waits().expect("it is sent again");
        waits.push(wait);
        scene.now += wait;
    }
    assert_eq!(outcomes[0], Outcome::Trouble);
    assert!(
        outcomes[1..]
            .iter()
            .all(|outcome| *outcome == Outcome::AsBefore)
    );
    assert!((SECOND / 2..=SECOND).contains(&waits[0]), "{waits:?}");
    assert!(waits[3] >= SECOND * 4, "{waits:?}");
    let last = waits[11];
    assert!((SECOND * 30..=SECOND * 60).contains(&last), "{waits:?}");
    assert_eq!(scene.posted(true).1, Outcome::Over);
    scene.outbox.enters("verify", true);
    scene.posted(false);
    assert!(
        scene.waits().expect("it is sent again") <= SECOND,
        "it begins again"
    );
}

#[test]
fn a_receipt_is_repeated_until_it_is_taken_with_a_number_above_all_before() {
    let mut scene = Scene::new();
    scene.outbox.receipt(receipt("a"), true);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let report = scene.posted(false).0;
        assert_eq!(
            (&report["kind"], &report["image_id"]),
            (&"receipt".into(), &"a".into())
        );
        numbers.push(report["sequence"].as_u64().expect("a number"));
        // The work continues and is reported meanwhile.
        scene.outbox.enters("flash", true);
        let report = scene.posted(true).0;
        assert_eq!(report["kind"], "progress");
        numbers.push(report["sequence"].as_u64().expect("a number"));
        scene.rests();
    }
    assert!(
        numbers.is_sorted() && numbers[0] < numbers[5],
        "{numbers:?}"
    );
    assert!(scene.outbox.is_sending_receipts());
    scene.posted(true);
    assert!(!scene.outbox.is_sending_receipts());
    assert_eq!(scene.outbox.unsent(), Vec::<String>::new());
}

#[test]
fn a_newer_receipt_takes_the_place_of_one_on_its_way_and_is_news_as_that_was() {
    let mut scene = Scene::new();
    scene.outbox.receipt(receipt("a"), true);
    let (letter, _) = scene.letter();
    scene.outbox.receipt(receipt("b"), false);
    scene.outbox.posted(&letter, true, scene.now);
    assert_eq!(scene.outbox.unsent().len(), 1);
    assert_eq!(scene.posted(true).0["image_id"], "b");
    scene.outbox.receipt(receipt("c"), false);
    assert_eq!(scene.outbox.unsent(), Vec::<String>::new(), "nothing new");
}

#[test]
fn receipts_of_earlier_starts_come_first_as_they_were_and_stand_in_nobody_s_way() {
    let mut scene = Scene::new();
    let earlier = ["{\"n\":1}", "{\"n\":2}"].map(str::to_owned);
    scene.outbox.earlier(earlier.to_vec());
    scene.outbox.receipt(receipt("a"), true);
    scene.outbox.enters("flash", true);
    assert_eq!(scene.posted(false).0["n"], 1);
    assert_eq!(scene.posted(true).0["kind"], "receipt");
    assert_eq!(scene.posted(true).0["kind"], "progress");
    scene.rests();
    let (letter, _) = scene.letter();
    assert_eq!(letter.json, earlier[1]);
    scene.outbox.posted(&letter, true, scene.now);
    assert_eq!(scene.outbox.unsent(), earlier[..1]);
    assert_eq!(scene.posted(true).0["n"], 1);
    assert_eq!(scene.outbox.unsent(), Vec::<String>::new());
}

#[test]
fn what_is_found_of_the_hardware_is_in_every_report_until_it_is_found_otherwise() {
    let mut scene = Scene::new();
    let found = |message: &str| Finding {
        subject: "link".to_owned(),
        level: Level::Warning,
        message: message.to_owned(),
    };
    assert!(scene.outbox.found("link", &[found("slow")]));
    let (report, _) = scene.posted(true);
    assert_eq!(report["hardware"][0]["message"], "slow");
    assert!(!scene.outbox.found("link", &[found("slow")]));
    assert!(!scene.outbox.found("nvme", &[]));
    assert_eq!(scene.waits(), None);
    let receipt = scene.outbox.stamp(Report::default(), None);
    assert_eq!(receipt.hardware, [found("slow")]);
    assert!(scene.outbox.found("link", &[]));
    assert_eq!(scene.posted(true).0["hardware"], Value::Null);
}

/// What the server does with one connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Hang,
    HangUp,
    Answer(&'static str),
}

/// A request: its signature and its body.
struct Request {
    signature: String,
    body: String,
}

/// Does these things in turn, and the last forever.
fn server(deeds: &[Deed]) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/status",
        listener.local_addr().expect("its address")
    );
    let (seen, requests) = mpsc::channel();
    let mut deeds: VecDeque<Deed> = deeds.to_vec().into();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let deed = if deeds.len() > 1 {
                deeds.pop_front()
            } else {
                deeds.front().copied()
            };
            let Some(deed) = deed else { return };
            if deed == Deed::HangUp {
                continue;
            }
            let request = read(&stream);
            if seen.send(request).is_err() {
                return;
            }
            if let Deed::Answer(status) = deed {
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = (&stream).write_all(answer.as_bytes());
            } else {
                held.push(stream);
            }
        }
    });
    (url, requests)
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let (mut length, mut signature) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let Some((name, value)) = line.trim().split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "gild-signature" => value.trim().clone_into(&mut signature),
            _ => (),
        }
    }
    let mut body = String::new();
    reader
        .take(length)
        .read_to_string(&mut body)
        .expect("a body");
    Request { signature, body }
}

fn reporter(url: &str) -> Reporter {
    let reporter = Reporter::default();
    reporter
        .shared
        .outbox()
        .knows(Some(to(url)), Report::default());
    reporter.start();
    reporter
}

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_server_that_hangs_holds_nothing_up_and_the_latest_is_sent_when_it_is_back() {
    let (url, requests) = server(&[Deed::Hang, Deed::Answer("204 No Content")]);
    let reporter = reporter(&url);
    reporter.enters(crate::stage::Stage::Flash, true);
    requests
        .recv_timeout(PATIENCE)
        .expect("the report that hangs");
    let start = Instant::now();
    for percent in (0..=100).cycle().take(20_000) {
        reporter.measured(measure(percent));
        reporter.got_on();
    }
    reporter.failed(&failure(), true);
    reporter.enters(crate::stage::Stage::Verify, false);
    reporter.receipt(receipt("a"), true);
    let took = start.elapsed();
    assert!(took < SECOND * 3, "the work waited: {took:?}");
    let next = requests.recv_timeout(PATIENCE).expect("another");
    let next: Value = serde_json::from_str(&next.body).expect("JSON");
    assert_eq!(next["kind"], "receipt");
    let last = requests.recv_timeout(PATIENCE).expect("another");
    let last: Value = serde_json::from_str(&last.body).expect("JSON");
    assert_eq!(
        (&last["stage"], &last["fault"]),
        (&"verify".into(), &5.into())
    );
}

#[test]
fn a_receipt_goes_to_a_server_that_hangs_up_and_fails_until_it_takes_it_and_is_signed() {
    let (url, requests) = server(&[
        Deed::HangUp,
        Deed::Answer("500 Internal Server Error"),
        Deed::Answer("302 Found"),
        Deed::Answer("200 OK"),
    ]);
    let reporter = reporter(&url);
    reporter.receipt(receipt("a"), true);
    let key = ReportKey::parse(&"0b".repeat(32)).expect("a key");
    for _ in 0..3 {
        let request = requests.recv_timeout(PATIENCE).expect("the receipt");
        let json: Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(json["image_id"], "a");
        assert!(key.has_signed(request.body.as_bytes(), &request.signature));
    }
    reporter.part(&machine());
    assert_eq!(reporter.unsent(), Vec::<String>::new());
    assert!(requests.try_recv().is_err(), "it was taken");
}

#[test]
fn a_restart_waits_a_moment_for_a_dead_server_and_leaves_the_receipt_to_the_next_start() {
    let (url, requests) = server(&[Deed::Answer("204 No Content")]);
    let dead = free_port().expect("a port that nobody listens at");
    let before = reporter(&format!("http://127.0.0.1:{dead}/"));
    before.receipt(receipt("a"), true);
    let start = Instant::now();
    before.part(&machine());
    let took = start.elapsed();
    assert!((SECOND * 4..SECOND * 20).contains(&took), "{took:?}");
    let left = before.unsent();
    assert_eq!(left.len(), 1);

    let after = reporter(&url);
    after.earlier(left.clone());
    let request = requests.recv_timeout(PATIENCE).expect("the receipt");
    assert_eq!(request.body, left[0]);
    after.part(&machine());
    assert_eq!(after.unsent(), Vec::<String>::new());
}

#[test]
fn a_restart_without_a_way_to_the_server_waits_for_nothing() {
    let reporter = Reporter::default();
    reporter.receipt(receipt("a"), true);
    let start = Instant::now();
    reporter.part(&machine());
    assert!(start.elapsed() < SECOND);
    assert_eq!(reporter.unsent().len(), 1);
}
