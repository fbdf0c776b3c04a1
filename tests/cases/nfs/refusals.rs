//! What cannot be opened or read, and how the reader explains it.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use gild_nfs::{NfsError, NfsUrl, Share};
use gild_source::Trouble;
use gild_tests::ganesha::Ganesha;

use super::{NAME, SIZE, Watch, connect, embedded, exported, options};

/// The error when connecting to the share or opening the file. Waiting cannot solve it.
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
        format!(
            "opening /gild/rpi5/missing.json on {server}: it is not there; next: publish it there, or correct the address"
        )
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
            .contains("next: give the port of an NFSv3 server"),
        "{error}"
    );
    server.join().expect("no panic");
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
