//! Which node is handed which order, and how a rolling order goes on. Real: the folder, the journal, the signatures. There is no network;
//! reports stand for the boards.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

use gild_boards::mac::Mac;
use gild_desk::desk::{Desk, Shown, now};
use gild_desk::folder::Folder;
use gild_desk::journal;
use gild_desk::orders::{MOST, OrderShown, Wish};
use gild_desk::rack::Happened;
use gild_orders::{LONGEST_LIFE, Order, OrderId, SignedOrder};
use gild_report::{Kind, Proof, Report, ReportKey};
use minisign::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "s3cret-of-the-cluster";
const HOUR: u64 = 60 * 60;

fn mac(last: u8) -> Mac {
    Mac([0xd8, 0x3a, 0xdd, 1, 2, last])
}

/// A desk's folder with three nodes, and the key that signs for it.
struct Site {
    folder: TempDir,
    key: KeyPair,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate_unencrypted_keypair().expect("keys");
        let site = Self { folder, key };
        site.write("report.key", &"0b".repeat(32));
        site.write("login", &"0d".repeat(32));
        site.write("site.pub", &site.key.pk.to_base64());
        fs::create_dir(site.path().join("groups")).expect("a folder");
        for last in 1..=3 {
            let group = json!({"selector": {"mac": mac(last).to_string()},
                "metadata": {"hostname": format!("node-{last}"), "k3s_url": "https://k:6443", "k3s_token": TOKEN}});
            site.write(&format!("groups/node-{last}.json"), &group.to_string());
        }
        site
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    fn open(&self) -> Desk {
        Desk::open(&Folder::new(self.path())).expect("a desk")
    }

    /// The operator queues this wish and signs it. Real ids differ by the second, so the test gives each order a time of its own.
    fn order(&self, desk: &Desk, second: u8, wish: &Value) -> String {
        self.order_signed_by(desk, second, wish, &self.key)
    }

    fn order_signed_by(&self, desk: &Desk, second: u8, wish: &Value, key: &KeyPair) -> String {
        let (id, text) = self.draft(desk, second, wish);
        let signature = sign(key, &text);
        let signed = SignedOrder::new(text, signature).to_text();
        self.write(&format!("orders/{id}.order"), &signed);
        refresh(desk);
        id
    }

    fn draft(&self, desk: &Desk, second: u8, wish: &Value) -> (String, String) {
        let wish: Wish = serde_json::from_value(wish.clone()).expect("a wish");
        let order = desk.queue(&wish, [10, 0, 0, 1].into()).expect("queued");
        let made = order.id.to_string();
        fs::remove_file(self.path().join(format!("orders/{made}.json"))).expect("a draft");
        let id = id_at(second);
        let text = order.to_text().replace(&made, &id);
        self.write(&format!("orders/{id}.json"), &text);
        (id, text)
    }
}

/// The id of an order that was made a while ago. `second` sets it apart from the others.
fn id_at(second: u8) -> String {
    // Fixed at the first call, so that the same second gives the same id each time.
    static START: LazyLock<u64> = LazyLock::new(now);
    let id = OrderId::made(*START - 100 + u64::from(second), [0x1a, 0x2b, 0x3c]);
    id.expect("our days").to_string()
}

fn sign(key: &KeyPair, text: &str) -> String {
    let text = Cursor::new(text.as_bytes());
    minisign::sign(Some(&key.pk), &key.sk, text, None, None)
        .expect("a signature")
        .into_string()
}

/// Any act of the operator makes the desk read its folder again.
fn refresh(desk: &Desk) {
    let wish: Wish =
        serde_json::from_value(json!({"action": "hold", "nodes": [mac(99).to_string()]}))
            .expect("a wish");
    let from = [10, 0, 0, 1].into();
    let order = desk.queue(&wish, from).expect("queued");
    desk.take_back(&order.id, from).expect("taken back");
}

