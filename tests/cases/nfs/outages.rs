//! Servers that go away and come back, and handles that they forget.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gild_nfs::Share;
use gild_tests::ganesha::Ganesha;
use gild_tests::nfs_server::{Handles, NfsServer};
use nfs3_server::nfs3_types::nfs3::nfsstat3;

use super::{PATIENT, SIZE, Watch, assert_same, embedded, exported, open, read_all, served};

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

/// Readers have calls in flight when the server goes away and comes back.
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
fn a_share_that_was_mounted_before_is_waited_for_when_the_server_refuses_it() {
    let (mut server, _directory, content) = embedded();
    let patience = Watch::up_to(PATIENT);
    let (_share, file) = open(&server.url(), &patience);
    server
        .restart(Handles::Stale)
        .expect("the server starts again");
    // An attempt to mount asks for /gild/rpi5 and for /gild. The server does not export /.
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
