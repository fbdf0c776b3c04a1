//! Reading files from NFS servers that work, and from servers that do not.
//!
//! Real: two servers that no one here wrote the protocol of (nfs-ganesha as a process of its own,
//! the crate `nfs3_server` inside this one), TCP over the loopback interface, the reader.
//! Simulated: the faults, by the relay and the file system of the embedded server; the waits
//! between attempts, which are cut short.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use gild_nfs::{File, NfsError, NfsUrl, Share};
use gild_source::{Options, Patience, Trouble};
use gild_tests::ganesha::Ganesha;
use gild_tests::nfs_server::{BitFlip, Handles, NfsServer};
use nfs3_server::nfs3_types::nfs3::nfsstat3;
use tempfile::TempDir;

const NAME: &str = "image.bin";
const SIZE: usize = (9 << 20) + 7;

/// A patience that waits little, gives up at a limit and remembers what it waited for.
struct Watch {
    limit: u32,
    seen: Mutex<Vec<(u32, String)>>,
    changed: Condvar,
}

impl Watch {
    fn up_to(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            seen: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn seen(&self) -> Vec<(u32, String)> {
        self.seen.lock().expect("no panic").clone()
    }

    fn attempts(&self) -> Vec<u32> {
        self.seen()
            .into_iter()
            .map(|(attempt, _)| attempt)
            .collect()
    }

    /// Returns when the reader has met trouble.
    fn wait_for_trouble(&self) {
        self.wait_for("");
    }

    /// Returns when the reader has met an error with this text in it.
    fn wait_for(&self, text: &str) {
        let seen = self.seen.lock().expect("no panic");
        let met = |seen: &[(u32, String)]| seen.iter().any(|(_, error)| error.contains(text));
        let waited = self.changed.wait_while(seen, |seen| !met(seen));
        drop(waited.expect("no panic"));
    }
}

impl Patience for Watch {
    fn wait(&self, attempt: u32, error: &dyn Trouble) -> bool {
        self.seen
            .lock()
            .expect("no panic")
            .push((attempt, error.to_string()));
        self.changed.notify_all();
        thread::sleep(Duration::from_millis(20));
        attempt < self.limit
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
        timeout: Duration::from_millis(500),
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

fn parallel_readers_get_the_whole_file(url: &str) {
    const PIECE: usize = 333_333;
    let patience = Watch::up_to(1);
    let (share, file) = open(url, &patience);
    assert_eq!(file.size(), SIZE as u64);
    let mut got = vec![0; SIZE];
    let pieces = Mutex::new(got.chunks_mut(PIECE).enumerate());
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let next = pieces.lock().expect("no panic").next();
                    let Some((index, piece)) = next else { break };
                    file.read_exact_at(piece, (index * PIECE) as u64)
                        .expect("the piece arrives");
                }
            });
        }
    });
    assert_same(&got, &content());
    assert_eq!(share.stats().bytes_read, SIZE as u64);
    assert_eq!(share.stats().reconnects, 0);
}

#[test]
fn parallel_readers_get_the_whole_file_from_the_embedded_server() {
    let (server, _directory, _) = embedded();
    parallel_readers_get_the_whole_file(&server.url());
    assert!(server.counters().connections > 2);
}

#[test]
fn parallel_readers_get_the_whole_file_from_ganesha() {
    let (directory, _) = exported();
    let server = Ganesha::start(directory.path()).expect("nfs-ganesha starts");
    parallel_readers_get_the_whole_file(&server.url());
}