fn flash(nodes: &[u8], more: &Value) -> Value {
    let nodes: Vec<_> = nodes.iter().map(|last| mac(*last).to_string()).collect();
    let mut wish = json!({"action": "flash", "nodes": nodes});
    let fields = wish.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    wish
}

/// The id that a node is handed.
fn handed(desk: &Desk, last: u8) -> Option<String> {
    let text = desk.order_for(mac(last)).expect("an answer")?;
    let order: Value = serde_json::from_str(&text).expect("JSON");
    let order: Value =
        serde_json::from_str(order["order"].as_str().expect("a text")).expect("JSON");
    Some(order["id"].as_str().expect("an id").to_owned())
}

fn report(last: u8, boot: &str, sequence: u64, stage: &str) -> Report {
    Report {
        mac: Some(mac(last).to_string()),
        boot: boot.to_owned(),
        sequence,
        stage: Some(stage.to_owned()),
        ..Report::default()
    }
}

fn of_flasher(desk: &Desk, report: &Report) {
    let key = ReportKey::parse(&"0b".repeat(32)).expect("a key");
    let body = serde_json::to_vec(report).expect("JSON");
    let signature = key.sign(&body);
    let shown = Shown {
        signature: Some(&signature),
        ..Shown::default()
    };
    desk.report(&body, shown).expect("taken");
}

fn of_node(desk: &Desk, last: u8, report: Report) {
    let report = Report {
        kind: Kind::Node,
        ..report
    };
    let proof = Proof::of([last; 32]);
    let body = serde_json::to_vec(&report).expect("JSON");
    let shown = Shown {
        proof: Some(proof.reveal()),
        ..Shown::default()
    };
    desk.report(&body, shown).expect("taken");
}

/// A card writes a node's disk by this order, and the node joins with this image.
fn carries_out(desk: &Desk, last: u8, boot: &str, order: &str, image: &str) {
    begins(desk, last, boot, order);
    joins(desk, last, boot, order, image);
}

fn begins(desk: &Desk, last: u8, boot: &str, order: &str) {
    let begun = Report {
        order: Some(order.to_owned()),
        ..report(last, boot, 1, "flash")
    };
    of_flasher(desk, &begun);
}

fn joins(desk: &Desk, last: u8, boot: &str, order: &str, image: &str) {
    let joined = Report {
        order: Some(order.to_owned()),
        image_id: Some(image.to_owned()),
        ..report(last, &format!("{boot}-n"), 1, "joined")
    };
    of_node(desk, last, joined);
}

fn shown(desk: &Desk, id: &str) -> OrderShown {
    let mut orders = desk.shown_orders().into_iter();
    orders.find(|order| order.id == id).expect("the order")
}

fn states(desk: &Desk, id: &str) -> Vec<&'static str> {
    let nodes = shown(desk, id).nodes;
    nodes.iter().map(|node| node.state).collect()
}

/// Why the first board of an order refuses it or does not get it.
fn why_of_first(desk: &Desk, id: &str) -> Option<String> {
    shown(desk, id).nodes.swap_remove(0).why
}

/// Moves every time in the journal back by this many seconds, as if that much time had passed.
fn time_passes(site: &Site, seconds: u64) {
    move_times(site, |at| at - seconds);
}

/// The opposite: every time in the journal moves forward, as if the clock had been set back.
fn time_comes_back(site: &Site, seconds: u64) {
    move_times(site, |at| at + seconds);
}

fn move_times(site: &Site, moved: impl Fn(u64) -> u64) {
    let path = site.path().join("journal/journal.jsonl");
    let text = fs::read_to_string(&path).expect("a journal");
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        line["at"] = json!(moved(line["at"].as_u64().expect("a time")));
        format!("{line}\n")
    });
    fs::write(&path, lines.collect::<String>()).expect("written");
}

