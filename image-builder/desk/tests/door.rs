//! Who gets a token, and who speaks for a board. Real: the folder, the journal, the groups. There is no network.

use std::fs;
use std::path::Path;

use gild_boards::mac::Mac;
use gild_desk::desk::{Desk, ReportError, Shown};
use gild_desk::folder::Folder;
use gild_desk::rack::{Door, Refused, Trust};
use gild_report::{Kind, Proof, Report, ReportKey};
use serde_json::json;
use tempfile::TempDir;

const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
const OTHER: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 4]);
const TOKEN: &str = "s3cret-of-the-cluster";

fn key() -> ReportKey {
    ReportKey::parse(&"0b".repeat(32)).expect("a key")
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
    };
    fs::create_dir(folder.path().join("groups")).expect("a folder");
    write("report.key", &"0b".repeat(32));
    write("login", &"0d".repeat(32));
    for (name, mac) in [("node-1", MAC), ("node-2", OTHER)] {
        let group = json!({"selector": {"mac": mac.to_string()},
            "metadata": {"hostname": name, "k3s_url": "https://k:6443", "k3s_token": TOKEN}});
        write(&format!("groups/{name}.json"), &group.to_string());
    }
    folder
}

fn open(folder: &Path) -> Desk {
    Desk::open(&Folder::new(folder)).expect("a desk")
}

/// A report of the flasher in this stage.
fn progress(boot: &str, sequence: u64, stage: &str) -> Report {
    Report {
        mac: Some(MAC.to_string()),
        boot: boot.to_owned(),
        sequence,
        stage: Some(stage.to_owned()),
        ..Report::default()
    }
}

fn receipt(boot: &str, sequence: u64, outcome: &str) -> Report {
    Report {
        kind: Kind::Receipt,
        outcome: Some(outcome.to_owned()),
        ..progress(boot, sequence, "receipt")
    }
}

fn of_node(boot: &str, sequence: u64, stage: &str) -> Report {
    Report {
        kind: Kind::Node,
        ..progress(boot, sequence, stage)
    }
}

fn signed(desk: &Desk, report: &Report) -> Result<(), ReportError> {
    let body = serde_json::to_vec(report).expect("JSON");
    let signature = key().sign(&body);
    let shown = Shown {
        signature: Some(&signature),
        proof: None,
    };
    desk.report(&body, shown)
}

fn unsigned(desk: &Desk, report: &Report, proof: Option<&str>) -> Result<(), ReportError> {
    let body = serde_json::to_vec(report).expect("JSON");
    let shown = Shown {
        signature: None,
        proof,
    };
    desk.report(&body, shown)
}

fn ask(desk: &Desk, mac: Mac, proof: Option<&str>) -> String {
    let shown = Shown {
        signature: None,
        proof,
    };
    desk.metadata(&format!("mac={mac}"), shown)
        .expect("a group")
}

fn has_token(answer: &str) -> bool {
    let has = answer.contains(TOKEN);
    assert_eq!(has, !answer.contains("K3S_TOKEN_WITHHELD="), "{answer}");
    assert!(answer.contains("HOSTNAME=node-"), "{answer}");
    has
}

fn door(desk: &Desk) -> Door {
    desk.look(|rack| rack.node(MAC).map(|node| node.door).unwrap_or_default())
}

#[test]
fn the_token_is_given_from_the_flash_until_the_node_has_joined() {
    let folder = folder();
    let desk = open(folder.path());
    assert!(!has_token(&ask(&desk, MAC, None)), "nobody has flashed it");

    signed(&desk, &progress("a", 1, "network")).expect("taken");
    assert!(
        !has_token(&ask(&desk, MAC, None)),
        "its disk is not written"
    );
    signed(&desk, &progress("a", 2, "flash")).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)));
    assert!(!has_token(&ask(&desk, OTHER, None)), "another board");
    assert!(
        has_token(&ask(&desk, MAC, None)),
        "first boot may ask again"
    );

    let proof = Proof::of(TOKEN, MAC);
    unsigned(&desk, &of_node("n", 1, "joined"), Some(proof.reveal())).expect("taken");
    assert!(matches!(door(&desk), Door::Joined { .. }));
    assert!(!has_token(&ask(&desk, MAC, None)), "a pod asks");
    let of_other = Proof::of(TOKEN, OTHER);
    assert!(!has_token(&ask(&desk, MAC, Some(of_other.reveal()))));
    assert!(
        has_token(&ask(&desk, MAC, Some(proof.reveal()))),
        "the node refreshes"
    );

    signed(&desk, &receipt("b", 1, "already-done")).expect("taken");
    assert!(!has_token(&ask(&desk, MAC, None)), "nothing was written");
    signed(&desk, &receipt("c", 1, "flashed")).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)), "it was flashed again");
}

#[test]
fn nobody_opens_a_door_without_the_card_s_key() {
    let folder = folder();
    let desk = open(folder.path());
    let report = progress("a", 1, "flash");
    unsigned(&desk, &report, None).expect("shown, and marked");
    assert!(!has_token(&ask(&desk, MAC, None)));

    let body = serde_json::to_vec(&report).expect("JSON");
    let wrong = ReportKey::parse(&"0c".repeat(32))
        .expect("a key")
        .sign(&body);
    let shown = Shown {
        signature: Some(&wrong),
        proof: None,
    };
    assert!(matches!(
        desk.report(&body, shown),
        Err(ReportError::Signature)
    ));
    // Signed, and about another board than the one that is asked for.
    let other = Report {
        mac: Some(OTHER.to_string()),
        ..report
    };
    signed(&desk, &other).expect("taken");
    assert!(!has_token(&ask(&desk, MAC, None)));
    assert!(has_token(&ask(&desk, OTHER, None)));
}