#[test]
fn the_portmapper_is_asked_for_the_ports_that_the_address_does_not_name() {
    const NAME_OF_THIS_TEST: &str =
        "nfs::the_portmapper_is_asked_for_the_ports_that_the_address_does_not_name";
    const INSIDE: &str = "GILD_TEST_INSIDE_NETWORK_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        let test = std::env::current_exe().expect("this program");
        let status = Command::new("unshare")
            .args(["--net", "sh", "-c"])
            // nfs-ganesha resolves 127.0.0.1 only where there is another address too.
            .arg("ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec \"$@\"")
            .arg("sh")
            .arg(test)
            .args(["--exact", NAME_OF_THIS_TEST])
            .env(INSIDE, "1")
            .status();
        assert!(status.expect("unshare runs").success());
        return;
    }
    let (directory, content) = exported();
    let server = Ganesha::start_with_portmapper(directory.path()).expect("nfs-ganesha starts");
    let port = server.port();
    for url in [
        "nfs://127.0.0.1/gild".to_owned(),
        "nfs://localhost/gild".to_owned(),
        format!("nfs://127.0.0.1:{port}/gild"),
        format!("nfs://127.0.0.1/gild?mountport={}", server.mount_port()),
    ] {
        // A server that is starting opens its ports before the portmapper knows them.
        let (_share, file) = open(&url, &Watch::up_to(PATIENT));
        assert_same(&read_all(&file).expect("it arrives"), &content);
    }
}

/// Reads half of the file, takes the server away, and brings it back once the reader has noticed.
fn read_across_an_outage<S>(
    server: &mut S,
    url: &str,
    away: fn(&mut S),
    back: fn(&mut S),
) -> (Vec<u8>, Share) {
    let patience = Watch::up_to(PATIENT);
    let (share, file) = open(url, &patience);
    let mut bytes = vec![0; SIZE];
    let (first, rest) = bytes.split_at_mut(SIZE / 2);
    file.read_exact_at(first, 0)
        .expect("the first half arrives");
    away(server);
    thread::scope(|scope| {
        let reader = scope.spawn(|| file.read_exact_at(rest, (SIZE / 2) as u64));
        patience.wait_for_trouble();
        back(server);
        reader.join().expect("no panic").expect("the read goes on");
    });
    (bytes, share)
}

#[test]
fn a_restarted_server_is_read_on_where_the_reader_stood() {
    let (mut server, _directory, content) = embedded();
    let url = server.url();
    let (bytes, share) = read_across_an_outage(&mut server, &url, NfsServer::stop, |server| {
        server
            .restart(Handles::Kept)
            .expect("the server starts again");
    });
    assert_same(&bytes, &content);
    assert!(share.stats().reconnects > 0);
    assert_eq!(served(&server), SIZE as u64, "nothing was read twice");
}

#[test]
fn a_restarted_ganesha_is_read_on_where_the_reader_stood() {
    let (directory, content) = exported();
    let mut server = Ganesha::start(directory.path()).expect("nfs-ganesha starts");
    let url = server.url();
    let (bytes, share) = read_across_an_outage(&mut server, &url, Ganesha::kill, |server| {
        server.restart().expect("nfs-ganesha starts again");
    });
    assert_same(&bytes, &content);
    assert!(share.stats().reconnects > 0);
    assert_eq!(
        share.stats().bytes_read,
        SIZE as u64,
        "nothing was read twice"
    );
}

/// Readers are at it, with calls in flight, when the server goes and comes back.
fn readers_outlive_an_outage<S>(
    server: &mut S,
    url: &str,
    content: &[u8],
    away: fn(&mut S),
    back: fn(&mut S),
) {
    let patience = Watch::up_to(PATIENT);
    let (share, file) = open(url, &patience);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_same(&read_all(&file).expect("the read goes on"), content);
                }
            });
        }
        while share.stats().bytes_read < 2 * SIZE as u64 {
            thread::yield_now();
        }
        away(server);
        patience.wait_for_trouble();
        back(server);
        over.store(true, Ordering::Relaxed);
    });
    assert!(share.stats().reconnects > 0);
}

#[test]
fn readers_outlive_a_restart_of_the_server() {
    let (mut server, _directory, content) = embedded();
    let url = server.url();
    readers_outlive_an_outage(&mut server, &url, &content, NfsServer::stop, |server| {
        server
            .restart(Handles::Stale)
            .expect("the server starts again");
    });
}

#[test]
fn readers_outlive_a_crash_of_ganesha() {
    let (directory, content) = exported();
    let mut server = Ganesha::start(directory.path()).expect("nfs-ganesha starts");
    let url = server.url();
    readers_outlive_an_outage(&mut server, &url, &content, Ganesha::kill, |server| {
        server.restart().expect("nfs-ganesha starts again");
    });
}