#[test]
fn only_what_is_signed_with_the_right_key_leaves_the_desk() {
    let site = Site::new();
    let desk = site.open();
    let wish = flash(&[1], &json!({}));
    let (draft, text) = site.draft(&desk, 1, &wish);
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None, "a draft is not an order");
    assert_eq!(shown(&desk, &draft).state, "queued");

    let stranger = KeyPair::generate_unencrypted_keypair().expect("keys");
    let forged = site.order_signed_by(&desk, 2, &wish, &stranger);
    // The signature of another order, a text that is not an order, one that is too long, and a file whose name is not the order's.
    let other = SignedOrder::new(text.replace("flash", "hold"), sign(&site.key, &text));
    site.write(&format!("orders/{}.order", id_at(30)), &other.to_text());
    site.write(&format!("orders/{}.order", id_at(40)), "{}");
    site.write(&format!("orders/{}.order", id_at(50)), &" ".repeat(100_000));
    let good = SignedOrder::new(text.clone(), sign(&site.key, &text)).to_text();
    site.write(&format!("orders/{}.order", id_at(60)), &good);
    site.write("orders/../20261228T101507Z-000000.order", &good);
    site.write("orders/golden.order", &good);
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None);
    for (id, part) in [
        (&*forged, "signature does not count"),
        (&id_at(30), "signature does not count"),
        (&id_at(40), "not a signed order"),
        (&id_at(50), "longer than 65536"),
        (&id_at(60), &*format!("it is the order {draft}")),
    ] {
        let order = shown(&desk, id);
        assert_eq!(order.state, "wrong");
        let why = order.why.expect("why");
        assert!(why.contains(part), "{id}: {why}");
    }

    // An incomplete file may be a hold.
    site.write(&format!("orders/{draft}.order"), &good);
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None);
    for second in [40, 50] {
        fs::remove_file(site.path().join(format!("orders/{}.order", id_at(second))))
            .expect("removed");
    }
    refresh(&desk);
    assert_eq!(handed(&desk, 1), Some(draft));
    assert_eq!(handed(&desk, 2), None, "it is for another board");

    // If there is an operator's key, only that one counts. If it cannot be read, none counts.
    site.write("order.pub", &stranger.pk.to_base64());
    refresh(&desk);
    assert_eq!(handed(&desk, 1), Some(forged));
    site.write("order.pub", "RWQ");
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None);
}

#[test]
fn an_order_that_does_not_count_any_more_is_not_handed_out() {
    let site = Site::new();
    let desk = site.open();
    let (id, text) = site.draft(&desk, 1, &flash(&[1], &json!({})));
    let order: Value = serde_json::from_str(&text).expect("JSON");
    let text = text.replace(&order["expires"].to_string(), "1000");
    let signed = SignedOrder::new(text.clone(), sign(&site.key, &text)).to_text();
    site.write(&format!("orders/{id}.order"), &signed);
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None);
    assert_eq!(shown(&desk, &id).state, "expired");
}

#[test]
fn a_flash_is_handed_out_until_the_node_has_joined_with_it() {
    let site = Site::new();
    let desk = site.open();
    let id = site.order(&desk, 1, &flash(&[1, 2], &json!({})));
    assert_eq!(states(&desk, &id), ["waits", "waits"]);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    assert_eq!(states(&desk, &id), ["handed", "waits"]);
    begins(&desk, 1, "a", &id);
    assert_eq!(states(&desk, &id), ["begun", "waits"]);
    assert_eq!(
        handed(&desk, 1).as_ref(),
        Some(&id),
        "its flasher must find it again after a power cut"
    );

    // Nobody else's word counts: not a stranger's, and not the node's before its report names the order.
    let claim = Report {
        kind: Kind::Node,
        order: Some(id.clone()),
        ..report(1, "x", 9, "joined")
    };
    let body = serde_json::to_vec(&claim).expect("JSON");
    let forged = Shown {
        signature: Some("00"),
        ..Shown::default()
    };
    assert!(desk.report(&body, forged).is_err());
    let other = Report {
        mac: Some(mac(2).to_string()),
        ..claim
    };
    let body = serde_json::to_vec(&other).expect("JSON");
    desk.report(&body, Shown::default()).expect("hearsay");
    assert_eq!(states(&desk, &id), ["begun", "waits"]);

    joins(&desk, 1, "a", &id, "one");
    assert_eq!(states(&desk, &id), ["done", "waits"]);
    assert_eq!(handed(&desk, 1), None);
    assert_eq!(handed(&desk, 2).as_ref(), Some(&id));
    carries_out(&desk, 2, "b", &id, "one");
    assert_eq!(shown(&desk, &id).state, "done");
}

