//! Facts about what a running node does with an answer. A server in the test gives the answers.

use std::cell::RefCell;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::symlink;

use gild_format::manifest::{FORMAT_VERSION, Sha256Hex};
use gild_format::record::{RECORD_OFFSET, Record, State};
use gild_format::{Chunk, Manifest, Partition};
use gild_http_testkit::{Reply, Server, free_port};
use gild_orders::{Channel, SignedOrder};
use minisign::KeyPair;

use super::*;
use crate::document::Seed;

const HOUR: u64 = 60 * 60;
const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
const SERIAL: &str = "S1";

/// The folder of images of this test's server, as a card names it.
const SHARE: &str = "server = \"SERVER/images\"\n";

struct Site {
    /// On a real file system, because the disk is read past every cache.
    root: tempfile::TempDir,
    server: Server,
}

fn sign(pair: &KeyPair, order: &Order) -> String {
    let text = order.to_text();
    let signed = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&text), None, None);
    let signature = signed.expect("a signature").into_string();
    SignedOrder::new(text, signature).to_text()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("our days").as_secs()
}

/// The id of an order that was made this many hours from now.
fn id(hours: u64) -> OrderId {
    OrderId::made(now() + hours * HOUR, [0x1a, 0x2b, 0x3c]).expect("our days")
}

fn order(action: Action) -> Order {
    Order {
        id: id(0),
        nodes: vec![MAC],
        expires: now() + HOUR,
        action,
    }
}

/// A sound manifest of this image: 1 MiB, all of it a hole.
fn manifest(board: &str, image: &str, rollback_counter: u64) -> Manifest {
    let file = format!("{image}.img.zst");
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        board: board.to_owned(),
        image_id: image.to_owned(),
        build_time: 1_767_312_000,
        rollback_counter,
        proves_itself: false,
        min_agent_version: "0.1.0".to_owned(),
        raw_size: 9 << 20,
        sector_size: 512,
        chunk_size: 4 << 20,
        stored_file: file,
        stored_size: 1500,
        stored_sha256: Sha256Hex([1; 32]),
        partitions: Vec::new(),
        tools: std::collections::BTreeMap::new(),
        chunks: Vec::new(),
    };
    for (index, raw_length) in [4 << 20, 4 << 20, 1 << 20].into_iter().enumerate() {
        let index = index as u64;
        manifest.chunks.push(Chunk {
            raw_offset: index * (4 << 20),
            raw_length,
            stored_offset: index * 500,
            stored_length: 500,
            sha256: Sha256Hex([u8::try_from(index).expect("few"); 32]),
            hole: false,
        });
    }
    manifest.partitions.push(Partition {
        number: 1,
        start: 1 << 20,
        length: 3 << 20,
        kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
        uuid: "00000000-0000-4000-8000-000000000001".to_owned(),
        name: "root".to_owned(),
    });
    manifest
}

/// The files of a published image under this name.
fn published(pair: &KeyPair, name: &str, manifest: &Manifest) -> Vec<(String, Vec<u8>)> {
    let bytes = manifest.to_json();
    let signed = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&bytes), None, None);
    let signature = signed.expect("a signature").into_string().into_bytes();
    let at = |file: &str| format!("/images/rock5b/{file}");
    vec![
        (at(&format!("{name}.minisig")), signature),
        (at(name), bytes),
        (at(&manifest.stored_file), vec![0; 1500]),
    ]
}

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("a key pair")
}

/// A node whose disk has carried out these orders. The server gives this answer.
fn site(pair: &KeyPair, answer: String, carried_out: &[&str], card: Option<&str>) -> Site {
    let mut files = published(pair, "golden.json", &manifest("rock5b", "rock5b-2", 1));
    files.extend(published(
        pair,
        "golden-canary.json",
        &manifest("rock5b", "rock5b-3", 1),
    ));
    site_with(pair, answer, carried_out, card, files)
}

