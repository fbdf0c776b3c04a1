//! A file is read as it was when it was opened, or not at all, whatever the server does.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gild_card_format::{Header, HttpUrl};
use gild_http::{Access, HttpError, Share};
use gild_http_testkit::{DRIP, Reply, Request, Server};
use gild_source::{Options, Patience, Trouble};

/// A file's content, in which each place looks different.
fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_be_bytes).collect()
}

fn good(request: &Request) -> Reply {
    Reply::file(request, &content()).with("ETag", "\"one\"")
}

/// Long enough for a busy machine.
const ANSWER: Duration = Duration::from_secs(20);

fn share_at(url: &str, header: Option<&str>) -> Share {
    share_with(url, header, ANSWER, Arc::new(Watch::default()))
}

/// Gives up after three attempts, and keeps the waits that were asked for.
#[derive(Default)]
struct Watch(Mutex<Vec<Duration>>);

impl Patience for Watch {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        self.0.lock().expect("no panic").push(trouble.least_wait());
        attempt < 3
    }
}

fn share_with(url: &str, header: Option<&str>, answer: Duration, patience: Arc<Watch>) -> Share {
    let header = header.map(|line| Header::parse(line).expect("a header"));
    let access = Access::new(None, header.as_ref()).expect("roots");
    let url = HttpUrl::parse(url).expect("an address");
    let options = Options {
        answer,
        ..Options::default()
    };
    Share::new(&url, &access, options, patience).expect("a client")
}

fn share(server: &Server) -> Share {
    share_at(&server.url(), None)
}