#[test]
fn a_hold_goes_before_a_flash_and_the_latest_flash_before_an_earlier_one() {
    let site = Site::new();
    let desk = site.open();
    let first = site.order(&desk, 1, &flash(&[1], &json!({"image": "one"})));
    let second = site.order(&desk, 2, &flash(&[1], &json!({"image": "two"})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&second));
    let hold = site.order(
        &desk,
        3,
        &json!({"action": "hold", "nodes": [mac(1).to_string()]}),
    );
    let third = site.order(&desk, 4, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&hold));
    assert_eq!(states(&desk, &third), ["waits"]);
    assert_eq!(
        why_of_first(&desk, &third),
        Some(format!("the order {hold} holds it"))
    );
    let id = OrderId::parse(&hold).expect("an id");
    desk.take_back(&id, [10, 0, 0, 1].into()).expect("taken");
    assert_eq!(why_of_first(&desk, &third), None);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&third));
    let id = OrderId::parse(&third).expect("an id");
    desk.take_back(&id, [10, 0, 0, 1].into()).expect("taken");
    carries_out(&desk, 1, "a", &second, "two");
    assert_eq!(handed(&desk, 1), None, "its disk is done with the first");
    assert_eq!(states(&desk, &first), ["overtaken"]);
}

/// The node notes the order, but may fail to make its disk blank after that. It may also lie.
#[test]
fn a_node_alone_does_not_say_that_an_order_is_carried_out() {
    let site = Site::new();
    let desk = site.open();
    // The desk knows the node's secret.
    carries_out(&desk, 1, "a", "20200101T000000Z-000000", "two");
    let wish = flash(&[1, 2], &json!({"rolling": true, "image": "two"}));
    let id = site.order(&desk, 1, &wish);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    let claim = |sequence, message: Option<String>| Report {
        order: Some(id.clone()),
        image_id: Some("two".to_owned()),
        message,
        ..report(1, "a-n", sequence, "joined")
    };
    of_node(&desk, 1, claim(2, None));
    assert_eq!(states(&desk, &id), ["begun", "waits"]);
    assert_eq!(handed(&desk, 2), None);

    let why = format!("order {id} was not carried out: writing the disk failed");
    of_node(&desk, 1, claim(3, Some(why)));
    let order = shown(&desk, &id);
    assert_eq!(order.state, "stopped");
    assert_eq!(
        order.why.as_deref(),
        Some("node-1 does not carry it out"),
        "{order:?}"
    );
    assert_eq!(states(&desk, &id), ["refused", "not-reached"]);
    assert_eq!(handed(&desk, 2), None);

    // In the end its card carries it out.
    let desk = {
        drop(desk);
        site.open()
    };
    begins(&desk, 1, "b", &id);
    assert_eq!(states(&desk, &id), ["begun", "waits"]);
    assert_eq!(handed(&desk, 2), None);
    joins(&desk, 1, "b", &id, "two");
    assert_eq!(states(&desk, &id), ["done", "next"]);
    assert_eq!(handed(&desk, 2), Some(id));
}

/// Only the order that the card wrote last counts, not an earlier one.
#[test]
fn a_node_that_names_another_order_than_its_card_wrote_is_not_done() {
    let site = Site::new();
    let desk = site.open();
    let first = site.order(&desk, 1, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&first));
    begins(&desk, 1, "a", &first);
    let second = site.order(&desk, 2, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&second));
    joins(&desk, 1, "a", &second, "one");
    assert_eq!(handed(&desk, 1).as_ref(), Some(&second));
    assert_eq!(states(&desk, &second), ["begun"]);
}

