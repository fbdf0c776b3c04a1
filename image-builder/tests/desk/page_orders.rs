//! Orders on the page, in a real browser, against a real desk.

use std::fs;

use serde_json::{Value, json};

use crate::boards::{add, flasher, mac, node};
use crate::browser::Browser;
use crate::common::Bench;
use crate::page::{click, desk, has_no_problems, open, says, text};
use crate::serve::Serve;

const ASKED: &str = "document.getElementById('login').open";
const OPEN: &str = "document.getElementById('order').open";

/// Three boards, of which the desk has heard.
fn three() -> (Bench, Serve) {
    let bench = desk();
    for last in 1..=3 {
        add(&bench, last, &format!("node-{last}"));
    }
    let serve = Serve::start(&bench);
    for last in 1..=3 {
        let name = json!({"hostname": format!("node-{last}")});
        assert_eq!(serve.report(&bench, &flasher(last, 1, "flash", &name)), 204);
        assert_eq!(node(&serve, last, 1, "joined", &name), 204);
    }
    (bench, serve)
}

fn login(bench: &Bench) -> String {
    let login = fs::read_to_string(bench.path("desk/login")).expect("a login");
    login.trim().to_owned()
}

fn log_in(page: &mut Browser, bench: &Bench) {
    page.until(ASKED);
    page.write(&login(bench));
    page.press("Enter");
    page.until(&format!("!{ASKED}"));
}

/// The state of a board in the first order of the list.
fn line(last: u8) -> String {
    format!("(document.querySelectorAll('#order-list ul li')[{last} - 1]?.innerText ?? '')")
}

fn ask(serve: &Serve, last: u8) -> u16 {
    let path = format!("/orders/{}", mac(last).replace(':', ""));
    serve.get(&serve.https(&path), &[]).0
}

#[test]
fn an_order_is_queued_from_the_page_signed_and_followed() {
    let (bench, serve) = three();
    let mut page = open(&serve, &format!("/#{}", mac(1)));
    page.until(&says(&text("board-name"), "node-1"));
    assert!(page.text(&text("board")).contains("None."));
    click(&mut page, "#order-flash");
    page.until(OPEN);
    assert!(page.text(&text("order")).contains("all data on it is lost"));
    let boards = "[...document.querySelectorAll('#order-boards input')].map((box) => [box.value, box.checked]).join()";
    assert_eq!(
        page.text(boards),
        format!("{},true,{},false,{},false", mac(1), mac(2), mac(3)),
        "the chosen board is the canary"
    );
    page.js("document.getElementById('order-choice').value = 'channel'");
    page.js("document.getElementById('order-choice').dispatchEvent(new Event('change'))");
    page.js("document.getElementById('order-name').focus()");
    page.write("canary");
    click(&mut page, "#order-rolling");
    click(&mut page, "#order-erase");
    page.js("document.querySelectorAll('#order-boards input')[1].click()");
    click(&mut page, "#order-form [type=submit]");
    page.until(ASKED);
    page.write("0123");
    page.press("Enter");
    page.until(&says(
        &text("login-error"),
        "This is not the login of this desk.",
    ));
    assert!(bench.names("desk/orders").is_empty());
    log_in(&mut page, &bench);
    page.until(&format!("!{OPEN}"));
    page.until(&says(&text("order-says"), "It counts when you sign it:"));
    page.until(&says(&text("order-list"), "Waits for a signature"));
    page.until(&says(
        &text("order-list"),
        "Write the disk again with the image of the channel canary, and discard everything on it first, one node after the other.",
    ));
    page.until(&says(
        &text("board-orders"),
        "Write again It waits for the signature.",
    ));
    assert_eq!(ask(&serve, 1), 404, "a draft leaves the desk for nobody");

    // As it stands on the page.
    let command = page.text(&text("order-command"));
    let command = command.replace("DIR", "desk");
    let words = command.split_whitespace().skip(1).chain(["--yes"]);
    bench.gild(words.collect::<Vec<_>>()).succeeds();
    page.until(&says(&text("order-list"), "Signed"));
    assert_eq!(page.text(&text("order-command")), "", "it is signed");
    page.until(&says(&line(1), "node-1 is the next one"));
    page.until(&says(&line(2), "node-2 does not have it yet"));
    assert_eq!((ask(&serve, 2), ask(&serve, 1)), (404, 200));
    page.until(&says(&line(1), "node-1 has it"));
    let id = serve.rack()["orders"][0]["id"].clone();
    let of = |boot: &str| json!({"boot": boot, "order": id});
    assert_eq!(serve.report(&bench, &flasher(1, 1, "flash", &of("b"))), 204);
    page.until(&says(&line(1), "node-1 is at it"));
    assert_eq!(node(&serve, 1, 1, "joined", &of("c")), 204);
    page.until(&says(&line(1), "node-1 has carried it out"));
    page.until(&says(&line(2), "node-2 is the next one"));
    page.until(&says(&text("board-orders"), "It has carried it out."));
    assert_eq!(ask(&serve, 2), 200);
    let mut fault = of("b");
    fault["fault"] = json!(7);
    assert_eq!(serve.report(&bench, &flasher(2, 1, "verify", &fault)), 204);
    page.until(&says(
        &text("order-list"),
        "Stopped: node-2 has shown fault 7",
    ));
    page.until(&says(&line(2), "node-2 has failed: it has shown fault 7"));

    click(&mut page, "#order-list button");
    page.until("document.getElementById('orders').hidden");
    assert!(bench.names("desk/orders").is_empty());
    click(&mut page, "#audit-show");
    page.until(&says(&text("audit-list"), "takes back the order"));
    assert_eq!(
        page.js("document.querySelectorAll('#audit-list li').length"),
        2
    );
    let problems = page.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("401"),
        "{problems:#?}"
    );
}

