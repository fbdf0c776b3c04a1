//! How busy 200 boards that report each second keep the desk, while the page is open: `cargo bench -p gild --bench desk_load`. Real: the
//! program, TLS, the page in Chromium. Boards are simulated, and this machine has them and the browser beside the desk.

#![allow(dead_code, reason = "the tests of the desk use the rest")]

#[path = "../tests/desk/boards.rs"]
mod boards;
#[path = "../tests/desk/browser.rs"]
mod browser;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/desk/serve.rs"]
mod serve;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use boards::flasher;
use browser::Browser;
use common::Bench;
use gild_http::Access;
use gild_report::{ReportKey, SIGNATURE_HEADER};
use serde_json::json;
use serve::{Serve, init};
use tokio::time::{MissedTickBehavior, interval, sleep};

const BOARDS: u8 = 200;
const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_mins(1);
/// Before the window: the boards are heard for the first time, and the page is made.
const START: Duration = Duration::from_secs(10);
/// `USER_HZ`, which is 100 on all machines that this runs on.
const TICK: Duration = Duration::from_millis(10);

fn main() {
    // `cargo bench` and `cargo test` give arguments of their own.
    for (name, keeps) in [
        ("each board keeps its connection", true),
        ("a new connection for each report", false),
    ] {
        let bench = Bench::new();
        init(&bench, &[]).succeeds();
        for last in 1..=BOARDS {
            boards::add(&bench, last, &format!("node-{last}"));
        }
        let serve = Serve::start(&bench);
        let mut page = Browser::open(&serve.https("/"), 1366, 700);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (taken, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for last in 1..=BOARDS {
            let board = Board::new(&bench, &serve, last, keeps);
            runtime.spawn(board.report(Arc::clone(&taken), Arc::clone(&late)));
        }
        std::thread::sleep(START);
        let drawn = format!(
            "document.querySelectorAll('#units [data-state=flashing]').length === {BOARDS}"
        );
        page.until(&drawn);
        let (before, reports, start) = (busy(&serve), taken.load(Relaxed), Instant::now());
        std::thread::sleep(WINDOW);
        let (busy, reports, time) = (
            busy(&serve).saturating_sub(before),
            taken.load(Relaxed) - reports,
            start.elapsed(),
        );
        page.until(&drawn);
        drop(runtime);
        println!(
            "{name}: {:.1} % of one core; {reports} reports in {:.0} s, {} not taken",
            100.0 * busy.as_secs_f64() / time.as_secs_f64(),
            time.as_secs_f64(),
            late.load(Relaxed)
        );
    }
}

struct Board {
    last: u8,
    url: String,
    key: ReportKey,
    client: reqwest::Client,
}

impl Board {
    fn new(bench: &Bench, serve: &Serve, last: u8, keeps: bool) -> Self {
        let access = Access::new(Some(&serve.authority), None).expect("an authority");
        let client = access.client().pool_max_idle_per_host(usize::from(keeps));
        let key = fs::read_to_string(bench.path("desk/report.key")).expect("a key");
        Self {
            last,
            url: serve.https("/report"),
            key: ReportKey::parse(&key).expect("a key"),
            client: client.build().expect("a client"),
        }
    }

    /// Reports each second, not at the same moment as the others.
    async fn report(self, taken: Arc<AtomicU64>, not_taken: Arc<AtomicU64>) {
        sleep(SECOND * u32::from(self.last) / u32::from(BOARDS)).await;
        let mut second = interval(SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for sequence in 1.. {
            second.tick().await;
            let more = json!({"percent": sequence % 100, "bytes_per_second": 104_000_000, "seconds_left": 300,
                "hostname": format!("node-{}", self.last), "address": "192.168.1.20", "serial": "10000000abcd0001"});
            let body = flasher(self.last, sequence, "flash", &more).to_string();
            let request = self
                .client
                .post(&self.url)
                .header("content-type", "application/json")
                .header(SIGNATURE_HEADER, self.key.sign(body.as_bytes()));
            let answer = request.body(body).send().await;
            let is_taken = answer.is_ok_and(|answer| answer.status().is_success());
            let count = if is_taken { &taken } else { &not_taken };
            count.fetch_add(1, Relaxed);
        }
    }
}

/// How long the desk has kept a processor busy.
fn busy(serve: &Serve) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", serve.child.id())).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().expect("a number"))
        .sum();
    TICK * ticks
}