/// A board whose disk is blank for an order takes the current image where it hears of no order.
#[test]
fn orders_that_cannot_be_read_are_not_the_same_as_none() {
    assert!(matches!(Site::new().open().order_for(mac(1)), Ok(None)));
    let site = Site::new();
    let orders = site.path().join("orders");
    fs::write(&orders, "").expect("a file in its place");
    let error = site.open().order_for(mac(1)).expect_err("unreadable");
    assert!(
        error.to_string().contains(&orders.display().to_string()),
        "{error}"
    );
}

#[test]
fn an_order_that_cannot_be_read_may_be_a_hold_and_lets_no_flash_out() {
    let site = Site::new();
    let desk = site.open();
    let flash = site.order(&desk, 1, &flash(&[1, 2], &json!({})));
    let hold = json!({"action": "hold", "nodes": [mac(1).to_string()]});
    let hold = site.order(&desk, 2, &hold);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&hold));
    let signed = site.path().join(format!("orders/{hold}.order"));
    let whole = fs::read_to_string(&signed).expect("signed");
    // The draft says which boards the unreadable order would hold.
    fs::write(&signed, &whole[..whole.len() / 2]).expect("written");
    refresh(&desk);
    assert_eq!(handed(&desk, 1), None);
    assert_eq!(handed(&desk, 2).as_ref(), Some(&flash));
    let why = shown(&desk, &hold).why.expect("why");
    assert!(why.contains("its boards get no order to flash"), "{why}");
    assert_eq!(
        why_of_first(&desk, &flash),
        Some(format!("the order {hold} cannot be read and may hold it"))
    );
    // Without the draft nobody can know.
    let draft = site.path().join(format!("orders/{hold}.json"));
    fs::remove_file(&draft).expect("removed");
    fs::write(&signed, "").expect("written");
    refresh(&desk);
    assert_eq!((handed(&desk, 1), handed(&desk, 2)), (None, None));
    let why = shown(&desk, &hold).why.expect("why");
    assert!(why.contains("no board gets an order to flash"), "{why}");
    // A flasher that is already writing would take another image if it did not find its order.
    begins(&desk, 2, "a", &flash);
    assert_eq!(handed(&desk, 2).as_ref(), Some(&flash));
    fs::write(&signed, &whole).expect("written");
    refresh(&desk);
    assert_eq!(handed(&desk, 1), Some(hold));
    // An unreadable order that is too old to count holds nobody.
    fs::remove_file(&signed).expect("removed");
    let old = now() - LONGEST_LIFE.as_secs();
    let old = OrderId::made(old, [0; 3]).expect("our days");
    site.write(&format!("orders/{old}.order"), "{");
    refresh(&desk);
    assert_eq!(handed(&desk, 1), Some(flash));
}

