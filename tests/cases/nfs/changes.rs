//! Files that change while they are read.

use std::fs;
use std::thread;

use gild_nfs::NfsError;
use gild_source::Trouble;
use nfs3_server::nfs3_types::nfs3::nfsstat3;

use super::{NAME, PATIENT, SIZE, Watch, assert_same, connect, embedded, open, read_all};

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