fn site_with(
    pair: &KeyPair,
    answer: String,
    carried_out: &[&str],
    card: Option<&str>,
    files: Vec<(String, Vec<u8>)>,
) -> Site {
    let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let server = Server::start(move |request| {
        if request.target == "/orders/d83add010203" {
            return Reply::new(200, answer.clone());
        }
        let file = files.iter().find(|(path, _)| *path == request.target);
        file.map_or_else(
            || Reply::new(404, ""),
            |(_, bytes)| Reply::file(request, bytes),
        )
    });
    let put = |path: &str, bytes: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    };
    let settings = format!(
        "without_matchbox = true\norder_url = \"{}/orders\"\norder_keys = [\"{}\"]\n",
        server.url(),
        pair.pk.to_base64()
    );
    put("etc/gild/first-boot.toml", settings.as_bytes());
    put(
        "usr/lib/gild/image-release",
        b"GILD_BOARD=rock5b\nGILD_IMAGE_ID=rock5b-1\n",
    );
    let net = "sys/class/net/eth0";
    for (file, text) in [
        ("address", MAC.to_string()),
        ("type", "1".to_owned()),
        ("ifindex", "2".to_owned()),
        ("carrier", "1".to_owned()),
        ("device/vendor", String::new()),
    ] {
        put(&format!("{net}/{file}"), text.as_bytes());
    }
    put(
        "proc/self/mountinfo",
        b"21 20 259:2 / / rw - ext4 /dev/root rw\n",
    );
    put("run/systemd/timesync/synchronized", b"");
    put("sys/devices/nvme0n1/nvme0n1p2/partition", b"2\n");
    put("sys/devices/nvme0n1/queue/logical_block_size", b"512\n");
    put("sys/devices/nvme0n1/device/serial", b"S1  \n");
    let at = |path: &str| root.path().join(path);
    for folder in ["sys/dev/block", "sys/class/block", "dev/disk/by-label"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    symlink(
        at("sys/devices/nvme0n1/nvme0n1p2"),
        at("sys/dev/block/259:2"),
    )
    .expect("a number");
    symlink(at("sys/devices/nvme0n1"), at("sys/class/block/nvme0n1")).expect("a disk");
    let record = Record {
        state: State::Proven,
        image_id: "rock5b-1".to_owned(),
        manifest_sha256: Sha256Hex([7; 32]),
        rollback_counter: 1,
        rollback_floor: 0,
        trial_starts: 0,
        is_discarded: true,
        is_boot_order_pending: false,
        orders: carried_out.iter().map(|id| (*id).to_owned()).collect(),
    };
    let mut disk = vec![1; 1 << 20];
    let place = usize::try_from(RECORD_OFFSET).expect("one MiB");
    disk[place..place + 4096].copy_from_slice(&record.to_bytes());
    put("dev/nvme0n1", &disk);
    if let Some(config) = card {
        put("sys/class/block/mmcblk0/device/type", b"SD\n");
        put("dev/mmcblk0p1", &vec![0; 1 << 20]);
        symlink(at("dev/mmcblk0p1"), at("dev/disk/by-label/GILD")).expect("a label");
        let site = Site { root, server };
        fatfs::format_volume(site.card(), fatfs::FormatVolumeOptions::new()).expect("a FAT");
        let config = config.replace("SERVER", &site.server.url());
        site.put_on_card("gild.toml", &config);
        return site;
    }
    Site { root, server }
}

impl Site {
    fn card(&self) -> fs::File {
        let mut options = fs::OpenOptions::new();
        let card = self.root.path().join("dev/mmcblk0p1");
        let card = options.read(true).write(true).open(card);
        card.expect("a card")
    }

    fn put_on_card(&self, name: &str, text: &str) {
        let system = fatfs::FileSystem::new(self.card(), fatfs::FsOptions::new()).expect("a FAT");
        let file = system.root_dir().create_file(name);
        let written = file.expect("a file").write_all(text.as_bytes());
        written.expect("its text");
    }

