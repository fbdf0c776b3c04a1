//! Orders: queued by command or over HTTP, signed elsewhere, handed out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::boards::{add, flasher, mac, node};
use crate::common::Bench;
use crate::serve::{Serve, init};

fn desk() -> Bench {
    let bench = Bench::new();
    init(&bench, &[]).succeeds();
    for last in 1..=3 {
        add(&bench, last, &format!("node-{last}"));
    }
    bench
}

/// Where a board asks for its order.
fn path(last: u8) -> String {
    format!("/orders/{}", mac(last).replace(':', ""))
}

fn login(bench: &Bench) -> String {
    let login = fs::read_to_string(bench.path("desk/login")).expect("a login");
    format!("Bearer {}", login.trim())
}

/// Asks until the desk has read its folder again.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed().as_secs() < 30, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn order_in(body: &str) -> Value {
    let signed: Value = serde_json::from_str(body).expect("JSON");
    serde_json::from_str(signed["order"].as_str().expect("a text")).expect("JSON")
}

fn listed(bench: &Bench) -> Value {
    let json = bench.gild(["order", "list", "desk", "--json"]).succeeds();
    serde_json::from_str(&json.stdout).expect("JSON")
}

#[test]
fn a_second_order_to_flash_a_node_names_the_first() {
    let bench = desk();
    let new = |node: &str, action: &str| {
        let args = ["order", "new", "desk", "--node", node, "--action", action];
        bench.gild(args).succeeds()
    };
    let first = new("node-1", "flash");
    assert!(!first.stderr.contains("earlier"), "{}", first.stderr);
    for (node, action) in [("node-2", "flash"), ("node-1", "hold")] {
        let other = new(node, action);
        assert!(!other.stderr.contains("earlier"), "{}", other.stderr);
    }
    let id = first.stdout.trim().rsplit('/').next().expect("a file");
    let id = id.trim_end_matches(".json");
    let second = new("node-1", "flash");
    for part in [
        &*format!("the earlier order {id} to flash is open for node-1,"),
        &*format!(
            "next: keep one of the two, and take the other back: gild order cancel desk {id}"
        ),
    ] {
        assert!(second.stderr.contains(part), "{part}: {}", second.stderr);
    }
    // Its card knows another address of the same board.
    let serve = Serve::start(&bench);
    let report = flasher(1, 1, "network", &json!({"other_macs": [mac(9)]}));
    assert_eq!(serve.report(&bench, &report), 204);
    drop(serve);
    let third = new(&mac(9), "flash");
    assert!(third.stderr.contains(id), "{}", third.stderr);
}

#[test]
fn an_order_is_made_shown_and_signed_elsewhere() {
    let bench = desk();
    let made = bench
        .gild([
            "order",
            "new",
            "desk",
            "--action",
            "flash",
            "--node",
            "node-2",
            "--node",
            &mac(1),
            "--channel",
            "canary",
            "--disk",
            "S5GXNX0T",
            "--erase",
            "--rolling",
        ])
        .succeeds();
    let draft = made.stdout.trim().to_owned();
    assert!(
        made.stderr.contains("gild order sign desk"),
        "{}",
        made.stderr
    );

    // On another computer, which has the key and no desk.
    fs::create_dir(bench.path("elsewhere")).expect("a folder");
    fs::copy(bench.path(&draft), bench.path("elsewhere/draft.json")).expect("a copy");
    bench
        .gild([
            "order",
            "sign",
            "elsewhere/draft.json",
            "--key",
            "desk/site.key",
        ])
        .fails_saying(&["nobody to ask", "add --yes; nothing was signed"]);
    bench
        .gild(["order", "sign", "elsewhere/draft.json", "--yes"])
        .fails_saying(&["--key is missing"]);
    let signed = bench
        .gild([
            "order",
            "sign",
            "elsewhere/draft.json",
            "--key",
            "desk/site.key",
            "--yes",
        ])
        .succeeds();
    for part in [
        "write the disk again with the image of the channel canary",
        "only the disk with the serial number \"S5GXNX0T\"",
        "discard everything on it first",
        "one node after the other",
        "all data on these disks is lost",
        &format!("1. {}", mac(2)),
        &format!("2. {}", mac(1)),
    ] {
        assert!(signed.stdout.contains(part), "{part}: {}", signed.stdout);
    }
    let order = signed.stdout.lines().last().expect("a path").to_owned();
    assert!(order.starts_with("elsewhere/"), "beside the draft: {order}");
    let shown = bench
        .gild([
            "order",
            "show",
            &order,
            "--key",
            "desk/site.pub",
            "--desk",
            "desk",
        ])
        .succeeds()
        .stdout;
    assert!(
        shown.ends_with("  signed   by desk/site.pub: the signature is good\n"),
        "{shown}"
    );
    let shown = bench.gild(["order", "show", &draft]).succeeds().stdout;
    assert!(!shown.contains("signature is good"), "{shown}");
    bench
        .gild(["order", "show", &order, "--key", "signing.pub"])
        .fails_saying(&["is not an order that counts"]);
    bench
        .gild(["order", "show", &order])
        .fails_saying(&["nobody said who", "give --key or --desk"]);
    bench
        .gild(["order", "show", &draft, "--key", "desk/site.pub"])
        .fails_saying(&["is a draft", "gild order sign"]);
}