#[test]
fn a_server_that_forgot_its_handles_is_asked_again() {
    let (mut server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server
        .restart(Handles::Stale)
        .expect("the server starts again");
    assert_same(&read_all(&file).expect("the read goes on"), &content);
    let seen = patience.seen();
    assert!(
        seen.iter()
            .any(|(_, error)| error.contains("NFS3ERR_STALE")),
        "{seen:?}"
    );
}

#[test]
fn a_handle_that_goes_stale_under_parallel_readers_is_found_again() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| {
        faults.read_errors.extend([
            nfsstat3::NFS3ERR_STALE,
            nfsstat3::NFS3ERR_STALE,
            nfsstat3::NFS3ERR_BADHANDLE,
        ]);
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_same(&read_all(&file).expect("the read goes on"), &content));
        }
    });
    assert_eq!(patience.attempts().len(), 3);
}

#[test]
fn a_share_whose_directory_is_replaced_is_mounted_again() {
    let (server, directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    let path = directory.path().join("rpi5");
    fs::rename(&path, directory.path().join("old")).expect("renamed");
    fs::create_dir(&path).expect("a directory");
    fs::write(path.join(NAME), &content).expect("a file");
    assert_same(&read_all(&file).expect("the read goes on"), &content);
}

#[test]
fn a_file_replaced_by_one_of_another_size_cannot_be_read_on() {
    let (server, directory, _) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    let path = directory.path().join("rpi5").join(NAME);
    fs::write(path.with_extension("new"), b"another release").expect("a file");
    fs::rename(path.with_extension("new"), path).expect("renamed");
    let error = read_all(&file).expect_err("it is another file");
    assert!(matches!(error, NfsError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("now has 15"), "{error}");
    assert_eq!(server.counters().read_calls, 1, "the other file was read");
    assert!(!error.is_retryable());
}

#[test]
fn a_file_that_vanishes_cannot_be_read_on() {
    let (server, directory, _) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    fs::remove_file(directory.path().join("rpi5").join(NAME)).expect("removed");
    let error = read_all(&file).expect_err("it is gone");
    assert!(matches!(error, NfsError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("it is gone"), "{error}");
}

#[test]
fn a_file_that_changes_its_length_in_place_cannot_be_read_on() {
    for length in [SIZE as u64 / 2, SIZE as u64 * 2] {
        let (server, directory, _) = embedded();
        let patience = Watch::up_to(PATIENT);
        let (_share, file) = open(&server.url(), &patience);
        fs::File::options()
            .write(true)
            .open(directory.path().join("rpi5").join(NAME))
            .and_then(|file| file.set_len(length))
            .expect("its length is changed");
        let error = read_all(&file).expect_err("it is another file");
        assert!(matches!(error, NfsError::Changed { .. }), "{error}");
    }
}

#[test]
fn a_file_that_ends_early_cannot_be_read_on_though_the_server_does_not_tell_its_size() {
    let (server, directory, _) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| faults.no_attributes = true);
    fs::File::options()
        .write(true)
        .open(directory.path().join("rpi5").join(NAME))
        .and_then(|file| file.set_len(SIZE as u64 / 2))
        .expect("it is cut");
    let error = read_all(&file).expect_err("the second half is not there");
    assert!(matches!(error, NfsError::Changed { .. }), "{error}");
}

#[test]
fn a_small_file_replaced_in_mid_read_is_read_again() {
    let (server, directory, _) = embedded();
    let patience = Watch::up_to(PATIENT);
    let share = connect(&server.url(), &patience).expect("the share is there");
    let path = directory.path().join("rpi5/golden.json");
    fs::write(&path, b"the old one").expect("a file");
    server.set_faults(|faults| faults.read_errors.push_back(nfsstat3::NFS3ERR_JUKEBOX));
    let bytes = thread::scope(|scope| {
        let reader = scope.spawn(|| share.read_file("golden.json", 100));
        patience.wait_for_trouble();
        fs::write(path.with_extension("new"), b"the new release").expect("a file");
        fs::rename(path.with_extension("new"), &path).expect("renamed");
        reader.join().expect("no panic")
    });
    let bytes = bytes.expect("the file is there");
    assert_eq!(bytes, b"the new release");
}

/// CPU time of this thread, as the kernel counts it.
fn thread_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    let nanoseconds = text.split(' ').next().expect("a first field");
    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}

#[test]
fn a_silent_server_is_waited_for_without_using_the_cpu() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(3);
    let (_share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| faults.silent = true);
    let before = thread_cpu_time();
    let error = read_all(&file).expect_err("the patience ends");
    let used = thread_cpu_time().saturating_sub(before);
    assert_eq!(patience.attempts(), [1, 2, 3]);
    assert!(error.to_string().contains("no answer for 500ms"), "{error}");
    // The three attempts together wait for 1.5 s; a loop that asks again and again uses all of it.
    assert!(used < Duration::from_millis(300), "{used:?} of CPU time");

    server.set_faults(|faults| faults.silent = false);
    assert_same(&read_all(&file).expect("the server is back"), &content);
}