#[test]
fn hold_and_identify_are_queued_for_the_boards_that_are_chosen() {
    let (bench, serve) = three();
    let mut page = open(&serve, &format!("/#{}", mac(2)));
    page.until(&says(&text("board-name"), "node-2"));
    for (button, action, hours) in [
        ("#order-hold", "hold", 24),
        ("#order-identify", "identify", 1),
    ] {
        click(&mut page, button);
        page.until(OPEN);
        assert_eq!(
            page.js("document.getElementById('order-flash-fields').hidden"),
            true
        );
        assert_eq!(
            page.js("Number(document.getElementById('order-hours').value)"),
            hours
        );
        click(&mut page, "#order-all");
        click(&mut page, "#order-form [type=submit]");
        if action == "hold" {
            log_in(&mut page, &bench);
        }
        page.until(&format!("!{OPEN}"));
        page.until(&says(&text("order-says"), "Queued as "));
        let orders = serve.rack()["orders"].clone();
        let mut orders = orders.as_array().expect("orders").iter();
        let order = orders.find(|order| order["action"] == action);
        let order = order.expect("it is queued");
        let nodes = order["nodes"].as_array().expect("nodes").iter();
        let macs: Vec<_> = nodes.map(|node| node["mac"].clone()).collect();
        assert_eq!(macs, [mac(2), mac(1), mac(3)].map(Value::from));
    }
    // A board that has an identify blinks as the real one does.
    let hold = serve.rack()["orders"].clone();
    let hold = hold.as_array().expect("orders").iter();
    let hold = hold.filter(|order| order["action"] == "hold");
    let ids: Vec<_> = hold
        .map(|order| order["id"].as_str().expect("an id").to_owned())
        .collect();
    bench.gild(["order", "cancel", "desk", &*ids[0]]).succeeds();
    bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    page.until(&says(&text("order-list"), "Signed"));
    assert_eq!(ask(&serve, 2), 200);
    page.until(&says(
        &text("facts"),
        "Lit for a second, dark for a second.",
    ));

    // Without a board it says why not, and stays open.
    click(&mut page, "#order-hold");
    page.until(OPEN);
    page.js("document.querySelector('#order-boards input').click()");
    click(&mut page, "#order-form [type=submit]");
    page.until(&says(
        &text("order-error"),
        "it should name 1 to 1024 nodes",
    ));
    assert_eq!(page.js(OPEN), true);
}