#[test]
fn orders_that_are_too_many_to_be_read_may_be_holds() {
    let site = Site::new();
    let desk = site.open();
    let id = site.order(&desk, 1, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    for more in 0..2 * MOST {
        let more = OrderId::made(
            now() - 50,
            u32::try_from(more).expect("few").to_be_bytes()[1..]
                .try_into()
                .expect("3 bytes"),
        );
        site.write(&format!("orders/{}.json", more.expect("our days")), "{");
    }
    drop(desk);
    let desk = site.open();
    assert_eq!(handed(&desk, 1), None);
    let order = &desk.shown_orders()[2 * MOST];
    let why = order.why.clone().expect("why");
    assert!(why.contains("1 orders are not read"), "{why}");
}

/// A disk refuses an order whose id is lower than that of an order it has carried out.
#[test]
fn orders_of_one_second_and_of_a_clock_that_was_set_back_have_growing_ids() {
    let site = Site::new();
    let desk = site.open();
    let from = [10, 0, 0, 1].into();
    let wish: Wish = serde_json::from_value(flash(&[1], &json!({}))).expect("a wish");
    let ids: Vec<_> = (0..20)
        .map(|_| desk.queue(&wish, from).expect("queued").id)
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // As if the clock had been half an hour ahead.
    let ahead = OrderId::made(now() + HOUR / 2, [0xff; 3]).expect("our days");
    site.write(&format!("orders/{ahead}.json"), "{}");
    let next = desk.queue(&wish, from).expect("queued");
    assert!(next.id > ahead && next.expires <= now() + 24 * HOUR);
    // A signer refuses an order whose id is a day ahead.
    let far = OrderId::made(now() + 24 * HOUR, [0; 3]).expect("our days");
    site.write(&format!("orders/{far}.json"), "{}");
    let error = desk.queue(&wish, from).expect_err("a wrong clock");
    assert!(
        error.to_string().contains("correct this machine's clock"),
        "{error}"
    );
}

/// The desk's clock is behind when the board carries the order out, and right again afterwards.
#[test]
fn an_order_is_not_handed_out_again_after_the_clock_was_set_back() {
    let site = Site::new();
    let desk = site.open();
    let wish = flash(&[1, 2], &json!({"rolling": true}));
    let id = site.order(&desk, 1, &wish);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    carries_out(&desk, 1, "a", &id, "one");
    assert_eq!(handed(&desk, 1), None);
    drop(desk);
    // Every event in the journal is now in the future.
    time_comes_back(&site, 24 * HOUR);
    let desk = site.open();
    assert_eq!(handed(&desk, 1), None, "it is done with it at any time");
    assert_eq!(states(&desk, &id), ["done", "next"]);
    assert_eq!(handed(&desk, 2), Some(id));
}

#[test]
fn a_board_shows_which_it_is_although_it_cannot_be_flashed() {
    let site = Site::new();
    let desk = site.open();
    carries_out(&desk, 1, "a", "20200101T000000Z-000000", "one");
    let flash = site.order(&desk, 1, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&flash));
    let refused = Report {
        message: Some(format!(
            "the order {flash} is not carried out: there is no card"
        )),
        ..report(1, "a-n", 2, "joined")
    };
    of_node(&desk, 1, refused);
    let node = shown(&desk, &flash).nodes.remove(0);
    assert_eq!(node.state, "refused");
    assert!(node.why.expect("why").contains("there is no card"));

    let identify = site.order(
        &desk,
        2,
        &json!({"action": "identify", "nodes": [mac(1).to_string()]}),
    );
    assert_eq!(handed(&desk, 1).as_ref(), Some(&identify));
    // A flash that has begun must find its order, whatever else the operator wishes.
    begins(&desk, 1, "b", &flash);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&flash));
    joins(&desk, 1, "b", &flash, "one");
    assert_eq!(handed(&desk, 1), Some(identify));
}

#[test]
fn a_rolling_order_reaches_one_node_after_the_other() {
    let site = Site::new();
    let mut desk = site.open();
    let wish = flash(&[2, 1, 3], &json!({"rolling": true, "image": "two"}));
    let id = site.order(&desk, 1, &wish);
    for (last, image) in [(2, "two"), (1, "two"), (3, "two")] {
        for other in (1..=3).filter(|other| *other != last) {
            assert_eq!(
                handed(&desk, other),
                None,
                "{other} while it is {last}'s turn"
            );
        }
        assert_eq!(handed(&desk, last).as_ref(), Some(&id));
        // As after a power cut.
        drop(desk);
        desk = site.open();
        for other in (1..=3).filter(|other| *other != last) {
            assert_eq!(handed(&desk, other), None, "{other}, after a start");
        }
        carries_out(&desk, last, &format!("b{last}"), &id, image);
        drop(desk);
        desk = site.open();
    }
    assert_eq!(shown(&desk, &id).state, "done");
    assert_eq!(states(&desk, &id), ["done", "done", "done"]);
}

