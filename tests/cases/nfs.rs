//! Reading files from NFS servers that work, and from servers that do not.
//!
//! Real: three servers whose protocol somebody else wrote (nfs-ganesha as its own process, the kernel's in a virtual machine, the crate
//! `nfs3_server` inside this one), TCP over the loopback interface, the reader. Simulated: the faults, which the relay and the file system
//! of the embedded server make. The waits between attempts are cut short.

mod changes;
mod kernel;
mod links;
mod outages;
mod reading;
mod refusals;
mod servers;
mod waiting;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use std::{fmt, fs};

use gild_nfs::{File, NfsError, NfsUrl, Share};
use gild_source::{Options, Patience, Trouble};
use gild_tests::nfs_server::NfsServer;
use tempfile::TempDir;

const NAME: &str = "image.bin";
const SIZE: usize = (9 << 20) + 7;

/// A patience that waits only a short time, gives up at a limit, and remembers what it waited for.
struct Watch {
    limit: u32,
    met: Mutex<Met>,
    changed: Condvar,
}

/// What the reader has reported to its patience.
#[derive(Default)]
struct Met {
    seen: Vec<(u32, String)>,
    waited: Option<Duration>,
    got_on: u32,
}

impl Watch {
    fn up_to(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            met: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().expect("no panic")
    }

    fn seen(&self) -> Vec<(u32, String)> {
        self.met().seen.clone()
    }

    fn attempts(&self) -> Vec<u32> {
        let attempts = self.seen().into_iter().map(|(attempt, _)| attempt);
        attempts.collect()
    }

    fn wait_until(&self, is_met: impl Fn(&Met) -> bool) {
        let waited = self.changed.wait_while(self.met(), |met| !is_met(met));
        drop(waited.expect("no panic"));
    }

    /// Returns when the reader has waited this many seconds for an answer, or has given up.
    fn wait_until_waiting_for(&self, seconds: u64) {
        self.wait_until(|met| {
            !met.seen.is_empty() || met.waited.is_some_and(|waited| waited.as_secs() >= seconds)
        });
    }

    /// Returns when the reader has met trouble.
    fn wait_for_trouble(&self) {
        self.wait_for("");
    }

    /// Returns when the reader has met an error with this text in it.
    fn wait_for(&self, text: &str) {
        self.wait_until(|met| met.seen.iter().any(|(_, error)| error.contains(text)));
    }
}

impl Patience for Watch {
    fn wait(&self, attempt: u32, error: &dyn Trouble) -> bool {
        self.met().seen.push((attempt, error.to_string()));
        self.changed.notify_all();
        thread::sleep(Duration::from_millis(20));
        attempt < self.limit
    }

    fn got_on(&self) {
        self.met().got_on += 1;
    }

    fn waiting(&self, _: &dyn fmt::Display, silent: Duration) {
        self.met().waited = Some(silent);
        self.changed.notify_all();
    }
}

/// Enough for every server here to come back.
const PATIENT: u32 = 2000;

fn content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

/// A directory `rpi5` with a file in it.
fn exported() -> (TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().expect("a directory");
    let content = content();
    fs::create_dir(directory.path().join("rpi5")).expect("a directory");
    fs::write(directory.path().join("rpi5").join(NAME), &content).expect("a file");
    (directory, content)
}

fn embedded() -> (NfsServer, TempDir, Vec<u8>) {
    let (directory, content) = exported();
    let server = NfsServer::start(directory.path(), 0).expect("the server starts");
    (server, directory, content)
}

fn options() -> Options {
    Options {
        connections: 4,
        connect: Duration::from_secs(5),
        answer: Duration::from_millis(500),
    }
}

fn connect(url: &str, patience: &Arc<Watch>) -> Result<Share, NfsError> {
    let url = NfsUrl::parse(url)?.join("rpi5");
    Share::connect(&url, options(), patience.clone())
}

fn open(url: &str, patience: &Arc<Watch>) -> (Share, File) {
    let share = connect(url, patience).expect("the share is there");
    let file = share.open(NAME).expect("the file is there");
    (share, file)
}

fn read_all(file: &File) -> Result<Vec<u8>, NfsError> {
    let mut bytes = vec![0; usize::try_from(file.size()).expect("it fits")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Not `assert_eq!`, which would print megabytes.
fn assert_same(got: &[u8], expected: &[u8]) {
    assert!(got == expected, "the bytes differ");
}

fn served(server: &NfsServer) -> u64 {
    let file = Path::new("rpi5").join(NAME);
    server
        .counters()
        .bytes_by_file
        .get(&file)
        .copied()
        .unwrap_or(0)
}

/// Starts this test again through the given program, which sets something up for it. Returns `true` inside that second run.
fn is_inside(test: &str, launcher: &[&str]) -> bool {
    const INSIDE: &str = "GILD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(launcher[0])
        .args(&launcher[1..])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("it starts").success());
    false
}

/// Runs as root, but without the right to open privileged ports.
const WITHOUT_PRIVILEGED_PORTS: [&str; 3] = [
    "setpriv",
    "--bounding-set=-net_bind_service",
    "--inh-caps=-net_bind_service",
];

/// The server serves only clients that can open privileged ports, and the reader must say so.
fn assert_wants_root(error: &NfsError) {
    assert!(!error.is_retryable(), "{error}");
    assert!(
        error.to_string().contains("callers without root"),
        "{error}"
    );
}

/// A separate network with two addresses. nfs-ganesha resolves 127.0.0.1 only if there is another address too.
const OWN_NETWORK: [&str; 6] = [
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec \"$@\"",
    "sh",
];