#[test]
fn an_order_is_wished_by_keyboard_and_with_a_screen_reader() {
    let (bench, serve) = three();
    let mut page = open(&serve, &format!("/#{}", mac(1)));
    page.until(&says(&text("board-name"), "node-1"));
    page.js("document.getElementById('order-flash').focus()");
    page.press("Enter");
    page.until(OPEN);
    let names = page.names();
    for role in [
        "dialog",
        "combobox",
        "textbox",
        "checkbox",
        "spinbutton",
        "button",
    ] {
        let of = || names.iter().filter(|(own, _)| own == role);
        assert!(of().count() > 0, "{role}: {names:?}");
        assert!(of().all(|(_, name)| !name.is_empty()), "{role}: {names:?}");
    }
    for name in [
        "Write again",
        "Discard everything on the disk first",
        "Hours in which it counts",
        "node-1, d8:3a:dd:01:02:01",
    ] {
        assert!(
            names.iter().any(|(_, own)| own == name),
            "{name}: {names:?}"
        );
    }
    // Everything in it is reached by the keyboard, and nothing behind it.
    let mut reached = Vec::new();
    for _ in 0..14 {
        let focused = page.text("document.activeElement.id || document.activeElement.value || document.activeElement.type || ''");
        let is_inside = "document.activeElement === document.body || document.getElementById('order').contains(document.activeElement)";
        assert_eq!(page.js(is_inside), true, "{focused}");
        reached.push(focused);
        page.press("Tab");
    }
    for id in [
        "order-choice",
        "order-disk",
        "order-erase",
        "order-rolling",
        "order-all",
        "order-hours",
        "order-cancel",
        &mac(2),
    ] {
        assert!(reached.iter().any(|one| one == id), "{id}: {reached:?}");
    }
    page.press("Escape");
    page.until(&format!("!{OPEN}"));
    assert_eq!(page.text("document.activeElement.id"), "order-flash");
    assert!(bench.names("desk/orders").is_empty());

    // On a phone.
    for scheme in ["light", "dark"] {
        page.prefer(&[("prefers-color-scheme", scheme)]);
        page.resize(360, 740);
        click(&mut page, "#order-flash");
        page.until(OPEN);
        let size = "(({width, height}) => [width <= 360, height <= 740])(document.getElementById('order').getBoundingClientRect()).join()";
        assert_eq!(page.text(size), "true,true", "{scheme}");
        assert_eq!(page.js("document.documentElement.scrollWidth"), 360);
        assert_eq!(
            page.js("(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)(document.getElementById('order'))"),
            true
        );
        page.press("Escape");
        page.until(&format!("!{OPEN}"));
    }
    has_no_problems(&mut page);
}

#[test]
fn what_a_board_says_about_an_order_is_text() {
    const EVIL: &str = "<img src=x onerror=\"window.pwned=1\">";
    let (bench, serve) = three();
    bench
        .gild([
            "order", "new", "desk", "--action", "flash", "--node", "node-1", "--disk", EVIL,
        ])
        .succeeds();
    bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    fs::write(
        bench.path("desk/orders/20261228T101500Z-1a2b3c.order"),
        json!({"order": EVIL, "signature": EVIL}).to_string(),
    )
    .expect("written");
    let mut page = open(&serve, &format!("/#{}", mac(1)));
    page.until(&says(&text("order-list"), "Signed"));
    page.until(&says(&text("order-list"), "Does not count: "));
    assert_eq!(ask(&serve, 1), 200);
    let orders = serve.rack()["orders"].clone();
    let mut orders = orders.as_array().expect("orders").iter();
    let signed = orders.find(|order| order["state"] == "signed");
    let id = signed.expect("the order")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let refusal = json!({"message": format!("{id} is not carried out: {EVIL}")});
    assert_eq!(node(&serve, 1, 2, "joined", &refusal), 204);
    page.until(&says(
        &text("order-list"),
        &format!("does not carry it out: {id} is not carried out: {EVIL}"),
    ));
    page.until(&says(&text("board-orders"), EVIL));
    assert_eq!(page.js("document.querySelectorAll('img').length"), 0);
    assert_eq!(page.js("window.pwned === undefined"), true);
    has_no_problems(&mut page);
}
