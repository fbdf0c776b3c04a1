//! `gild check` of a card: its own configuration, its own key, and what its agents have noted on it.

use std::fs;

use gild_http_testkit::{Reply, Server};

use crate::desk::{Desk, agent_of};

/// It cannot be reached, and says so at once.
const SERVER: &str = "server = \"nfs://127.0.0.1:1/gild\"\n";

#[test]
fn a_card_is_checked_by_its_own_configuration_and_key() {
    let desk = Desk::new();
    desk.put("gild.toml", SERVER);
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    let ran = desk.bench.gild(["check", "card.img"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("card.img: a node can use it"),
        "{ran:?}"
    );
    let errors = ran.stdout.lines().filter(|line| line.starts_with("error"));
    let errors: Vec<_> = errors.collect();
    assert_eq!(errors.len(), 1, "{ran:?}");
    assert!(
        errors[0].contains("no connection to 127.0.0.1:1"),
        "{ran:?}"
    );
}

#[test]
fn a_damaged_card_is_an_error() {
    let desk = Desk::new();
    desk.put("gild.toml", SERVER);
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    desk.replace("gild.toml", format!("{SERVER}matchbx = \"x\"\n"));
    let ran = desk.bench.gild(["check", "card.img"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("did you mean `matchbox`?"), "{ran:?}");
}

#[test]
fn an_order_in_a_file_of_the_card_is_a_warning_and_half_an_order_is_an_error() {
    let desk = Desk::new();
    desk.put("gild.toml", SERVER);
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    for (text, level, words) in [
        ("of-today\nall\n", "warning", "the order of-today to flash"),
        ("of-today\n", "error", "names no node"),
    ] {
        desk.replace("gild-order.txt", text);
        let ran = desk.bench.gild(["check", "card.img"]);
        let is_it = |line: &str| line.starts_with(level) && line.contains(words);
        assert!(ran.stdout.lines().any(is_it), "{ran:?}");
    }
}

#[test]
fn a_damaged_file_of_rollback_counters_is_an_error_that_says_what_to_do() {
    let desk = Desk::new();
    desk.put("gild.toml", SERVER);
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    for (text, is_damaged) in [("rpi5=3\n", false), ("", true), ("\0\0\0\0", true)] {
        desk.replace("rollback.env", text);
        let ran = desk.bench.gild(["check", "card.img"]);
        let is_it = |line: &str| {
            line.starts_with("error") && line.contains("rollback.env on the card is damaged")
        };
        assert_eq!(
            ran.stdout.lines().any(is_it),
            is_damaged,
            "{text:?}: {ran:?}"
        );
        assert_eq!(
            ran.stdout.contains("delete it on the card"),
            is_damaged,
            "{ran:?}"
        );
    }
}

#[test]
fn an_image_that_the_card_s_agent_would_not_take_is_refused() {
    let desk = Desk::new();
    desk.bench.make_disk("disk.img", "one");
    desk.bench.pack(&["--rollback-counter", "3"]).succeeds();
    let folder = desk.bench.path("out");
    let server = Server::start(move |request| {
        match fs::read(folder.join(request.target.trim_start_matches('/'))) {
            Ok(bytes) => Reply::file(request, &bytes),
            Err(_) => Reply::new(404, ""),
        }
    });
    desk.put("gild.toml", format!("server = \"{}\"\n", server.url()));
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    let check = || {
        let args = ["check", "card.img", "--board", "rpi5"];
        desk.bench.gild(args)
    };
    check().succeeds();
    desk.put("agent", agent_of("0.1.9"));
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    let ran = check();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = "needs agent 0.2.0, and the card has 0.1.9";
    assert!(ran.stdout.contains(words), "{ran:?}");
    desk.put("agent", agent_of("0.2.0"));
    desk.build(&["--public-key", "signing.pub"]).succeeds();
    check().succeeds();
    desk.replace("rollback.env", "rpi5=4\n");
    let ran = check();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = "rollback counter 3, and the card asks for at least 4";
    assert!(ran.stdout.contains(words), "{ran:?}");
}