#[test]
fn a_connection_closed_in_mid_answer_is_made_again() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| faults.close_after = Some((3 << 20) + 12_345));
    let before = thread_cpu_time();
    assert_same(&read_all(&file).expect("the read goes on"), &content);
    let used = thread_cpu_time().saturating_sub(before);
    assert!(used < Duration::from_secs(1), "{used:?} of CPU time");
    assert_eq!(patience.attempts(), [1]);
    assert_eq!(share.stats().reconnects, 1);
    let twice = served(&server) - SIZE as u64;
    assert!(twice <= 1 << 20, "{twice} bytes were read twice");
}

#[test]
fn connections_that_are_closed_at_once_are_tried_again() {
    let (server, _directory, content) = embedded();
    server.set_faults(|faults| faults.close_on_accept = true);
    let patience = Watch::up_to(PATIENT);
    let share = thread::scope(|scope| {
        let share = scope.spawn(|| {
            connect(
                &format!("{}?mountport={}", server.url(), server.port()),
                &patience,
            )
        });
        patience.wait_for_trouble();
        server.set_faults(|faults| faults.close_on_accept = false);
        share.join().expect("no panic")
    });
    let file = share
        .expect("connected")
        .open(NAME)
        .expect("the file is there");
    assert_same(&read_all(&file).expect("it arrives"), &content);
}

#[test]
fn short_reads_are_read_on() {
    let (server, _directory, content) = embedded();
    server.set_faults(|faults| faults.short_reads = Some(100_001));
    let patience = Watch::up_to(1);
    let (share, file) = open(&server.url(), &patience);
    assert_same(&read_all(&file).expect("it arrives"), &content);
    assert_eq!(share.stats().read_calls, SIZE.div_ceil(100_001) as u64);
}

#[test]
fn a_busy_server_is_asked_again_on_the_same_connection() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| {
        faults.read_errors.extend([
            nfsstat3::NFS3ERR_JUKEBOX,
            nfsstat3::NFS3ERR_JUKEBOX,
            nfsstat3::NFS3ERR_IO,
        ]);
    });
    assert_same(&read_all(&file).expect("it arrives"), &content);
    assert_eq!(patience.attempts(), [1, 2, 3]);
    assert_eq!(share.stats().reconnects, 0);
}

#[test]
fn the_count_of_attempts_starts_anew_after_a_success() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(2);
    let (_share, file) = open(&server.url(), &patience);
    for _ in 0..4 {
        server.set_faults(|faults| faults.read_errors.push_back(nfsstat3::NFS3ERR_JUKEBOX));
        assert_same(&read_all(&file).expect("it arrives"), &content);
    }
    assert_eq!(patience.attempts(), [1, 1, 1, 1]);
}

#[test]
fn an_answer_with_more_data_than_was_asked_for_is_an_error() {
    let (server, _directory, _) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| faults.oversized_reads = 1);
    let error = file.read_exact_at(&mut [0; 1000], 0).expect_err("a lie");
    assert!(matches!(error, NfsError::Protocol { .. }), "{error}");
    assert!(
        error.to_string().contains("1004 bytes when 1000"),
        "{error}"
    );
}