    /// The ids of the orders for which this node would be flashed after a look, and what it says.
    fn looks(&self) -> (Vec<String>, String) {
        let flashed = RefCell::new(Vec::new());
        let flash = |id: &OrderId| {
            flashed.borrow_mut().push(id.to_string());
            Ok(())
        };
        assert_eq!(
            look(self.root.path(), flash).expect("a look"),
            Outcome::Looked
        );
        let said = self.root.path().join("run/gild/order-trouble");
        let said = fs::read_to_string(said).unwrap_or_default();
        (flashed.into_inner(), said)
    }
}

fn card(pair: &KeyPair, more: &str) -> String {
    let key = pair.pk.to_base64();
    format!("{SHARE}public_key = \"{key}\"\n{more}")
}

fn flash() -> Action {
    Action::Flash(Flash::default())
}

fn canary() -> Flash {
    Flash {
        choice: Choice::Channel(Channel::parse("canary").expect("a channel")),
        ..Flash::default()
    }
}

#[test]
fn a_good_order_has_a_node_flashed_whose_flasher_can_carry_it_out() {
    let asks = "order_url = \"http://192.0.2.1/orders\"\n";
    for (action, more) in [
        (flash(), ""),
        (Action::Flash(canary()), asks),
        (
            Action::Flash(Flash {
                disk: Some(SERIAL.to_owned()),
                erase: true,
                ..Flash::default()
            }),
            asks,
        ),
    ] {
        let pair = pair();
        let order = order(action);
        let (answer, card) = (sign(&pair, &order), card(&pair, more));
        let site = site(&pair, answer, &["20260101T000000Z-000000"], Some(&card));
        assert_eq!(site.looks(), (vec![order.id.to_string()], String::new()));
    }
}

/// `gild-reprovision` by hand has no order.
#[test]
fn a_node_is_flashed_by_hand_only_if_the_flasher_finds_the_current_image() {
    let found = |more: &str, without: &str, agent: &str| {
        let pair = pair();
        let card = card(&pair, more);
        let mut files = published(&pair, "golden.json", &manifest("rock5b", "rock5b-2", 1));
        files.retain(|(path, _)| path != without);
        let site = site_with(&pair, String::new(), &[], Some(&card), files);
        site.put_on_card("agent.txt", agent);
        let looked = crate::flasher::look_for_image(site.root.path());
        looked.map_err(|error| format!("{error:#}"))
    };
    let (manifest, data) = (
        "/images/rock5b/golden.json",
        "/images/rock5b/rock5b-2.img.zst",
    );
    for agent in ["", "0.1.0\n", "not a version\n"] {
        assert_eq!(found("", "/nothing", agent), Ok(()), "{agent}");
    }
    for (more, without, agent, says) in [
        ("", manifest, "", "; next: "),
        ("", data, "", "; next: "),
        ("target.serial = \"S2\"\n", "/nothing", "", "S2 alone"),
        (
            "",
            "/nothing",
            "0.0.9\n",
            "needs agent 0.1.0, and the card has 0.0.9; next: make a new card",
        ),
    ] {
        let error = found(more, without, agent).expect_err(says);
        assert!(error.contains(says), "{error}");
        assert_eq!(error.matches("; next: ").count(), 1, "{error}");
    }
}