#[test]
fn a_rolling_order_stops_at_the_first_node_that_is_not_proven() {
    // Three causes: a fault, an hour, another image. Each stop stays, even when the node is well afterwards and the desk has restarted.
    for why in ["fault 7", "within an hour", "the image one"] {
        let site = Site::new();
        let desk = site.open();
        let wish = flash(&[1, 2], &json!({"rolling": true, "image": "two"}));
        let id = site.order(&desk, 1, &wish);
        assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
        begins(&desk, 1, "a", &id);
        if why == "fault 7" {
            let fault = Report {
                fault: Some(7),
                ..report(1, "a", 2, "verify")
            };
            of_flasher(&desk, &fault);
            assert_eq!(handed(&desk, 2), None);
            assert_eq!(
                handed(&desk, 1).as_ref(),
                Some(&id),
                "its blank disk is to get this image"
            );
        }
        drop(desk);
        if why == "within an hour" {
            time_passes(&site, HOUR + 10);
        }
        let desk = site.open();
        joins(
            &desk,
            1,
            "a",
            &id,
            if why == "the image one" { "one" } else { "two" },
        );
        drop(desk);
        let desk = site.open();
        assert_eq!(handed(&desk, 2), None, "{why}");
        let order = shown(&desk, &id);
        assert_eq!(order.state, "stopped");
        let said = order.why.expect("why");
        assert!(said.starts_with("node-1 ") && said.contains(why), "{said}");
        assert_eq!(states(&desk, &id), ["fault", "not-reached"]);
        // The operator makes a new one.
        let next = site.order(&desk, 2, &flash(&[2], &json!({"image": "two"})));
        assert_eq!(handed(&desk, 2), Some(next));
    }
}