#[test]
fn a_signed_order_is_handed_out_until_it_is_taken_back() {
    let bench = desk();
    let serve = Serve::start(&bench);
    let get = |last| serve.get(&serve.https(&path(last)), &[]);
    bench
        .gild([
            "order",
            "new",
            "desk",
            "--action",
            "flash",
            "--rolling",
            "--node",
            "node-2",
            "--node",
            "node-1",
        ])
        .succeeds();
    wait("it is seen", || {
        serve.rack()["orders"][0]["state"] == "queued"
    });
    assert_eq!(get(2).0, 404, "a draft is not an order");
    bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    let files = bench.names("desk/orders");
    let file = files.iter().find(|name| name.contains(".order"));
    let file = format!("desk/orders/{}", file.expect("a signed order"));
    let shown = bench.gild(["order", "show", &file]).succeeds().stdout;
    assert!(shown.contains("1. d8:3a:dd:01:02:02  node-2\n"), "{shown}");
    wait("it is handed out", || get(2).0 == 200);
    let (_, body) = get(2);
    let handed = order_in(&body);
    assert_eq!(handed["nodes"], json!([mac(2), mac(1)]));
    assert_eq!(get(1).0, 404, "it is the turn of the other one");
    let list = bench.gild(["order", "list", "desk"]).succeeds().stdout;
    for part in [
        "  signed  write the disk again",
        "\n  node-2  handed  ",
        "\n  node-1  waits\n",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    // What is not the MAC address of a board, and the ways out of the folder.
    let id = handed["id"].as_str().expect("an id");
    for other in [
        "/orders/rpi5",
        "/orders/D83ADD010202",
        "/orders/d8:3a:dd:01:02:02",
        &format!("/orders/{id}"),
        &format!("/orders/{id}.order"),
        "/orders/..%2Flogin",
        "/orders/",
    ] {
        assert_eq!(serve.get(&serve.https(other), &[]).0, 404, "{other}");
    }
    bench.gild(["order", "cancel", "desk", id]).succeeds();
    wait("it is taken back", || get(2).0 == 404);
    bench
        .gild(["order", "cancel", "desk", id])
        .fails_saying(&["there is no order", "gild order list desk"]);
    bench
        .gild(["order", "cancel", "desk", "../../login"])
        .fails_saying(&["is not the id of an order"]);
    assert!(bench.path("desk/login").exists());
}

#[test]
fn the_operators_own_key_counts_alone() {
    let bench = desk();
    bench
        .gild(["key", "new", "--output", "desk/order"])
        .succeeds();
    let new = [
        "order", "new", "desk", "--action", "hold", "--node", "node-1",
    ];
    bench.gild(new).succeeds();
    bench
        .gild(["order", "sign", "desk", "--key", "desk/site.key", "--yes"])
        .fails_saying(&["not the key whose orders count", "order.pub"]);
    let list = listed(&bench);
    assert_eq!(list["orders"][0]["state"], "queued");
    let signed = bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    assert!(
        signed.stdout.contains("1. d8:3a:dd:01:02:01  node-1"),
        "{}",
        signed.stdout
    );
    assert_eq!(listed(&bench)["orders"][0]["state"], "signed");
    bench
        .gild(["order", "sign", "desk", "--yes"])
        .fails_saying(&["there is no draft"]);
}

/// A stolen desk can have drafts that nobody made.
#[test]
fn a_draft_that_counts_too_long_or_spends_those_to_come_is_not_signed() {
    let bench = desk();
    let new = [
        "order", "new", "desk", "--action", "flash", "--node", "node-1",
    ];
    let made = bench.gild(new).succeeds();
    let draft = made.stdout.trim().to_owned();
    let text = fs::read_to_string(bench.path(&draft)).expect("a draft");
    let order: Value = serde_json::from_str(&text).expect("JSON");
    let sign = |name: &str, field: &str, value: Value| {
        let mut order = order.clone();
        order[field] = value;
        fs::write(bench.path(name), order.to_string()).expect("written");
        bench.gild(["order", "sign", name, "--key", "desk/site.key", "--yes"])
    };
    let expires = order["expires"].as_u64().expect("a time");
    let day = 24 * 60 * 60;
    sign("long.json", "expires", json!(expires + 14 * day))
        .fails_saying(&["more than 336 hours after the time in its id"]);
    sign("old.json", "expires", json!(expires - 2 * day))
        .fails_saying(&["does not count any more"]);
    sign("late.json", "id", json!("29991231T235959Z-ffffff"))
        .fails_saying(&["is of a later time than now"]);
    sign("all.json", "nodes", json!(["all"])).fails_saying(&["not all MAC addresses"]);
    sign("more.json", "also", json!("this")).fails_saying(&["cannot be signed"]);
    let files = bench.names("").join(" ");
    assert!(!files.contains(".order"), "{files}");
    sign("good.json", "erase", json!(true)).succeeds();
}

/// It may be a stranger, which only the running desk knows.
#[test]
fn an_order_for_an_address_that_nobody_knows_is_made_with_a_warning() {
    let bench = desk();
    let journal = json!({"what": "decided", "at": 1000, "mac": mac(8), "open": false});
    fs::write(
        bench.path("desk/journal/journal.jsonl"),
        format!("{journal}\n"),
    )
    .expect("written");
    let warns = |node: &str| {
        let order = [
            "order", "new", "desk", "--action", "identify", "--node", node,
        ];
        let said = bench.gild(order).succeeds().stderr;
        let warning = format!(
            "no group says who {} is, and the desk has kept no report",
            mac(9)
        );
        let next = "next: if that is a slip, take the order back: gild order cancel desk 2";
        assert_eq!(said.contains(&warning), said.contains(next), "{said}");
        said.contains(&warning)
    };
    assert!(warns(&mac(9)));
    // With hyphens, as other systems show it.
    assert!(warns(&mac(9).replace(':', "-")));
    for known in [
        "node-1",
        &mac(1),
        &mac(1).replace(':', "-").to_uppercase(),
        &mac(8),
    ] {
        assert!(!warns(known), "{known}");
    }
}

#[test]
fn what_cannot_be_meant_is_not_queued() {
    let bench = desk();
    let new = |more: &[&str]| {
        let mut args = vec!["order", "new", "desk", "--action", "flash"];
        args.extend(more);
        bench.gild(args)
    };
    new(&[]).fails_saying(&["--node"]);
    new(&["--node", "nobody"]).fails_saying(&["gives the name nobody", "gild node add"]);
    new(&["--node", "node-1", "--node", &mac(1)]).fails_saying(&["twice"]);
    new(&["--all"]).fails_saying(&["--board"]);
    new(&["--all", "--board", "rpi5"]).fails_saying(&["no rpi5 has reported"]);
    assert!(bench.names("desk/orders").is_empty());
    bench
        .gild([
            "order", "new", "desk", "--action", "hold", "--erase", "--node", "node-1",
        ])
        .fails_saying(&["are of an order to flash"]);
    bench
        .gild(["order", "list", "desk.toml"])
        .fails_saying(&["is not a folder; next: make one: gild init desk.toml, or give the one"]);
    bench
        .gild(["order", "list", "."])
        .fails_saying(&["is not the folder of a desk"]);

    let serve = Serve::start(&bench);
    for last in [2, 1] {
        assert_eq!(
            serve.report(&bench, &flasher(last, 1, "network", &json!({}))),
            204
        );
    }
    new(&["--all", "--board", "rpi5", "--rolling"]).succeeds();
    let nodes = listed(&bench)["orders"][0]["nodes"].clone();
    let names: Vec<_> = nodes
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| node["name"].clone())
        .collect();
    assert_eq!(names, ["node-1", "node-2"]);
}