#[test]
fn nothing_else_has_a_node_flashed_and_it_says_why() {
    let good = order(flash());
    let (own, later) = (good.id.to_string(), id(1).to_string());
    let expired = Order {
        expires: 1,
        ..good.clone()
    };
    let ending = Order {
        expires: now() + HOUR / 2 - 60,
        ..good.clone()
    };
    let of_others = Order {
        nodes: vec![Mac([2; 6])],
        ..good.clone()
    };
    let for_another_disk = order(Action::Flash(Flash {
        disk: Some("S2".to_owned()),
        ..Flash::default()
    }));
    let asks = "order_url = \"http://192.0.2.1/orders\"\n";
    let other_key = format!("{asks}order_key = \"{}\"\n", pair().pk.to_base64());
    for (name, order, done, more, said) in [
        ("expired", &expired, "", Some(""), "has expired"),
        (
            "its time ends before the flasher asks",
            &ending,
            "",
            Some(""),
            "expires within 30 minutes",
        ),
        ("of others", &of_others, "", Some(""), ""),
        ("spent", &good, own.as_str(), Some(""), ""),
        ("a later one is done", &good, later.as_str(), Some(""), ""),
        (
            "another disk",
            &for_another_disk,
            "",
            Some(""),
            "serial number S2",
        ),
        ("no card", &good, "", None, "no SD card"),
        (
            "the card asks nobody",
            &self::order(Action::Flash(canary())),
            "",
            Some(""),
            "asks for no orders",
        ),
        (
            "the card believes others",
            &self::order(Action::Flash(canary())),
            "",
            Some(other_key.as_str()),
            "would not believe",
        ),
        (
            "the card asks, and believes others",
            &good,
            "",
            Some(other_key.as_str()),
            "would not believe",
        ),
        ("a hold", &self::order(Action::Hold), "", Some(""), ""),
    ] {
        let pair = pair();
        let answer = sign(&pair, order);
        let card = more.map(|more| card(&pair, more));
        let site = site(&pair, answer, &[done], card.as_deref());
        let (flashed, found) = site.looks();
        assert!(flashed.is_empty(), "{name}");
        assert!(found.contains(said), "{name}: {found}");
        assert_eq!(found.is_empty(), said.is_empty(), "{name}: {found}");
    }
    let pair = pair();
    let answer = sign(&self::pair(), &good);
    let card = card(&pair, "");
    let site = site(&pair, answer, &[], Some(&card));
    let (flashed, said) = site.looks();
    assert!(flashed.is_empty() && said.contains("signature"), "{said}");
}

/// The other site's servers have an image that its card takes, so all else is right.
#[test]
fn an_order_does_not_give_a_node_to_the_site_whose_card_is_in_it() {
    let (own, other) = (pair(), pair());
    let images = published(&other, "golden.json", &manifest("rock5b", "rock5b-2", 1));
    let order_key = format!("order_key = \"{}\"\n", own.pk.to_base64());
    for (more, is_flashed) in [
        ("", false),
        // The key that signs orders is another one than that of images.
        (order_key.as_str(), true),
    ] {
        let (answer, card) = (sign(&own, &order(flash())), card(&other, more));
        let site = site_with(&own, answer, &[], Some(&card), images.clone());
        let (flashed, said) = site.looks();
        assert_eq!(!flashed.is_empty(), is_flashed, "{said}");
        assert_eq!(
            said.contains("trusts no key that this image trusts"),
            !is_flashed,
            "{said}"
        );
    }
}

/// A board without a battery, at a site without a time server: an old order would count again.
#[test]
fn a_node_that_does_not_know_the_time_is_not_flashed_and_says_so_when_no_time_server_has_answered()
{
    let pair = pair();
    let (answer, card) = (sign(&pair, &order(flash())), card(&pair, ""));
    let site = site(&pair, answer, &[], Some(&card));
    let at = |path: &str| site.root.path().join(path);
    let is_set = at("run/systemd/timesync/synchronized");
    fs::remove_file(&is_set).expect("no time server");
    for (uptime, says) in [
        ("61.00 100.00\n", ""),
        ("9000.00 1.00\n", "does not know the time"),
    ] {
        fs::write(at("proc/uptime"), uptime).expect("a file");
        let (flashed, said) = site.looks();
        assert!(flashed.is_empty(), "{said}");
        assert!(
            said.contains(says) && said.is_empty() == says.is_empty(),
            "{said}"
        );
    }
    fs::write(&is_set, "").expect("a time server");
    let (flashed, said) = site.looks();
    assert!(!flashed.is_empty(), "{said}");
}

