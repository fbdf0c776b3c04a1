//! If one server fails, the next one goes on, also in the middle of a file; and no other file replaces it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gild_card_format::ServerUrl;
use gild_faults::{Fault, HasFault};
use gild_http::Access;
use gild_http_testkit::{Reply, Request, Server};
use gild_share::{Share, ShareError};
use gild_source::{Options, Patience, Source, Trouble};

const CONTENT: &[u8] = b"0123456789abcdef";

fn good() -> Server {
    Server::start(|request: &Request| Reply::file(request, CONTENT).with("ETag", "\"one\""))
}

/// Counts the rounds, and ends them after some.
#[derive(Default)]
struct Rounds(AtomicU32);

impl Patience for Rounds {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        // This does not wait as a server asks for. The server must still be asked no sooner.
        assert!(trouble.is_retryable(), "{trouble}");
        attempt < 4
    }
}

fn share(servers: &[&Server]) -> (Share, Arc<Rounds>) {
    let urls: Vec<ServerUrl> = servers
        .iter()
        .map(|server| ServerUrl::parse(&server.url()).expect("an address"))
        .collect();
    let rounds = Arc::new(Rounds::default());
    let access = Access::new(None, None).expect("roots");
    let patience: Arc<dyn Patience> = Arc::clone(&rounds) as _;
    (
        Share::new(&urls, &access, Options::default(), patience),
        rounds,
    )
}

fn bytes_at(file: &dyn Source, offset: u64) -> Result<[u8; 4], String> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|error| format!("{:?}: {error}", error.fault))?;
    Ok(bytes)
}

#[test]
fn the_first_server_is_preferred_and_the_second_is_left_alone() {
    let (first, second) = (good(), good());
    let (share, _) = share(&[&first, &second]);
    assert_eq!(share.read_file("a", 100).expect("it is there"), CONTENT);
    let file = share.open("a", 16).expect("it is there");
    assert_eq!(bytes_at(&file, 4).as_ref(), Ok(b"4567"));
    assert!(second.requests().is_empty());
}

#[test]
fn a_server_that_goes_in_the_middle_is_replaced_and_not_asked_again() {
    let (first, second) = (good(), good());
    let (share, rounds) = share(&[&first, &second]);
    let file = share.open("a", 16).expect("it is there");
    assert_eq!(bytes_at(&file, 0).as_ref(), Ok(b"0123"));
    first.set_down(true);
    assert_eq!(bytes_at(&file, 4).as_ref(), Ok(b"4567"));
    first.set_down(false);
    let asked = first.requests().len();
    assert_eq!(bytes_at(&file, 8).as_ref(), Ok(b"89ab"));
    assert_eq!(first.requests().len(), asked);
    assert_eq!(rounds.0.load(Ordering::SeqCst), 0, "nobody had to wait");
    second.set_down(true);
    assert_eq!(bytes_at(&file, 12).as_ref(), Ok(b"cdef"), "and back");
}

#[test]
fn a_server_that_ends_one_connection_is_asked_once_more() {
    let is_cut = AtomicBool::new(false);
    let first = Server::start(move |request: &Request| {
        let reply = Reply::file(request, CONTENT).with("ETag", "\"one\"");
        let is_second = request.range() == Some(4..8) && !is_cut.swap(true, Ordering::SeqCst);
        if is_second { reply.cut_after(2) } else { reply }
    });
    let second = good();
    let (share, rounds) = share(&[&first, &second]);
    let file = share.open("a", 16).expect("it is there");
    assert_eq!(bytes_at(&file, 4).as_ref(), Ok(b"4567"));
    assert_eq!(bytes_at(&file, 8).as_ref(), Ok(b"89ab"));
    assert_eq!(second.requests().len(), 0);
    assert_eq!(rounds.0.load(Ordering::SeqCst), 0, "nobody had to wait");
}

#[test]
fn a_server_that_ends_each_connection_is_asked_twice_and_replaced() {
    let first = Server::start(|request: &Request| {
        let reply = Reply::file(request, CONTENT).with("ETag", "\"one\"");
        if request.range() == Some(4..8) {
            return reply.cut_after(2);
        }
        reply
    });
    let second = good();
    let (share, _) = share(&[&first, &second]);
    let file = share.open("a", 16).expect("it is there");
    let asked = first.requests().len();
    assert_eq!(bytes_at(&file, 4).as_ref(), Ok(b"4567"));
    assert_eq!(first.requests().len(), asked + 2);
    assert_eq!(bytes_at(&file, 8).as_ref(), Ok(b"89ab"));
    assert_eq!(first.requests().len(), asked + 2);
}