/// Publishes files of these names; what they say does not matter here.
fn publish(bench: &Bench, board: &str, names: &[&str]) {
    let folder = bench.path(&format!("desk/images/{board}"));
    fs::create_dir_all(&folder).expect("a folder");
    for name in names {
        fs::write(folder.join(name), "{}").expect("written");
    }
}

#[test]
fn an_order_names_an_image_or_a_channel_that_its_boards_find() {
    let bench = desk();
    let new = |more: &[&str]| {
        let mut args = vec!["order", "new", "desk", "--action", "flash"];
        args.extend(["--node", "node-1"]);
        args.extend(more);
        bench.gild(args)
    };
    // The images of this site may be elsewhere.
    let said = new(&["--image", "rpi5-0"]).succeeds().stderr;
    assert!(
        said.contains("desk/images has no image, so nobody has looked whether there is the image rpi5-0; next: "),
        "{said}"
    );
    let said = new(&[]).succeeds().stderr;
    assert!(!said.contains("nobody has looked"), "{said}");

    publish(
        &bench,
        "rpi5",
        &[
            "golden.json",
            "rpi5-1.json",
            "rpi5-1.spdx.json",
            "rpi5-2.json",
        ],
    );
    publish(
        &bench,
        "rock5b",
        &["golden.json", "rock5b-1.json", "golden-canary.json"],
    );
    let queued = bench.names("desk/orders").len();
    new(&["--image", "rpi5-0"]).fails_saying(&[
        "the image rpi5-0 is not in desk/images; next: name what is there (rock5b-1, rpi5-1, rpi5-2), or build or publish it there first",
    ]);
    new(&["--channel", "beta"]).fails_saying(&[
        "the image of the channel beta is not in desk/images; next: name what is there (canary), or give the channel an image first",
    ]);
    let serve = Serve::start(&bench);
    let seen = flasher(1, 1, "network", &json!({}));
    assert_eq!(serve.report(&bench, &seen), 204);
    new(&["--image", "rock5b-1"]).fails_saying(&[
        "the image rock5b-1 is not in desk/images for rpi5; next: name what is there (rpi5-1, rpi5-2)",
    ]);
    new(&["--channel", "canary"]).fails_saying(&[
        "the channel canary is not in desk/images for rpi5; next: give the channel an image first: gild image current desk/images IMAGE",
        "because none is there",
    ]);
    // No message repeats what is not the name of a channel.
    publish(
        &bench,
        "rpi5",
        &["golden-a\u{1b}[2J.json", "golden-stable.json"],
    );
    new(&["--channel", "canary"]).fails_saying(&["next: name what is there (stable), or "]);
    let login = login(&bench);
    let wish = json!({"action": "flash", "nodes": [mac(1)], "image": "rpi5-0"});
    let (status, why) = serve.post("/orders", &wish, &[("authorization", &login)]);
    assert_eq!(status, 400);
    assert!(
        why.contains("next: name what is there (rpi5-1, rpi5-2)"),
        "{why}"
    );
    assert_eq!(
        bench.names("desk/orders").len(),
        queued,
        "nothing is queued"
    );
    new(&["--image", "rpi5-2"]).succeeds();
    new(&[]).succeeds();
    // The images of this kind of board may be elsewhere, although those of another are here.
    fs::remove_dir_all(bench.path("desk/images/rpi5")).expect("a folder");
    let said = new(&["--image", "rpi5-0"]).succeeds().stderr;
    assert!(
        said.contains("desk/images has no image for rpi5, so nobody has looked whether there is the image rpi5-0; next: "),
        "{said}"
    );
    let wish = json!({"action": "flash", "nodes": [mac(1)], "channel": "beta"});
    let (status, why) = serve.post("/orders", &wish, &[("authorization", &login)]);
    assert!((200..300).contains(&status), "{status}: {why}");
}

