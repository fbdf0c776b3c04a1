//! Whole files, from servers that work as they should.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use gild_nfs::NfsError;
use gild_tests::ganesha::Ganesha;
use gild_tests::nfs_server::BitFlip;

use super::{
    NAME, OWN_NETWORK, PATIENT, SIZE, Watch, assert_same, content, embedded, exported, is_inside,
    open, read_all,
};

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
    let test = "nfs::reading::the_portmapper_is_asked_for_the_ports_that_the_address_does_not_name";
    if !is_inside(test, &OWN_NETWORK) {
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
        // A starting server opens its ports before the portmapper knows them.
        let (_share, file) = open(&url, &Watch::up_to(PATIENT));
        assert_same(&read_all(&file).expect("it arrives"), &content);
    }
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
fn answers_in_fragments_are_put_together() {
    for size in [512, 8000, 1 << 20] {
        let (server, _directory, content) = embedded();
        server.set_faults(|faults| faults.fragments = Some(size));
        let patience = Watch::up_to(1);
        let (share, file) = open(&server.url(), &patience);
        assert_same(&read_all(&file).expect("it arrives"), &content);
        assert_eq!(share.stats().reconnects, 0);
    }
}

#[test]
fn answers_in_more_fragments_than_any_server_makes_are_refused() {
    let (server, _directory, _) = embedded();
    let patience = Watch::up_to(1);
    let (_share, file) = open(&server.url(), &patience);
    server.set_faults(|faults| faults.fragments = Some(64));
    let error = read_all(&file).expect_err("16384 fragments");
    assert!(error.to_string().contains("fragments"), "{error}");
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
        (Some(8 << 10), 8 << 10),
        (Some(9000), 9000),
        (Some(1), 4096),
        (Some(0), 64 << 10),
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
