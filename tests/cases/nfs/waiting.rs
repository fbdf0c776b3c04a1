//! Servers that are slow, silent or busy, and connections that end.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gild_http_testkit::free_port;
use gild_nfs::{NfsError, NfsUrl, Share};
use gild_source::Options;
use gild_source::Trouble;
use gild_tests::nfs_server::NfsServer;
use nfs3_server::nfs3_types::nfs3::nfsstat3;

use super::{
    NAME, OWN_NETWORK, PATIENT, SIZE, Watch, assert_same, connect, embedded, exported, is_inside,
    open, options, read_all, served,
};

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
    // The three attempts together wait for 1.5 s. A loop that asks again and again would use all of it.
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
fn the_patience_decides_when_to_give_up() {
    let port = free_port().expect("a port");
    let patience = Watch::up_to(4);
    let error = connect(&format!("nfs://127.0.0.1:{port}/gild"), &patience).expect_err("no server");
    assert!(matches!(error, NfsError::Connect { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert_eq!(patience.attempts(), [1, 2, 3, 4]);
}

/// Waits patiently for an answer, as a node does.
fn slowly(url: &str, patience: &Arc<Watch>) -> Share {
    let url = NfsUrl::parse(url).expect("an address").join("rpi5");
    let options = Options {
        answer: Duration::from_mins(1),
        ..options()
    };
    Share::connect(&url, options, patience.clone()).expect("the share is there")
}

#[test]
fn a_server_that_starts_its_disks_is_waited_for_and_not_hammered() {
    let (server, _directory, content) = embedded();
    let patience = Watch::up_to(1);
    let share = slowly(&server.url(), &patience);
    let file = share.open(NAME).expect("the file is there");
    let before = server.counters();
    server.set_faults(|faults| faults.held = true);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&file));
        patience.wait_until_waiting_for(3);
        let meanwhile = server.counters();
        assert_eq!(meanwhile.read_calls, before.read_calls + 1, "asked again");
        assert_eq!(meanwhile.connections, before.connections);
        server.set_faults(|faults| faults.held = false);
        let bytes = reader.join().expect("no panic").expect("it arrives");
        assert_same(&bytes, &content);
    });
    assert!(patience.attempts().is_empty(), "{:?}", patience.seen());
    assert_eq!(share.stats().reconnects, 0);
}

#[test]
fn each_step_to_a_share_counts_as_a_sign_of_life() {
    let (server, _directory, _) = embedded();
    let patience = Watch::up_to(1);
    connect(&server.url(), &patience).expect("the share is there");
    // Two connections, and MNT, UMNT and FSINFO.
    let got_on = patience.met().got_on;
    assert!(got_on >= 5, "{got_on}");
}

#[test]
fn an_address_that_takes_no_connection_is_a_sign_of_life_too() {
    let port = free_port().expect("a port");
    let patience = Watch::up_to(1);
    connect(&format!("nfs://127.0.0.1:{port}/gild"), &patience).expect_err("no server");
    assert!(patience.met().waited.is_some());
}

#[test]
fn a_host_that_is_gone_from_the_network_is_noticed_long_before_the_limit_for_an_answer() {
    let test = "nfs::waiting::a_host_that_is_gone_from_the_network_is_noticed_long_before_the_limit_for_an_answer";
    if !is_inside(test, &OWN_NETWORK) {
        return;
    }
    let link = |state: &str| {
        let status = Command::new("ip")
            .args(["link", "set", "lo", state])
            .status();
        assert!(status.expect("ip runs").success());
    };
    let (directory, content) = exported();
    let server = NfsServer::start(directory.path(), 0).expect("the server starts");
    let patience = Watch::up_to(PATIENT);
    let share = slowly(&server.url(), &patience);
    let file = share.open(NAME).expect("the file is there");
    server.set_faults(|faults| faults.held = true);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&file));
        patience.wait_until_waiting_for(1);
        link("down");
        patience.wait_for_trouble();
        let (_, error) = patience.seen().remove(0);
        assert!(!error.contains("no answer for"), "{error}");
        link("up");
        server.set_faults(|faults| faults.held = false);
        let bytes = reader.join().expect("no panic").expect("it arrives");
        assert_same(&bytes, &content);
    });
}