/// How the file's reading ends.
fn read(share: &Share) -> Result<Vec<u8>, HttpError> {
    let file = share.open("image")?;
    let mut bytes = vec![0; usize::try_from(file.size()).expect("it is small")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn error(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> HttpError {
    read(&share(&Server::start(answer))).expect_err("it is not the file")
}

#[test]
fn any_part_is_read_by_several_threads_over_few_connections() {
    let server = Server::start(good);
    let share = share(&server);
    let file = share.open("image").expect("it is there");
    let content = content();
    assert_eq!(file.size(), content.len() as u64);
    thread::scope(|scope| {
        for part in 0..8_usize {
            let (file, content) = (&file, &content);
            scope.spawn(move || {
                let range = part * 100_000..(part + 1) * 100_000;
                let mut bytes = vec![0; range.len()];
                file.read_exact_at(&mut bytes, range.start as u64)
                    .expect("it is read");
                assert!(bytes == content[range], "part {part}");
            });
        }
    });
    let stats = share.stats();
    assert_eq!((stats.bytes_read, stats.read_calls), (800_000, 8));
    for request in &server.requests()[1..] {
        assert_eq!(request.header("if-match"), Some("\"one\""));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn what_breaks_off_is_gone_on_with_and_nothing_is_read_twice() {
    let server = Server::start(|request| good(request).cut_after(100_000));
    let share = share(&server);
    assert!(read(&share).expect("it is read in parts") == content());
    let starts: Vec<_> = server.requests()[1..]
        .iter()
        .filter_map(|request| Some(request.range()?.start))
        .collect();
    assert!(starts.is_sorted(), "{starts:?}");
    assert_eq!(share.stats().bytes_read, 800_000);
}

/// The names of manifest and signature stay while their content changes. The image has a name of its own.
#[test]
fn a_proxy_must_ask_the_server_for_small_files_and_may_keep_the_image() {
    let server = Server::start(good);
    let share = share(&server);
    assert!(read(&share).expect("the image") == content());
    share.read_file("golden.json", 1 << 20).expect("a file");
    for request in server.requests() {
        let expected = request.range().is_none().then_some("no-cache");
        assert_eq!(request.header("cache-control"), expected, "{request:?}");
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again_after_the_time_that_it_names() {
    let asked = AtomicU32::new(0);
    let server = Server::start(move |request| {
        if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            Reply::new(503, "").with("Retry-After", "7")
        } else {
            good(request)
        }
    });
    let watch = Arc::new(Watch::default());
    let share = share_with(&server.url(), None, ANSWER, Arc::clone(&watch));
    assert!(read(&share).expect("the second answer") == content());
    assert_eq!(
        *watch.0.lock().expect("no panic"),
        [Duration::from_secs(7); 2]
    );
}

#[test]
fn a_silent_server_is_given_up_after_its_attempts() {
    let server = Server::start(|_| {
        thread::sleep(Duration::from_secs(5));
        Reply::new(200, "")
    });
    let short = Duration::from_millis(300);
    let error = read(&share_with(&server.url(), None, short, Arc::default()));
    let error = error.expect_err("nothing comes");
    assert!(matches!(error, HttpError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("no answer for 300ms"), "{error}");
}

#[test]
fn a_server_that_ends_each_answer_early_is_given_up() {
    for cut in [1, 1000] {
        let server = Server::start(move |request| match request.range() {
            Some(range) if range != (0..1) => good(request).cut_after(cut),
            _ => good(request),
        });
        let error = read(&share(&server)).expect_err("it would take forever");
        assert!(matches!(error, HttpError::Lost { .. }), "{error}");
        assert_eq!(server.requests().len(), 1 + 3);
    }
}

/// It is never silent for long, and would take hours.
#[test]
fn a_server_that_drips_is_given_up() {
    let server = Server::start(|request| match request.range() {
        Some(range) if range != (0..1) => good(request).dripping(),
        _ => good(request),
    });
    let short = DRIP * 10;
    let error = read(&share_with(&server.url(), None, short, Arc::default()));
    let error = error.expect_err("it would take hours");
    assert!(matches!(error, HttpError::Lost { .. }), "{error}");
    assert!(error.to_string().contains(" bytes came in "), "{error}");
}

#[test]
fn a_server_without_ranges_is_refused_by_name() {
    let error = error(|_| Reply::new(200, content()));
    assert!(matches!(error, HttpError::NoRanges { .. }), "{error}");
}

#[test]
fn a_page_instead_of_the_file_is_refused_by_name() {
    let page = |_: &Request| Reply::new(200, "<html>").with("Content-Type", "text/html");
    let said = error(page).to_string();
    assert!(said.contains("a web page came"), "{said}");
    let server = Server::start(page);
    let said = share(&server).read_file("golden.json", 100);
    let said = said.expect_err("a page").to_string();
    assert!(said.contains("a web page came"), "{said}");
    assert!(said.contains("; next: open the address"), "{said}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    type Change = fn(&Request) -> Reply;
    let changes: [Change; 4] = [
        |request| Reply::file(request, &content()).with("ETag", "\"two\""),
        |request| Reply::file(request, &content()[4..]).with("ETag", "\"one\""),
        |_| Reply::new(412, ""),
        |request| Reply::file(request, &content()),
    ];
    for change in changes {
        let is_open = AtomicBool::new(false);
        let error = error(move |request| {
            if is_open.swap(true, Ordering::SeqCst) {
                change(request)
            } else {
                good(request)
            }
        });
        assert!(matches!(error, HttpError::Changed { .. }), "{error}");
    }
}

#[test]
fn wrong_lengths_and_wrong_parts_are_refused() {
    let wrong = |change: fn(Reply) -> Reply| {
        move |request: &Request| {
            if request.range() == Some(0..1) {
                good(request)
            } else {
                change(Reply::new(206, vec![7; 800_000])).with("ETag", "\"one\"")
            }
        }
    };
    for change in [
        (|reply| reply.with("Content-Range", "bytes 1-799999/800000")) as fn(Reply) -> Reply,
        |reply| reply.with("Content-Range", "bytes 0-9/800000"),
        |reply| reply.with("Content-Range", "nonsense"),
        |reply| reply,
        // Only the length is wrong: ten bytes are sent, and the connection is kept.
        |_| Reply::new(206, vec![7; 10]).with("Content-Range", "bytes 0-799999/800000"),
    ] {
        let error = error(wrong(change));
        assert!(matches!(error, HttpError::Odd { .. }), "{error}");
    }
}

#[test]
fn who_may_not_and_what_is_not_there_is_not_asked_twice() {
    for (status, is_right) in [
        (
            403,
            (|error| matches!(error, HttpError::Denied { .. })) as fn(&HttpError) -> bool,
        ),
        (401, |error| matches!(error, HttpError::Denied { .. })),
        (404, |error| matches!(error, HttpError::NotFound { .. })),
        (418, |error| matches!(error, HttpError::Status { .. })),
    ] {
        let server = Server::start(move |_| Reply::new(status, ""));
        let error = read(&share(&server)).expect_err("a refusal");
        assert!(is_right(&error), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_redirect_is_followed_remembered_and_forgotten_when_it_is_over() {
    let store = Arc::new(Server::start(good));
    let url = store.url();
    let entrance =
        Server::start(move |_| Reply::new(302, "").with("Location", &format!("{url}/x")));
    let share = share_at(&entrance.url(), Some("X-Key: secret"));
    let file = share.open("image").expect("it is there");
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 4)
        .expect("the second number");
    assert_eq!(bytes, [0, 0, 0, 1]);
    assert_eq!(entrance.requests().len(), 1, "the way is known");
    for request in entrance.requests() {
        assert_eq!(request.header("x-key"), Some("secret"));
    }
    for request in store.requests() {
        assert_eq!(request.header("x-key"), None, "another server's secret");
    }
}

#[test]
fn an_address_that_a_redirect_led_to_may_expire() {
    let asked = AtomicU32::new(0);
    let store = Server::start(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::new(403, "the signature is too old"),
        _ => good(request),
    });
    let url = store.url();
    let entrance =
        Server::start(move |_| Reply::new(307, "").with("Location", &format!("{url}/x")));
    assert!(read(&share(&entrance)).expect("by a new address") == content());
    assert_eq!(entrance.requests().len(), 2);
}

#[test]
fn a_mirror_that_dies_is_replaced_by_the_entrance_s_next() {
    let (first, second) = (Arc::new(Server::start(good)), Server::start(good));
    let urls = [first.url(), second.url()];
    let asked = AtomicUsize::new(0);
    let entrance = Server::start(move |_| {
        let turn = asked.fetch_add(1, Ordering::SeqCst).min(1);
        Reply::new(302, "").with("Location", &format!("{}/x", urls[turn]))
    });
    let share = share(&entrance);
    let file = share.open("image").expect("it is there");
    first.set_down(true);
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 4)
        .expect("from the second mirror");
    assert_eq!(bytes, [0, 0, 0, 1]);
}

#[test]
fn redirects_in_a_circle_and_away_from_the_web_are_refused() {
    for location in ["/image", "ftp://127.0.0.1/image", "file:///etc/passwd"] {
        let error = error(move |_| Reply::new(301, "").with("Location", location));
        assert!(
            matches!(error, HttpError::Redirect { .. }),
            "{location}: {error}"
        );
    }
    let error = error(|_| Reply::new(301, ""));
    assert!(matches!(error, HttpError::Redirect { .. }), "{error}");
    assert!(error.to_string().contains("; next: correct"), "{error}");
}

#[test]
fn a_query_goes_with_each_file_and_is_never_shown() {
    let server = Server::start(|request| {
        if request.target.ends_with("?sig=s3cret") {
            good(request)
        } else {
            Reply::new(403, "")
        }
    });
    let share = share_at(&format!("{}/bucket?sig=s3cret", server.url()), None);
    assert!(read(&share).expect("with the query") == content());
    assert_eq!(server.requests()[0].target, "/bucket/image?sig=s3cret");
    server.set_down(true);
    let error = read(&share).expect_err("it is down").to_string();
    assert!(!error.contains("s3cret"), "{error}");
    assert!(!format!("{share:?}").contains("s3cret"));
}

#[test]
fn a_file_that_is_too_long_is_not_taken_in() {
    let server = Server::start(|_| Reply::new(200, vec![b'x'; 1000]));
    let share = share(&server);
    assert_eq!(share.read_file("a", 1000).expect("it fits").len(), 1000);
    let part = Server::start(|_| Reply::new(206, "x").with("Content-Range", "bytes 0-0/9"));
    let error = share_at(&part.url(), None).read_file("a", 9);
    assert!(matches!(error, Err(HttpError::Odd { .. })), "{error:?}");
    let error = share.read_file("a", 999).expect_err("it does not");
    assert!(
        matches!(error, HttpError::TooLarge { limit: 999, .. }),
        "{error}"
    );
}

#[test]
fn what_lies_outside_is_refused_before_anything_is_asked() {
    let server = Server::start(good);
    let share = share(&server);
    for name in ["../image", "/image", "a//b", ""] {
        let error = share.open(name).expect_err(name);
        assert!(matches!(error, HttpError::Name { .. }), "{error}");
    }
    assert!(server.requests().is_empty());
    let file = share.open("image").expect("it is there");
    let error = file
        .read_exact_at(&mut [0; 2], 799_999)
        .expect_err("beyond");
    assert!(matches!(error, HttpError::OutOfRange { .. }), "{error}");
}

#[test]
fn a_certificate_of_nonsense_is_refused() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Access::new(Some(pem), None).expect_err("nonsense");
    assert!(
        error
            .to_string()
            .contains("a certificate in `ca` cannot be used"),
        "{error}"
    );
}