#[test]
fn reads_are_as_large_as_the_server_allows_and_never_cross_the_end() {
    for (allowed, expected) in [
        (None, 1 << 20),
        (Some(64 << 10), 64 << 10),
        (Some(64 << 20), 1 << 20),
        (Some(0), 4096),
    ] {
        let (server, _directory, _) = embedded();
        server.set_faults(|faults| faults.read_size = allowed);
        let patience = Watch::up_to(1);
        let (_share, file) = open(&server.url(), &patience);
        file.read_exact_at(&mut vec![0; 2 << 20], 0)
            .expect("it arrives");
        assert_eq!(server.counters().largest_read, expected);
    }
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(1);
    let (_share, file) = open(&server.url(), &patience);
    let mut tail = [0; 10];
    file.read_exact_at(&mut tail, SIZE as u64 - 10)
        .expect("it arrives");
    assert_same(&tail, &content[SIZE - 10..]);
    assert_eq!(server.counters().largest_read, 10);
    for (offset, length) in [(SIZE as u64 - 10, 11), (SIZE as u64, 1), (u64::MAX, 2)] {
        let error = file
            .read_exact_at(&mut vec![0; length], offset)
            .expect_err("too far");
        assert!(matches!(error, NfsError::OutOfRange { .. }), "{error}");
    }
}

#[test]
fn a_directory_below_the_export_is_found_when_it_cannot_be_mounted() {
    let (server, _directory, content) = embedded();
    server.set_faults(|faults| faults.only_whole_export = true);
    let patience = Watch::up_to(1);
    let (_share, file) = open(&server.url(), &patience);
    assert_same(&read_all(&file).expect("it arrives"), &content);
}

#[test]
fn a_share_that_was_mounted_before_is_waited_for_when_the_server_refuses_it() {
    let (mut server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server
        .restart(Handles::Stale)
        .expect("the server starts again");
    // An attempt to mount asks for /gild/rpi5 and for /gild; / is none of the server's exports.
    server.set_faults(|faults| faults.refused_mounts = 4);
    assert_same(&read_all(&file).expect("the share is back"), &content);
    let seen = patience.seen();
    let refused = seen
        .iter()
        .filter(|(_, error)| error.contains("refuses to mount"));
    assert_eq!(refused.count(), 2, "{seen:?}");
}

#[test]
fn a_directory_that_is_missing_after_a_restart_is_waited_for() {
    let (mut server, directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    let path = directory.path().join("rpi5");
    let elsewhere = directory.path().join("not-mounted-yet");
    fs::rename(&path, &elsewhere).expect("renamed");
    server
        .restart(Handles::Stale)
        .expect("the server starts again");
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&file));
        patience.wait_for("the share was there before");
        fs::rename(&elsewhere, &path).expect("renamed");
        let bytes = reader.join().expect("no panic");
        assert_same(&bytes.expect("the read goes on"), &content);
    });
}

#[test]
fn a_server_that_appears_late_is_waited_for() {
    let (directory, content) = exported();
    let port = NfsServer::start(directory.path(), 0)
        .expect("the server starts")
        .port();
    let patience = Watch::up_to(PATIENT);
    let url = format!("nfs://127.0.0.1:{port}/gild?mountport={port}");
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (_share, file) = open(&url, &patience);
            read_all(&file).expect("it arrives")
        });
        patience.wait_for_trouble();
        let _server = NfsServer::start(directory.path(), port).expect("the server starts");
        assert_same(&reader.join().expect("no panic"), &content);
    });
}

/// The error of connecting to the share or of opening the file, which no waiting can end.
fn permanent_error(url: &str, name: &str) -> NfsError {
    let patience = Watch::up_to(1);
    let error = NfsUrl::parse(url)
        .map_err(NfsError::from)
        .and_then(|url| Share::connect(&url, options(), patience.clone()))
        .and_then(|share| share.open(name))
        .expect_err("it cannot be opened");
    assert!(!error.is_retryable(), "{error}");
    assert!(patience.attempts().is_empty(), "{error}");
    error
}