/// An order that was made in two hours: the clock of this node is behind, and the order may have expired.
#[test]
fn a_node_whose_clock_is_behind_is_not_flashed() {
    let pair = pair();
    let made = id(2);
    let expires = made.made_at() + HOUR;
    let order = Order {
        id: made,
        expires,
        ..order(flash())
    };
    let card = card(&pair, "");
    let site = site(&pair, sign(&pair, &order), &[], Some(&card));
    let (flashed, said) = site.looks();
    assert!(
        flashed.is_empty() && said.contains("one of two clocks is wrong"),
        "{said}"
    );
}

/// Two disks were swapped. The order is for the board's own node, whose disk this is not.
#[test]
fn a_disk_that_belongs_to_another_board_is_not_written_by_an_order_for_this_one() {
    let other = Mac([0xd8, 0x3a, 0xdd, 4, 5, 6]);
    for (seed, is_flashed) in [(MAC, true), (other, false)] {
        let pair = pair();
        let (answer, card) = (sign(&pair, &order(flash())), card(&pair, ""));
        let site = site(&pair, answer, &[], Some(&card));
        Place::below(site.root.path())
            .write(&Seed::fallback(Some(seed)))
            .expect("a seed");
        let (flashed, said) = site.looks();
        assert_eq!(!flashed.is_empty(), is_flashed, "{seed}: {said}");
        assert_eq!(said.contains(&other.to_string()), !is_flashed, "{said}");
    }
}

#[test]
fn a_server_that_has_no_order_or_is_away_changes_nothing() {
    let pair = pair();
    let card = card(&pair, "");
    let site = site(&pair, "{}".to_owned(), &[], Some(&card));
    assert!(site.looks().1.contains("not a signed order"));
    site.server.set_down(true);
    let (flashed, said) = site.looks();
    assert!(
        flashed.is_empty() && said.contains("cannot be asked for"),
        "{said}"
    );
}

#[test]
fn the_led_shows_which_board_it_is_as_long_as_the_order_counts() {
    let pair = pair();
    let answer = sign(&pair, &order(Action::Identify));
    let site = site(&pair, answer, &[], None);
    let root = site.root.path();
    let led = root.join("sys/class/leds/blue:status");
    fs::create_dir_all(&led).expect("an LED");
    fs::create_dir_all(root.join("proc/device-tree")).expect("a tree");
    fs::write(
        root.join("proc/device-tree/compatible"),
        "radxa,rock-5b\0rockchip,rk3588\0",
    )
    .expect("a board");
    fs::write(led.join("max_brightness"), "255\n").expect("a file");
    fs::write(led.join("brightness"), "0\n").expect("a file");
    let shown = |file: &str| fs::read_to_string(led.join(file)).expect("a file");
    assert_eq!(site.looks().0, Vec::<String>::new());
    assert_eq!(
        (shown("trigger"), shown("delay_on")),
        ("timer".into(), "1000".into())
    );
    site.server.set_down(true);
    site.looks();
    assert_eq!(
        (shown("trigger"), shown("brightness")),
        ("none".into(), "255".into())
    );
}

#[test]
fn an_image_that_names_nobody_asks_nobody_and_one_on_trial_waits() {
    let root = tempfile::tempdir().expect("a folder");
    let flash = |_: &OrderId| panic!("nothing is ordered");
    assert_eq!(look(root.path(), flash).expect("a look"), Outcome::Nobody);
    let pair = pair();
    let (answer, card) = (sign(&pair, &order(self::flash())), card(&pair, ""));
    let site = site(&pair, answer, &[], Some(&card));
    let note = site.root.path().join("run/gild/on-trial");
    fs::create_dir_all(note.parent().expect("a folder")).expect("a folder");
    fs::write(note, "").expect("a note");
    assert_eq!(site.looks(), (Vec::new(), String::new()));
    assert!(site.server.requests().is_empty());
}