#[test]
fn a_server_that_lacks_the_file_or_refuses_does_not_matter() {
    for status in [403, 404, 503] {
        let refusing = Server::start(move |_| Reply::new(status, ""));
        let second = good();
        let (share, _) = share(&[&refusing, &second]);
        assert_eq!(
            share.read_file("a", 100).expect("the second has it"),
            CONTENT
        );
    }
}

#[test]
fn another_file_of_the_same_name_is_not_taken() {
    let first = good();
    let other = Server::start(|request: &Request| Reply::file(request, b"0123XXXX"));
    let (share, _) = share(&[&first, &other]);
    let file = share.open("a", 16).expect("it is there");
    first.set_down(true);
    let error = bytes_at(&file, 4).expect_err("the second has another file");
    assert!(error.starts_with("ServerUnreachable"), "{error}");
    assert!(
        error.contains("has 8 bytes, and the manifest says 16"),
        "{error}"
    );
}

#[test]
fn a_copy_that_is_not_whole_yet_is_passed_over_from_the_start() {
    let half = Server::start(|request: &Request| Reply::file(request, &CONTENT[..8]));
    let second = good();
    let (share, _) = share(&[&half, &second]);
    let file = share.open("a", 16).expect("the second has it");
    assert_eq!(bytes_at(&file, 12).as_ref(), Ok(b"cdef"));
}

#[test]
fn a_server_that_sends_wrong_bytes_is_left_for_the_next() {
    let wrong = Server::start(|request: &Request| Reply::file(request, &[b'x'; 16]));
    let second = good();
    let (share, _) = share(&[&wrong, &second]);
    let file = share.open("a", 16).expect("it is there");
    assert_eq!(bytes_at(&file, 0).as_ref(), Ok(b"xxxx"));
    file.distrust();
    assert_eq!(bytes_at(&file, 0).as_ref(), Ok(b"0123"));
}

#[test]
fn what_belongs_together_comes_from_one_server() {
    let first = Server::start(|request: &Request| match &*request.target {
        "/a" => Reply::new(200, "first"),
        _ => Reply::new(404, ""),
    });
    let second = Server::start(|_: &Request| Reply::new(200, "second"));
    let (share, _) = share(&[&first, &second]);
    let pair = share.on_one(|place| Ok((place.read_file("a", 9)?, place.read_file("b", 9)?)));
    let pair = pair.expect("the second has both");
    assert_eq!(pair, (b"second".to_vec(), b"second".to_vec()));
}

#[test]
fn a_server_that_asks_to_be_left_alone_is_while_the_other_answers() {
    let busy = Server::start(|_| Reply::new(503, "").with("Retry-After", "100"));
    let second = good();
    let (share, _) = share(&[&busy, &second]);
    for _ in 0..5 {
        share.read_file("a", 100).expect("the second has it");
        second.set_down(true);
        share
            .read_file("a", 100)
            .expect_err("one is busy and one is down");
        second.set_down(false);
    }
    assert_eq!(busy.requests().len(), 1, "it asked for a hundred seconds");
}

#[test]
fn when_all_are_gone_the_patience_counts_rounds_and_each_is_named() {
    let (first, second) = (good(), good());
    let (share, rounds) = share(&[&first, &second]);
    first.set_down(true);
    second.set_down(true);
    let error = share.read_file("a", 100).expect_err("nobody answers");
    assert_eq!(rounds.0.load(Ordering::SeqCst), 4);
    assert_eq!(error.fault(), Fault::ServerUnreachable);
    assert!(matches!(&error, ShareError::All(errors) if errors.len() == 2));
    for server in [&first, &second] {
        assert!(error.to_string().contains(&server.url()), "{error}");
    }
}

#[test]
fn all_come_back_and_so_does_the_reader() {
    let down = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&down);
    let server = Server::start(move |request| {
        if count.fetch_add(1, Ordering::SeqCst) < 3 {
            Reply::new(502, "")
        } else {
            Reply::file(request, CONTENT)
        }
    });
    let gone = Server::start(|_| Reply::new(500, ""));
    let (share, rounds) = share(&[&gone, &server]);
    assert_eq!(
        share.read_file("a", 100).expect("the fourth answer"),
        CONTENT
    );
    assert_eq!(rounds.0.load(Ordering::SeqCst), 3);
}