#[test]
fn an_old_report_that_is_sent_again_opens_nothing() {
    let folder = folder();
    let desk = open(folder.path());
    let proof = Proof::of(TOKEN, MAC);
    let flash = progress("a", 2, "flash");
    signed(&desk, &flash).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)));
    unsigned(&desk, &of_node("n", 1, "joined"), Some(proof.reveal())).expect("taken");
    let refused = |desk: &Desk, report: &Report| {
        matches!(
            signed(desk, report),
            Err(ReportError::Refused(Refused::Old))
        )
    };
    assert!(refused(&desk, &flash));
    signed(&desk, &receipt("b", 1, "already-done")).expect("a later start");
    assert!(refused(&desk, &flash), "of an earlier start");
    drop(desk);
    let desk = open(folder.path());
    assert!(refused(&desk, &flash), "the desk was started again");
    assert!(!has_token(&ask(&desk, MAC, None)));
}

#[test]
fn a_door_and_what_was_given_outlive_the_program() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    drop(desk);
    let desk = open(folder.path());
    assert!(has_token(&ask(&desk, MAC, None)), "it is still open");
    let old = Proof::of(TOKEN, MAC);
    unsigned(&desk, &of_node("n", 1, "joined"), Some(old.reveal())).expect("taken");
    drop(desk);
    // The cluster's token is changed in the group.
    let group = folder.path().join("groups/node-1.json");
    let text = fs::read_to_string(&group).expect("a group");
    fs::write(&group, text.replace(TOKEN, "n3w-token")).expect("written");
    let desk = open(folder.path());
    assert!(matches!(door(&desk), Door::Joined { .. }));
    let answer = ask(&desk, MAC, Some(old.reveal()));
    assert!(answer.contains("K3S_TOKEN=n3w-token\n"), "{answer}");
    assert!(!ask(&desk, MAC, None).contains("n3w-token"));
}

#[test]
fn a_node_that_was_a_member_before_the_desk_is_known_by_its_token() {
    let folder = folder();
    let desk = open(folder.path());
    let proof = Proof::of(TOKEN, MAC);
    assert!(has_token(&ask(&desk, MAC, Some(proof.reveal()))));
    unsigned(&desk, &of_node("n", 1, "joined"), Some(proof.reveal())).expect("taken");
    let trust = desk.look(|rack| rack.node(MAC).and_then(|node| node.trust));
    assert_eq!(trust, Some(Trust::Node));
}

#[test]
fn the_operator_opens_and_closes() {
    let folder = folder();
    let desk = open(folder.path());
    desk.decide(MAC, true).expect("kept");
    assert!(has_token(&ask(&desk, MAC, None)));
    desk.decide(MAC, false).expect("kept");
    assert!(!has_token(&ask(&desk, MAC, None)));
    drop(desk);
    let desk = open(folder.path());
    assert!(matches!(door(&desk), Door::Closed { .. }));
    assert!(desk.is_operator(&"0d".repeat(32)));
    for wrong in ["", "0d", &"0e".repeat(32)] {
        assert!(!desk.is_operator(wrong), "{wrong}");
    }
}

/// What a board may be called by, its node asks by: first boot asks with every interface.
#[test]
fn a_board_is_known_by_all_its_addresses_if_its_card_says_so() {
    let folder = folder();
    let desk = open(folder.path());
    let stranger = Report {
        mac: Some(OTHER.to_string()),
        ..progress("x", 1, "flash")
    };
    unsigned(&desk, &stranger, None).expect("shown");
    let report = Report {
        other_macs: vec![OTHER.to_string()],
        ..progress("a", 1, "flash")
    };
    signed(&desk, &report).expect("taken");
    assert!(has_token(&ask(&desk, OTHER, None)));
    assert_eq!(desk.look(|rack| rack.nodes().count()), 1);
}

#[test]
fn what_nobody_vouches_for_changes_nothing_of_a_known_board() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    let forged = Report {
        message: Some("all is lost\u{1b}[31m".to_owned()),
        fault: Some(7),
        hostname: Some("evil".to_owned()),
        ..progress("z", 9, "commit")
    };
    unsigned(&desk, &forged, None).expect("kept apart");
    desk.look(|rack| {
        let node = rack.node(MAC).expect("the board");
        assert_eq!((node.fault, node.hostname.as_deref()), (None, None));
        assert_eq!(node.stage.as_deref(), Some("flash"));
        assert_eq!(node.hearsay.as_deref(), Some("all is lost[31m"));
    });
    signed(&desk, &progress("a", 2, "verify")).expect("the board goes on");
}

#[test]
fn strangers_are_bounded_and_are_not_kept() {
    let folder = folder();
    let desk = open(folder.path());
    let mut refused = 0;
    for number in 0..600_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let report = Report {
            mac: Some(Mac([2, 0, a, b, c, d]).to_string()),
            ..progress("a", 1, "flash")
        };
        refused += usize::from(unsigned(&desk, &report, None).is_err());
    }
    assert_eq!(desk.look(|rack| rack.nodes().count()), 256);
    assert_eq!(refused, 600 - 256);
    signed(&desk, &progress("a", 1, "flash")).expect("a board of ours has its place");
    drop(desk);
    assert_eq!(open(folder.path()).look(|rack| rack.nodes().count()), 1);
}
