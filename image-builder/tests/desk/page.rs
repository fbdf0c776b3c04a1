//! The page of the rack in a real browser, against a real desk.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::boards::{add, flasher, in_all_states, mac, node, now, remember};
use crate::browser::Browser;
use crate::common::Bench;
use crate::serve::{Serve, init};

const VISIBLE: &str =
    "[...document.querySelectorAll('#units li')].filter((li) => !li.hidden).length";

pub fn desk() -> Bench {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    bench
}

pub fn open(serve: &Serve, path: &str) -> Browser {
    let mut browser = Browser::open(&serve.https(path), 1280, 800);
    browser.until("document.getElementById('connection').dataset.state === 'live'");
    browser
}

pub fn text(id: &str) -> String {
    format!("document.getElementById('{id}').innerText")
}

/// What a board's unit in the rack says.
fn unit(last: u8) -> String {
    format!(
        "(document.querySelector('#units a[href=\"#{}\"]')?.textContent ?? '')",
        mac(last)
    )
}

pub fn says(expression: &str, part: &str) -> String {
    format!("{expression}.includes({})", json!(part))
}

pub fn click(browser: &mut Browser, selector: &str) {
    browser.js(&format!(
        "document.querySelector({}).click()",
        json!(selector)
    ));
}

pub fn has_no_problems(browser: &mut Browser) {
    let problems = browser.problems();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn what_boards_report_appears_while_the_page_is_open() {
    let bench = desk();
    let serve = Serve::start(&bench);
    let mut page = open(&serve, "/");
    page.until(&says(&text("empty"), "gild node add DIR"));
    assert_eq!(
        serve.report(
            &bench,
            &flasher(1, 1, "flash", &json!({"percent": 10, "seconds_left": 600}))
        ),
        204
    );
    page.until(&says(&unit(1), "Flashing Writes the disk, 10 %, "));
    page.until(&says(&unit(1), " min left"));
    assert_eq!(page.js("document.getElementById('empty').hidden"), true);
    assert_eq!(
        serve.report(
            &bench,
            &flasher(
                1,
                2,
                "verify",
                &json!({"percent": 55, "hostname": "node-1"})
            )
        ),
        204
    );
    page.until(&says(&unit(1), "node-1 Flashing Reads the disk back, 55 %"));
    page.until(&says(&text("state-flashing"), "1"));
    // Nobody is interrupted for each per cent, and everybody for a fault.
    assert_eq!(page.text(&text("news")), "");
    let fault = json!({"fault": 7, "message": "no answer", "hostname": "node-1"});
    assert_eq!(serve.report(&bench, &flasher(1, 3, "verify", &fault)), 204);
    page.until(&says(
        &text("news"),
        "node-1: Fault 7: the target failed to write or to read back.",
    ));
    page.until(&says(
        &text("todo"),
        "Check the disk's seat and power; if it fails again, replace the disk.",
    ));
    page.until("document.title === '1 with a fault, Rack'");
    has_no_problems(&mut page);
}

#[test]
fn a_board_that_says_nothing_more_is_shown_as_silent() {
    let bench = desk();
    remember(
        &bench,
        &[(now() - 52, "card", flasher(1, 1, "flash", &json!({})))],
    );
    let serve = Serve::start(&bench);
    let mut page = open(&serve, "/");
    page.until(&says(&unit(1), "Flashing"));
    page.until(&says(&unit(1), "Silent"));
    page.until(&says(&text("todo"), "look at its LED and its cable"));
}

#[test]
fn a_board_that_never_spoke_is_expected_and_needs_nobody() {
    let bench = desk();
    add(&bench, 1, "node-1");
    let decided = json!({"what": "decided", "at": now() - 5000, "mac": mac(1), "open": true});
    fs::write(
        bench.path("desk/journal/journal.jsonl"),
        format!("{decided}\n"),
    )
    .expect("written");
    let serve = Serve::start(&bench);
    let mut page = open(&serve, "/");
    page.until(&says(&unit(1), "node-1"));
    page.until(&says(&unit(1), "Expected"));
    page.until(&says(&unit(1), "It has not reported yet"));
    page.until("document.querySelector('#todo-list').children.length === 0");
    page.until("!document.getElementById('state-expected').hidden");
    let lamps = "document.querySelector('#units .lamp').getAnimations().length";
    assert_eq!(page.js(lamps), 0);
    page.until("document.querySelector('#state-expected .number').textContent === '1'");
    has_no_problems(&mut page);
}

#[test]
fn a_filter_is_kept_in_the_address() {
    let bench = desk();
    let serve = in_all_states(&bench);
    let mut page = open(&serve, "/");
    page.until(&format!("{VISIBLE} === 8"));
    click(&mut page, "#state-fault");
    page.until(&format!("{VISIBLE} === 1"));
    click(&mut page, "#state-silent");
    page.until(&format!("{VISIBLE} === 2"));
    assert_eq!(page.text("location.search"), "?state=fault,silent");
    let url = page.text("location.href");
    page.go(&url);
    page.until(&format!("{VISIBLE} === 2"));
    let pressed =
        "[...document.querySelectorAll('#states [aria-pressed=true]')].map((b) => b.id).join()";
    assert_eq!(page.text(pressed), "state-fault,state-silent");
    click(&mut page, "#state-fault");
    click(&mut page, "#state-silent");
    for (words, number) in [
        ("NODE-3", 1),
        ("01:02:06", 1),
        ("rpi5 bookworm", 8),
        ("192.168.1.22", 1),
        ("nobody", 0),
    ] {
        page.js("document.getElementById('words').select()");
        page.js("document.getElementById('words').focus()");
        page.write(words);
        page.until(&format!("{VISIBLE} === {number}"));
    }
    assert_eq!(page.text("location.search"), "?q=nobody");
    assert!(page.text(&text("unmatched")).contains("No board matches"));
    click(&mut page, "#all");
    page.until(&format!("{VISIBLE} === 8"));
    assert_eq!(page.text("location.search"), "");
    has_no_problems(&mut page);
}

#[test]
fn a_board_is_opened_and_closed_by_keyboard_and_by_its_address() {
    let bench = desk();
    let serve = in_all_states(&bench);
    let mut page = open(&serve, "/");
    page.until(&format!("{VISIBLE} === 8"));
    let focused = "document.activeElement.getAttribute('href') ?? document.activeElement.id";
    let first = format!("#{}", mac(1));
    for _ in 0..20 {
        page.press("Tab");
        if page.text(focused) == first {
            break;
        }
    }
    assert_eq!(page.text(focused), first);
    let outline = page.text("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "who uses a keyboard sees where they are");
    page.press("Enter");
    page.until("document.activeElement.id === 'board'");
    assert_eq!(page.text("location.hash"), first);
    assert_eq!(page.text(&text("board-name")), "node-1");
    page.press("Escape");
    page.until("document.getElementById('board').hidden");
    assert_eq!(page.text(focused), first);
    assert_eq!(page.text("location.hash"), "");

    // As a colleague gets it.
    page.go("about:blank");
    page.go(&serve.https(&format!("/#{}", mac(6))));
    page.until(&says(&text("board"), "node-6"));
    for part in [
        "Fault 4: manifest refused",
        "signed with another key than the one on the card.",
        "Next: Publish an image for this board signed with the key on the card.",
        "Warning, link: The network link runs at 100 Mbit/s",
        "A second of flicker, a pause, then 4 slow blinks.",
        "A card of this site has signed the last report.",
        "flasher: manifest, fault 4",
        "It looks again about once a minute.",
    ] {
        page.until(&says(&text("board"), part));
    }
    page.go("about:blank");
    page.go(&serve.https("/#d8:3a:dd:99:99:99"));
    page.until(&says(
        &text("board"),
        "No report of this board has arrived.",
    ));
    has_no_problems(&mut page);
}

#[test]
fn only_the_operator_moves_a_door_from_the_page() {
    let bench = desk();
    add(&bench, 1, "node-1");
    let serve = Serve::start(&bench);
    assert_eq!(
        serve.report(&bench, &flasher(1, 1, "network", &json!({}))),
        204
    );
    let mut page = open(&serve, &format!("/#{}", mac(1)));
    page.until(&says(&text("door-state"), "Closed. No card of this site"));
    let is_asked = "document.getElementById('login').open";
    click(&mut page, "#door");
    page.until(is_asked);
    assert_eq!(page.text("document.activeElement.id"), "word");
    page.write("0123");
    page.press("Enter");
    page.until(&says(
        &text("login-error"),
        "This is not the login of this desk.",
    ));
    assert_eq!(serve.rack()["nodes"][0]["door"]["state"], "never-opened");
    let login = fs::read_to_string(bench.path("desk/login")).expect("a login");
    page.write(login.trim());
    page.press("Enter");
    page.until(&says(&text("door-state"), "The operator has opened it."));
    page.until(&format!("!{is_asked}"));
    assert_eq!(serve.rack()["nodes"][0]["door"]["by"], "by-operator");

    // It is asked for once, and kept in this tab alone.
    page.until("document.getElementById('door').innerText === 'Close the door'");
    click(&mut page, "#door");
    page.until(&says(
        &text("door-state"),
        "by the operator. It gets no token.",
    ));
    assert_eq!(page.js(is_asked), false);
    let kept =
        "JSON.stringify([Object.values(sessionStorage), localStorage.length, document.cookie])";
    assert_eq!(page.text(kept), json!([[login.trim()], 0, ""]).to_string());
    click(&mut page, "#forget");
    assert_eq!(page.js("sessionStorage.length"), 0);
    click(&mut page, "#door");
    page.until(is_asked);
    page.press("Escape");
    page.until(&format!("!{is_asked}"));
    // The answers 401 are entries of the browser's log.
    let problems = page.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("401"),
        "{problems:#?}"
    );
}

#[test]
fn text_of_a_board_is_text() {
    const EVIL: &str = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>";
    let bench = desk();
    let serve = Serve::start(&bench);
    let more = json!({"hostname": EVIL, "message": EVIL, "fault": 5, "next_step": EVIL, "board": EVIL, "address": EVIL,
        "image_id": EVIL, "offered": EVIL, "hardware": [{"subject": EVIL, "level": "warning", "message": EVIL}]});
    assert_eq!(serve.report(&bench, &flasher(1, 1, EVIL, &more)), 204);
    let mut stranger = flasher(2, 1, EVIL, &more);
    stranger["boot"] = json!("x");
    assert_eq!(serve.post("/report", &stranger, &[]).0, 204);
    // Hearsay of a board that is known.
    stranger["mac"] = json!(mac(1));
    assert_eq!(serve.post("/report", &stranger, &[]).0, 204);
    for last in [1, 2] {
        let mut page = open(
            &serve,
            &format!(
                "/?q=<img src=x onerror=window.pwned=1>&state=<b>#{}",
                mac(last)
            ),
        );
        page.until("document.querySelectorAll('#units li').length === 2");
        page.until(&format!(
            "document.getElementById('board-name').textContent === {}",
            json!(EVIL)
        ));
        page.until(&says(&text("facts"), EVIL));
        // Of a stranger the desk keeps no history.
        if last == 1 {
            page.until(&says(&text("history"), EVIL));
            page.until(&says(&text("board-hearsay"), EVIL));
        }
        assert_eq!(
            page.js("document.querySelectorAll('img, body script').length"),
            0
        );
        assert_eq!(page.js("window.pwned === undefined"), true);
        has_no_problems(&mut page);
    }
    for file in fs::read_dir(files()).expect("a folder") {
        let path = file.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("text");
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!source.contains(word), "{word} in {}", path.display());
        }
        assert!(
            !source.contains(" style=") && !source.contains(" onclick="),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_phone_needs_no_scrolling_to_the_side() {
    let bench = desk();
    let serve = in_all_states(&bench);
    let long = json!({"hostname": "a-name-without-any-end.".repeat(10), "fault": 8, "message": "x".repeat(400), "image_id": "y".repeat(200)});
    assert_eq!(
        serve.report(&bench, &flasher(9, 1, "boot-order", &long)),
        204
    );
    let mut page = open(&serve, "/");
    for scheme in ["light", "dark"] {
        page.prefer(&[("prefers-color-scheme", scheme)]);
        for path in [
            "/".to_owned(),
            format!("/#{}", mac(9)),
            "/#02:00:00:00:00:66".to_owned(),
            "/?q=nobody".to_owned(),
        ] {
            page.go("about:blank");
            page.resize(360, 740);
            page.go(&serve.https(&path));
            page.until("document.querySelectorAll('#units li').length === 9");
            let width = page.js("document.documentElement.scrollWidth");
            assert_eq!(width, 360, "{path}, {scheme}");
        }
    }
    let background = page.text("getComputedStyle(document.body).backgroundColor");
    assert_eq!(background, "rgb(18, 22, 27)", "it is dark");
}

#[test]
fn a_lost_connection_is_said_and_comes_back() {
    let bench = desk();
    let serve = Serve::start(&bench);
    assert_eq!(
        serve.report(&bench, &flasher(1, 1, "network", &json!({}))),
        204
    );
    let mut page = open(&serve, "/");
    page.until(&says(&unit(1), "Starting"));
    drop(serve);
    page.until(&says(
        &text("connection-text"),
        "Connection lost. What you see is of ",
    ));
    page.until(&says(&unit(1), "Starting"));
    page.until("document.getAnimations().length === 0");
    let serve = Serve::start(&bench);
    page.until(&says(&text("connection-text"), "Live"));
    page.until("document.getAnimations().length === 1");
    assert_eq!(
        serve.report(&bench, &flasher(1, 2, "flash", &json!({"percent": 3}))),
        204
    );
    page.until(&says(&unit(1), "3 %"));
}

#[test]
fn a_screen_reader_meets_nothing_without_a_name() {
    let bench = desk();
    let serve = in_all_states(&bench);
    let mut page = open(&serve, &format!("/#{}", mac(3)));
    page.until(&says(&text("board-progress"), "62 %"));
    let names = page.names();
    let of = |role: &str| {
        let names = names.iter().filter(|(own, _)| own == role);
        names.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
    };
    for role in [
        "button",
        "link",
        "searchbox",
        "progressbar",
        "region",
        "group",
        "complementary",
        "main",
    ] {
        assert!(!of(role).is_empty(), "{role}: {names:?}");
        assert!(
            of(role).iter().all(|name| !name.is_empty()),
            "{role}: {names:?}"
        );
    }
    for landmark in ["banner", "main", "search", "complementary"] {
        assert_eq!(of(landmark).len(), 1, "{landmark}");
    }
    assert!(of("button").contains(&"1 Fault"), "{:?}", of("button"));
    let fault =
        "node-6 Fault Fault 4: manifest refused: signature, board, version, rollback, malformed";
    assert!(of("link").contains(&fault), "{:?}", of("link"));
    assert_eq!(page.js("document.querySelectorAll('h1').length"), 1);
    assert_eq!(page.text("document.documentElement.lang"), "en");
    // A state is never a colour alone.
    let shapes = "new Set([...document.querySelectorAll('#units use')].map((use) => use.getAttribute('href'))).size";
    assert_eq!(page.js(shapes), 8);
    has_no_problems(&mut page);
}

#[test]
fn the_led_blinks_as_the_page_for_printing_says() {
    let bench = desk();
    let serve = in_all_states(&bench);
    let mut page = open(&serve, "/");
    page.until(&format!("{VISIBLE} === 8"));
    // How often it is lit in one cycle, which is what somebody counts.
    let lit = |last: u8| {
        format!(
            "(() => {{ const all = document.querySelector('#units a[href=\"#{}\"] .lamp').getAnimations();
              return all.length === 0 ? -1 : all[0].effect.getKeyframes().filter((frame) => frame.opacity === '1').length; }})()",
            mac(last)
        )
    };
    for (last, expected) in [(1, -1), (2, -1), (4, 1), (6, 10 + 4), (7, 1)] {
        assert_eq!(page.js(&lit(last)), expected, "{last}");
    }
    let slow = "document.querySelector('#units [data-state=fault] .lamp').getAnimations()[0].effect.getTiming().duration";
    assert_eq!(page.js(slow), 7000);
    let table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/led-card.md"))
            .expect("a page");
    let (table, _) = table.split_once("**A fault:**").expect("the faults");
    let script = fs::read_to_string(files().join("led.js")).expect("a script");
    let rows: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .skip(2)
        .collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        assert!(script.contains(&format!("[\"{row}\",")), "{row}");
    }

    click(&mut page, "#blinking");
    assert_eq!(page.js("document.getAnimations().length"), 0);
    click(&mut page, "#blinking");
    assert_ne!(page.js("document.getAnimations().length"), 0);
    page.prefer(&[("prefers-reduced-motion", "reduce")]);
    page.until("document.getAnimations().length === 0");
}

#[test]
fn a_board_without_a_group_shows_the_command_that_makes_one() {
    let bench = desk();
    let serve = Serve::start(&bench);
    assert_eq!(
        serve.report(&bench, &flasher(1, 1, "network", &json!({}))),
        204
    );
    let mut page = open(&serve, &format!("/#{}", mac(1)));
    page.until(&says(
        &text("board-group"),
        &format!("gild node add DIR --mac {} --name NAME", mac(1)),
    ));
    assert!(
        !page
            .text("document.body.innerText")
            .contains(&bench.path("").display().to_string())
    );
    add(&bench, 1, "node-1");
    page.until("document.getElementById('board-group').hidden");
    let flash = flasher(1, 2, "flash", &json!({}));
    assert_eq!(serve.report(&bench, &flash), 204);
    assert_eq!(
        node(&serve, 1, 1, "joined", &json!({"hostname": "node-1"})),
        204
    );
    page.until(&says(&unit(1), "node-1 Joined"));
    page.until(&says(
        &text("board"),
        "The node has proven that it has its token.",
    ));
    has_no_problems(&mut page);
}

fn files() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("desk/page")
}