#[test]
fn the_list_of_what_was_done_with_the_login_says_that_it_is_empty() {
    let bench = desk();
    let ran = bench.gild(["order", "list", "desk", "--audit"]).succeeds();
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("nothing was done with the login yet"),
        "{}",
        ran.stderr
    );
}

#[test]
fn only_the_operator_queues_and_takes_back_and_it_is_noted() {
    let bench = desk();
    let serve = Serve::start(&bench);
    let wish = json!({"action": "flash", "nodes": [mac(1)], "image": "one"});
    let login = login(&bench);
    let orders = serve.https("/orders");
    for wrong in ["", "Bearer ", "Bearer 0123", "Basic x"] {
        let (status, body) = serve.post("/orders", &wish, &[("authorization", wrong)]);
        assert_eq!(status, 401, "{wrong}: {body}");
        let (status, _) = serve.delete(
            &format!("{orders}/20261228T101500Z-1a2b3c"),
            &[("authorization", wrong)],
        );
        assert_eq!(status, 401, "{wrong}");
        let (status, body) = serve.get(&serve.https("/audit"), &[("authorization", wrong)]);
        assert_eq!(status, 401, "{wrong}: {body}");
    }
    assert!(bench.names("desk/orders").is_empty());
    let operator = [("authorization", login.as_str())];
    for bad in [
        json!({"action": "flash"}),
        json!({"action": "flash", "nodes": ["all"]}),
        json!({"action": "flash", "nodes": [mac(1)], "id": "../../login"}),
        json!({"action": "flash", "nodes": [mac(1)], "image": "../../login"}),
        json!({"action": "wipe", "nodes": [mac(1)]}),
        json!([]),
    ] {
        let (status, body) = serve.post("/orders", &bad, &operator);
        assert_eq!(status, 400, "{bad}: {body}");
    }
    let long = json!({"action": "flash", "nodes": [mac(1)], "disk": "x".repeat(70_000)});
    assert_eq!(serve.post("/orders", &long, &operator).0, 413);
    assert!(bench.names("desk/orders").is_empty());

    let (status, body) = serve.post("/orders", &wish, &operator);
    assert_eq!(status, 201, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let id = answer["id"].as_str().expect("an id");
    let rack = serve.rack();
    assert_eq!(rack["orders"][0]["id"], id);
    assert_eq!(rack["orders"][0]["state"], "queued");
    assert_eq!(serve.get(&serve.https(&path(1)), &[]).0, 404);
    let door = json!({"mac": mac(1), "open": false});
    assert_eq!(serve.post("/door", &door, &operator).0, 204);
    assert_eq!(
        serve.delete(&format!("{orders}/../login"), &operator).0,
        404
    );
    assert_eq!(serve.delete(&format!("{orders}/{id}"), &operator).0, 204);
    assert_eq!(serve.delete(&format!("{orders}/{id}"), &operator).0, 404);
    drop(serve);

    // It was killed, and knows who did what.
    let serve = Serve::start(&bench);
    let (status, body) = serve.get(&serve.https("/audit"), &operator);
    assert_eq!(status, 200, "{body}");
    let audit: Value = serde_json::from_str(&body).expect("JSON");
    let acts: Vec<_> = audit["acts"]
        .as_array()
        .expect("acts")
        .iter()
        .map(|act| act["text"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(
        acts,
        [
            format!("queues the order {id}: node-1: write the disk again with the image one"),
            format!("closes the door for {}", mac(1)),
            format!("takes back the order {id}"),
        ]
    );
    let text = bench
        .gild(["order", "list", "desk", "--audit"])
        .succeeds()
        .stdout;
    assert!(
        text.lines().count() == 3 && text.contains(" UTC  127.0.0.1  closes the door for "),
        "{text}"
    );
}

#[test]
fn a_rolling_order_goes_on_after_the_desk_was_killed() {
    let bench = desk();
    let mut serve = Serve::start(&bench);
    for last in 1..=2 {
        assert_eq!(
            serve.report(&bench, &flasher(last, 1, "flash", &json!({}))),
            204
        );
        assert_eq!(node(&serve, last, 1, "joined", &json!({})), 204);
    }
    bench
        .gild([
            "order",
            "new",
            "desk",
            "--action",
            "flash",
            "--rolling",
            "--node",
            "node-1",
            "--node",
            "node-2",
        ])
        .succeeds();
    bench.gild(["order", "sign", "desk", "--yes"]).succeeds();
    let status = |serve: &Serve, last| serve.get(&serve.https(&path(last)), &[]).0;
    wait("it is handed out", || status(&serve, 1) == 200);
    drop(serve);
    serve = Serve::start(&bench);
    assert_eq!(status(&serve, 2), 404, "the first one has not joined");
    let of = |serve: &Serve, last: usize| {
        let order = &serve.rack()["nodes"][last - 1]["order"];
        order["state"].as_str().map(str::to_owned)
    };
    assert_eq!(of(&serve, 1).as_deref(), Some("handed"));
    assert_eq!(of(&serve, 2).as_deref(), Some("waits"));
    let id = serve.rack()["orders"][0]["id"].clone();
    assert_eq!(
        serve.report(
            &bench,
            &flasher(1, 1, "flash", &json!({"boot": "b", "order": id}))
        ),
        204
    );
    assert_eq!(of(&serve, 1).as_deref(), Some("begun"));
    assert_eq!(
        node(&serve, 1, 1, "joined", &json!({"boot": "c", "order": id})),
        204
    );
    drop(serve);
    serve = Serve::start(&bench);
    assert_eq!(of(&serve, 1).as_deref(), Some("done"));
    assert_eq!(status(&serve, 1), 404);
    assert_eq!(status(&serve, 2), 200);
    // The flasher shows a fault, and the order stops there.
    let fault = json!({"boot": "b", "order": id, "fault": 7});
    assert_eq!(serve.report(&bench, &flasher(2, 1, "verify", &fault)), 204);
    assert_eq!(serve.rack()["orders"][0]["state"], "stopped");
    drop(serve);
    serve = Serve::start(&bench);
    assert_eq!(status(&serve, 2), 200, "who has it keeps it");
    assert_eq!(serve.rack()["orders"][0]["why"], "node-2 has shown fault 7");
}

#[test]
fn the_cards_of_a_desk_ask_it_for_orders() {
    let bench = desk();
    let serve = Serve::start(&bench);
    let config = fs::read_to_string(bench.path("desk/gild.toml")).expect("a configuration");
    let line = format!("order_url = \"{}\"", serve.https("/orders"));
    assert!(config.lines().any(|one| one == line), "{config}");
    let mode = fs::metadata(bench.path("desk/orders"))
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "the folder can be read by others");
}

/// An order would reach the wrong board, and `gild order sign` would show only its address.
#[test]
fn a_name_that_looks_like_an_address_names_the_node_and_not_another_board() {
    let bench = desk();
    add(&bench, 8, &mac(9).replace(':', "-"));
    let order =
        |node: &str| bench.gild(["order", "new", "desk", "--action", "hold", "--node", node]);
    order(&mac(9).replace(':', "-")).fails_saying(&[
        "is the name of a node, and the address of another board",
        "next: give the board's MAC address with colons",
    ]);
    order(&mac(9)).succeeds();
}