#[test]
fn an_order_that_fails_three_times_is_given_up() {
    let pair = pair();
    let (answer, card) = (sign(&pair, &order(flash())), card(&pair, ""));
    let site = site(&pair, answer, &[], Some(&card));
    let attempts = RefCell::new(0);
    for expected in [1, 2, 3, 3, 3] {
        let fails = |_: &OrderId| {
            *attempts.borrow_mut() += 1;
            bail!("a pod does not end")
        };
        look(site.root.path(), fails).expect("a look");
        assert_eq!(*attempts.borrow(), expected);
    }
    let (flashed, said) = site.looks();
    assert!(flashed.is_empty() && said.contains("given up"), "{said}");
}

#[test]
fn a_card_for_another_disk_has_no_node_flashed() {
    let pair = pair();
    let card = card(&pair, "target.serial = \"S2\"\n");
    let site = site(&pair, sign(&pair, &order(flash())), &[], Some(&card));
    let (flashed, said) = site.looks();
    assert!(
        flashed.is_empty() && said.contains("serial number S2"),
        "{said}"
    );
}

#[test]
fn a_node_is_not_flashed_for_an_image_that_its_flasher_would_not_find() {
    let (pair, stranger) = (pair(), self::pair());
    let good = || manifest("rock5b", "rock5b-2", 1);
    let golden = |manifest: &Manifest| published(&pair, "golden.json", manifest);
    let mut no_data = golden(&good());
    no_data.pop();
    let other_board = golden(&manifest("rpi5", "rpi5-1", 1));
    let older = golden(&manifest("rock5b", "rock5b-0", 0));
    let chosen = Action::Flash(Flash {
        choice: Choice::Image("rock5b-7".parse().expect("an id")),
        ..Flash::default()
    });
    let other_image = published(&pair, "rock5b-7.json", &good());
    let asks = "order_url = \"http://192.0.2.1/orders\"\n";
    for (name, action, files, said) in [
        (
            "no manifest",
            flash(),
            Vec::new(),
            "golden.json: it is not there",
        ),
        ("no data", flash(), no_data, "rock5b-2.img.zst"),
        (
            "another board's",
            flash(),
            other_board,
            "for the board rpi5",
        ),
        ("an older one", flash(), older, "rollback counter 0"),
        (
            "another image",
            chosen,
            other_image,
            "the order chooses rock5b-7",
        ),
        (
            "a stranger's",
            flash(),
            published(&stranger, "golden.json", &good()),
            "another key",
        ),
    ] {
        let (answer, card) = (sign(&pair, &order(action)), card(&pair, asks));
        let site = site_with(&pair, answer, &[], Some(&card), files);
        let (flashed, found) = site.looks();
        assert!(flashed.is_empty(), "{name}");
        assert!(found.contains(said), "{name}: {found}");
    }
    // A server of images that does not answer. The flasher might not reach it either.
    let closed = free_port().expect("a port");
    let card = card(&pair, asks).replace("SERVER", &format!("http://127.0.0.1:{closed}"));
    let site = site(&pair, sign(&pair, &order(flash())), &[], Some(&card));
    let (flashed, found) = site.looks();
    assert!(
        flashed.is_empty() && found.contains("could not write this node again"),
        "{found}"
    );
}

/// The card was in another board before, whose image has proven itself.
#[test]
fn a_node_is_not_flashed_for_an_image_that_is_older_than_its_card_allows() {
    for (counters, refusal) in [
        ("rock5b=2\n", Some("rollback counter 1")),
        ("rpi5=2\nrock5b=1\n", None),
        ("nonsense", Some("rollback.env on the card is damaged")),
    ] {
        let pair = pair();
        let (answer, card) = (sign(&pair, &order(flash())), card(&pair, ""));
        let site = site(&pair, answer, &[], Some(&card));
        site.put_on_card("rollback.env", counters);
        let (flashed, found) = site.looks();
        assert_eq!(flashed.is_empty(), refusal.is_some(), "{counters}: {found}");
        let says_why = refusal.is_none_or(|refusal| found.contains(refusal));
        assert!(says_why, "{counters}: {found}");
    }
}