/// Both servers give the same errors: the reader's own, with the path and the server in them.
fn what_cannot_be_opened_says_why(url: &NfsUrl) {
    let at = |path: &str| {
        let url = NfsUrl {
            path: path.to_owned(),
            ..url.clone()
        };
        url.to_string()
    };
    let server = format!(
        "{}:{}",
        url.host,
        url.port.expect("the tests name the port")
    );

    let error = permanent_error(&at("/gild/rpi5"), "missing.json");
    assert!(matches!(error, NfsError::NotFound { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("opening /gild/rpi5/missing.json on {server}: it is not there")
    );
    let error = permanent_error(&at("/gild"), "rpi5");
    assert!(matches!(error, NfsError::NotAFile { .. }), "{error}");
    let error = permanent_error(&at("/gild"), &format!("rpi5/{NAME}/x"));
    assert!(matches!(error, NfsError::NotADirectory { .. }), "{error}");
    let error = permanent_error(&at(&format!("/gild/rpi5/{NAME}")), "x");
    assert!(
        matches!(
            error,
            NfsError::NotADirectory { .. } | NfsError::MountRefused { .. }
        ),
        "{error}"
    );
    let error = permanent_error(&at("/gild/missing"), "x");
    assert!(matches!(error, NfsError::NotFound { .. }), "{error}");
    let error = permanent_error(&at("/elsewhere/rpi5"), "x");
    assert!(matches!(error, NfsError::MountRefused { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("refuses to mount /elsewhere/rpi5"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_opened_on_the_embedded_server_says_why() {
    let (server, _directory, _) = embedded();
    what_cannot_be_opened_says_why(&NfsUrl::parse(&server.url()).expect("an address"));

    server.set_faults(|faults| faults.refuse_callers = true);
    let error = permanent_error(&server.url(), "x");
    assert!(matches!(error, NfsError::Denied { .. }), "{error}");
}

#[test]
fn what_cannot_be_opened_on_ganesha_says_why() {
    let (directory, _) = exported();
    let server = Ganesha::start(directory.path()).expect("nfs-ganesha starts");
    what_cannot_be_opened_says_why(&NfsUrl::parse(&server.url()).expect("an address"));
}

#[test]
fn a_port_with_something_else_behind_it_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().expect("the NFS connection");
        let (mut second, _) = listener.accept().expect("the MOUNT connection");
        for socket in [&mut first, &mut second] {
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .expect("sent");
        }
        (first, second)
    });
    let error = permanent_error(&format!("nfs://127.0.0.1:{port}/gild"), "x");
    assert!(matches!(error, NfsError::Protocol { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("is an NFSv3 server behind this port?"),
        "{error}"
    );
    server.join().expect("no panic");
}

#[test]
fn the_patience_decides_when_to_give_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let patience = Watch::up_to(4);
    let error = connect(&format!("nfs://127.0.0.1:{port}/gild"), &patience).expect_err("no server");
    assert!(matches!(error, NfsError::Connect { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert_eq!(patience.attempts(), [1, 2, 3, 4]);
}

#[test]
fn a_file_larger_than_the_limit_is_refused_before_it_is_read() {
    let (server, _directory, _) = embedded();
    let patience = Watch::up_to(1);
    let share = connect(&server.url(), &patience).expect("the share is there");
    let error = share
        .read_file(NAME, SIZE as u64 - 1)
        .expect_err("too large");
    assert!(matches!(error, NfsError::TooLarge { .. }), "{error}");
    assert_eq!(server.counters().read_calls, 0);
    assert!(share.read_file(NAME, SIZE as u64).is_ok());
}

#[test]
fn the_embedded_server_flips_the_bit_it_is_told_to() {
    let (server, _directory, mut content) = embedded();
    server.set_faults(|faults| {
        faults.flips.push(BitFlip {
            file: Path::new("rpi5").join(NAME),
            offset: 5_000_000,
            bit: 3,
            times: 1,
        });
    });
    let patience = Watch::up_to(1);
    let (_share, file) = open(&server.url(), &patience);
    let first = read_all(&file).expect("it arrives");
    assert_same(&read_all(&file).expect("it arrives"), &content);
    content[5_000_000] ^= 8;
    assert_same(&first, &content);
}