#[test]
fn whoever_reports_as_a_stranger_moves_no_rolling_order() {
    let site = Site::new();
    let desk = site.open();
    let id = site.order(&desk, 1, &flash(&[1, 2], &json!({"rolling": true})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    for (number, stage, fault) in [(1, "joined", None), (2, "verify", Some(7))] {
        let claim = Report {
            kind: Kind::Node,
            order: Some(id.clone()),
            fault,
            ..report(1, "x", number, stage)
        };
        let body = serde_json::to_vec(&claim).expect("JSON");
        desk.report(&body, Shown::default()).expect("hearsay");
    }
    assert_eq!(handed(&desk, 2), None);
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    assert_eq!(states(&desk, &id), ["handed", "waits"]);
}

#[test]
fn a_node_that_names_an_order_of_years_to_come_gets_the_next_one() {
    let site = Site::new();
    let desk = site.open();
    carries_out(&desk, 1, "a", "29991231T235959Z-ffffff", "one");
    let id = site.order(&desk, 1, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1), Some(id));
}

#[test]
fn a_journal_that_was_put_back_hands_a_rolling_order_to_nobody_out_of_turn() {
    let site = Site::new();
    let desk = site.open();
    let id = site.order(&desk, 1, &flash(&[1, 2, 3], &json!({"rolling": true})));
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    drop(desk);
    let journal = site.path().join("journal/journal.jsonl");
    let old = fs::read(&journal).expect("a journal");
    let desk = site.open();
    carries_out(&desk, 1, "a", &id, "one");
    assert_eq!(handed(&desk, 2).as_ref(), Some(&id));
    drop(desk);
    fs::write(&journal, old).expect("written");
    let desk = site.open();
    // The desk has forgotten, but the first node's disk knows that this order is done.
    assert_eq!(handed(&desk, 1).as_ref(), Some(&id));
    assert_eq!(handed(&desk, 2), None);
    assert_eq!(handed(&desk, 3), None);
}

#[test]
fn a_flash_is_on_the_disk_before_it_is_handed_out() {
    let site = Site::new();
    let desk = site.open();
    let id = site.order(&desk, 1, &flash(&[1], &json!({})));
    assert_eq!(handed(&desk, 1), Some(id.clone()));
    let happened: Vec<Happened> =
        journal::look(&site.path().join("journal/journal.jsonl")).expect("a journal");
    let noted = happened
        .iter()
        .any(|happened| matches!(happened, Happened::Handed { order, .. } if *order == id));
    assert!(noted, "it is on the disk before it is handed out");
}

#[test]
fn what_was_done_with_the_login_outlives_the_program_and_a_short_journal() {
    let site = Site::new();
    let desk = site.open();
    let wish = flash(&[1], &json!({"erase": true}));
    let wish: Wish = serde_json::from_value(wish).expect("a wish");
    let from = [10, 0, 0, 7].into();
    let order = desk.queue(&wish, from).expect("queued");
    desk.take_back(&order.id, from).expect("taken back");
    assert!(desk.take_back(&order.id, from).is_err(), "it is gone");
    let acts = |desk: &Desk| {
        desk.look(|rack| {
            let acts = rack.audit().acts().iter();
            acts.map(|act| (act.from.clone(), act.text.clone()))
                .collect::<Vec<_>>()
        })
    };
    let id = &order.id;
    let expected = [
        (
            "10.0.0.7".to_owned(),
            format!(
                "queues the order {id}: node-1: write the disk again with the current image, and discard everything on it first"
            ),
        ),
        ("10.0.0.7".to_owned(), format!("takes back the order {id}")),
    ];
    assert_eq!(acts(&desk), expected);
    drop(desk);
    assert_eq!(acts(&site.open()), expected);
    let short: Vec<_> = site
        .open()
        .look(|rack| rack.in_short().collect::<Vec<Happened>>());
    let lines = short.iter().map(|line| {
        let line = serde_json::to_string(line).expect("JSON");
        format!("{line}\n")
    });
    site.write("journal/journal.jsonl", &lines.collect::<String>());
    assert_eq!(acts(&site.open()), expected);
}

#[test]
fn drafts_are_bounded_and_old_ones_make_room() {
    let site = Site::new();
    let desk = site.open();
    let wish: Wish = serde_json::from_value(flash(&[1], &json!({}))).expect("a wish");
    let from = [10, 0, 0, 1].into();
    let orders: Vec<_> = (0..MOST)
        .map(|_| desk.queue(&wish, from).expect("queued"))
        .collect();
    let error = desk.queue(&wish, from).expect_err("too many").to_string();
    assert!(error.contains("gild order cancel"), "{error}");
    let file = |id: &OrderId, ending: &str| site.path().join(format!("orders/{id}.{ending}"));
    let ended = |order: &Order| order.to_text().replace(&order.expires.to_string(), "1000");
    let signed = |text: String| {
        let signature = sign(&site.key, &text);
        SignedOrder::new(text, signature).to_text()
    };
    // A signed order counts as it was signed, whatever its draft says.
    let kept = &orders[2];
    fs::write(file(&kept.id, "json"), ended(kept)).expect("written");
    fs::write(file(&kept.id, "order"), signed(kept.to_text())).expect("written");
    assert!(desk.queue(&wish, from).is_err());
    assert!(file(&kept.id, "order").exists());
    let draft = &orders[3];
    fs::write(file(&draft.id, "json"), ended(draft)).expect("written");
    desk.queue(&wish, from).expect("a draft has made room");
    assert!(!file(&draft.id, "json").exists());
    assert!(desk.queue(&wish, from).is_err());
    // This one was signed elsewhere, and copied here without its draft.
    let elsewhere = &orders[4];
    fs::remove_file(file(&elsewhere.id, "json")).expect("removed");
    fs::write(file(&elsewhere.id, "order"), signed(ended(elsewhere))).expect("written");
    desk.queue(&wish, from).expect("a signed one has made room");
    assert!(!file(&elsewhere.id, "order").exists());
}

#[test]
fn a_wish_counts_no_longer_than_an_order_may() {
    let site = Site::new();
    let desk = site.open();
    let most = LONGEST_LIFE.as_secs() / HOUR;
    for (hours, is_good) in [(most, true), (most + 1, false), (0, false)] {
        let wish = flash(&[1], &json!({"hours": hours}));
        let wish: Wish = serde_json::from_value(wish).expect("a wish");
        assert_eq!(
            desk.queue(&wish, [10, 0, 0, 1].into()).is_ok(),
            is_good,
            "{hours}"
        );
    }
}
