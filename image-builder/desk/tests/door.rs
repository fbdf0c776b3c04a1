//! Who gets a token, and who may speak for a board. Real: the folder, the journal, the groups. There is no network.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::net::IpAddr;

use common::{
    MAC, OTHER, TOKEN, folder, of_node, open, progress, proof_of, receipt, signed, unsigned,
};
use gild_boards::mac::Mac;
use gild_desk::desk::{Desk, ReportError, Shown, now};
use gild_desk::rack::{Door, Rack, Refused, Trust};
use gild_report::{Proof, Report, ReportKey};
use serde_json::json;

fn ask(desk: &Desk, mac: Mac, proof: Option<&str>) -> String {
    let shown = Shown {
        proof,
        ..Shown::default()
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

    joins(&desk);
    assert!(!has_token(&ask(&desk, MAC, None)), "a pod asks");
    for wrong in [&proof_of(OTHER), TOKEN, ""] {
        assert!(
            !has_token(&ask(&desk, MAC, Some(wrong))),
            "another node asks, which has the same token"
        );
    }
    assert!(
        has_token(&ask(&desk, MAC, Some(&proof_of(MAC)))),
        "the node refreshes"
    );

    signed(&desk, &receipt("b", 1, "already-done")).expect("taken");
    assert!(!has_token(&ask(&desk, MAC, None)), "nothing was written");
    signed(&desk, &receipt("c", 1, "flashed")).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)), "it was flashed again");
}

/// The node on the board reports that it has joined.
fn joins(desk: &Desk) {
    let report = of_node("n", 1, "joined");
    unsigned(desk, &report, Some(&proof_of(MAC))).expect("taken");
    assert!(matches!(door(desk), Door::Joined { .. }));
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
        ..Shown::default()
    };
    assert!(matches!(
        desk.report(&body, shown),
        Err(ReportError::Signature)
    ));
    // The signature is good, but the report is about another board.
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
    let flash = progress("a", 2, "flash");
    signed(&desk, &flash).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)));
    joins(&desk);
    let is_old = |desk: &Desk, report: &Report| {
        matches!(
            signed(desk, report),
            Err(ReportError::Refused(Refused::Old))
        )
    };
    assert!(is_old(&desk, &flash));
    signed(&desk, &progress("a", 3, "flash")).expect("later, of the same start");
    assert!(
        matches!(door(&desk), Door::Joined { .. }),
        "once for each start"
    );
    signed(&desk, &progress("b", 1, "network")).expect("a later start");
    assert!(is_old(&desk, &flash), "of an earlier start");
    drop(desk);
    let desk = open(folder.path());
    assert!(is_old(&desk, &flash), "the desk was started again");
    signed(&desk, &receipt("a", 9, "flashed")).expect("a receipt that comes late");
    assert!(!has_token(&ask(&desk, MAC, None)));
}

/// This also holds if another node floods the desk, because each speaker is counted separately.
#[test]
fn whoever_has_the_token_silences_no_card() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    joins(&desk);
    let proof = proof_of(MAC);
    for number in 0..600_u64 {
        let of_node = of_node(&number.to_string(), 1, "joining");
        unsigned(&desk, &of_node, Some(&proof)).expect("taken");
        let progress = progress(&number.to_string(), 1, "flash");
        unsigned(&desk, &progress, Some(&proof)).expect("shown as hearsay");
    }
    signed(&desk, &progress("a", 2, "verify")).expect("the card goes on");
    assert!(
        signed(&desk, &progress("a", 1, "flash")).is_err(),
        "it is still known"
    );
}

#[test]
fn a_door_and_what_was_given_outlive_the_program() {
    let folder = folder();
    let desk = open(folder.path());
    // A stranger has reported the same start before. That must not count.
    unsigned(&desk, &progress("s", 1, "flash"), None).expect("shown");
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    drop(desk);
    let desk = open(folder.path());
    assert!(has_token(&ask(&desk, MAC, None)), "it is still open");
    joins(&desk);
    drop(desk);
    // The cluster's token is changed in the group.
    let group = folder.path().join("groups/node-1.json");
    let text = fs::read_to_string(&group).expect("a group");
    fs::write(&group, text.replace(TOKEN, "n3w-token")).expect("written");
    let desk = open(folder.path());
    assert!(matches!(door(&desk), Door::Joined { .. }));
    let answer = ask(&desk, MAC, Some(&proof_of(MAC)));
    assert!(answer.contains("K3S_TOKEN=n3w-token\n"), "{answer}");
    assert!(!ask(&desk, MAC, None).contains("n3w-token"));
}

#[test]
fn a_journal_that_lies_where_older_desks_had_it_is_moved_and_read() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    drop(desk);
    let [old, new] =
        ["journal.jsonl", "journal/journal.jsonl"].map(|name| folder.path().join(name));
    fs::rename(&new, &old).expect("moved");
    fs::remove_dir(folder.path().join("journal")).expect("removed");
    let desk = open(folder.path());
    assert!(has_token(&ask(&desk, MAC, None)), "its door is still open");
    assert!(new.exists() && !old.exists());
}

#[test]
fn who_came_through_a_door_first_cannot_be_pushed_out() {
    let folder = folder();
    let desk = open(folder.path());
    let from = |last: u32| IpAddr::from((0x0a00_0000 + last).to_be_bytes());
    let asks = |last| {
        let shown = Shown {
            from: Some(from(last)),
            ..Shown::default()
        };
        let answer = desk.metadata(&format!("mac={MAC}"), shown);
        assert!(has_token(&answer.expect("a group")));
    };
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    asks(0);
    asks(1);
    // They show a secret of their own, come from many addresses, and report as the node.
    for last in (1..1000).chain(1..1000) {
        asks(last);
    }
    let lines = fs::read_to_string(folder.path().join("journal/journal.jsonl")).expect("a journal");
    assert_eq!(lines.matches("released").count(), 8 + 256);
    for sequence in 1..100 {
        let mut report = of_node("n", sequence, "joining");
        report.message = Some(format!("still {sequence}"));
        unsigned(&desk, &report, Some(&proof_of(MAC))).expect("taken");
    }
    let history = |desk: &Desk| {
        desk.look(|rack| {
            let events = rack.node(MAC).expect("a node").history();
            let texts = events.iter().map(|event| event.text.clone());
            texts.collect::<Vec<_>>()
        })
    };
    let shown = history(&desk);
    for text in [
        "the door is open, because its card flashes it",
        "its token is given to 10.0.0.0",
        "its token is given to 10.0.0.7",
        "its token is given to 256 other addresses or more, too",
        "node: joining: still 99",
    ] {
        assert_eq!(
            shown.iter().filter(|one| *one == text).count(),
            1,
            "{text}: {shown:?}"
        );
    }
    assert!(shown.len() < 60, "{}", shown.len());
    let short = desk.look(|rack| {
        let mut short = Rack::default();
        for happened in rack.in_short() {
            let line = serde_json::to_string(&happened).expect("JSON");
            short.apply(&serde_json::from_str(&line).expect("what was kept"));
        }
        short == *rack
    });
    assert!(short, "a journal that was made short has the same");
    drop(desk);
    let desk = open(folder.path());
    assert_eq!(history(&desk), shown);

    // Of an earlier opening it is known, too.
    signed(&desk, &progress("b", 1, "flash")).expect("taken");
    assert!(has_token(&ask(&desk, MAC, None)));
    let later = history(&desk);
    for text in [
        "its token is given to 10.0.0.0",
        "its token is given to an unknown address",
    ] {
        assert!(later.iter().any(|one| one == text), "{text}: {later:?}");
    }
}

/// The clock was ahead when the door was opened, and was corrected afterwards.
#[test]
fn a_door_that_was_opened_in_a_time_to_come_is_closed() {
    for (ahead, is_open) in [(60, true), (3600, false), (30 * 24 * 3600, false)] {
        let folder = folder();
        let opened =
            json!({"what": "decided", "at": now() + ahead, "mac": MAC.to_string(), "open": true});
        let journal = folder.path().join("journal/journal.jsonl");
        fs::write(&journal, format!("{opened}\n")).expect("written");
        let desk = open(folder.path());
        assert_eq!(has_token(&ask(&desk, MAC, None)), is_open, "{ahead}");
        // Nor does a secret that is shown through it become the node's.
        let report = of_node("n", 1, "joining");
        unsigned(&desk, &report, Some(&proof_of(MAC))).expect("shown");
        let answer = ask(&desk, MAC, Some(&proof_of(MAC)));
        assert_eq!(has_token(&answer), is_open, "{ahead}");
        assert_eq!(
            answer.contains("clock of the desk was ahead"),
            !is_open,
            "{answer}"
        );
        desk.decide(MAC, true).expect("kept");
        assert!(
            has_token(&ask(&desk, MAC, None)),
            "the operator opens it again"
        );
    }
}

/// The desk knows a node by the node's own secret, never by the token.
#[test]
fn a_member_is_known_however_often_the_token_changes() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    joins(&desk);
    let group = folder.path().join("groups/node-1.json");
    let first = fs::read_to_string(&group).expect("a group");
    for token in ["second-token", "third-token", "fourth-token"] {
        fs::write(&group, first.replace(TOKEN, token)).expect("written");
        let answer = ask(&desk, MAC, Some(&proof_of(MAC)));
        assert!(answer.contains(&format!("K3S_TOKEN={token}\n")), "{answer}");
        assert!(!ask(&desk, MAC, None).contains(token), "a pod asks");
        // This is what `gild-seed refresh` reports when it has taken the new token.
        let seconds = token.len() as u64;
        unsigned(
            &desk,
            &of_node(token, seconds, "joined"),
            Some(&proof_of(MAC)),
        )
        .expect("taken");
        let trust = desk.look(|rack| rack.node(MAC).and_then(|node| node.trust));
        assert_eq!(trust, Some(Trust::Node), "{token}");
    }
}

/// A later proof does not count: its sender may have seen that the door is open.
#[test]
fn the_first_proof_through_a_door_counts_and_no_other() {
    let folder = folder();
    let desk = open(folder.path());
    let report = |number: u64, stage: &str, proof: &str| {
        unsigned(&desk, &of_node("n", number, stage), Some(proof)).expect("taken");
        desk.look(|rack| rack.node(MAC).is_some_and(|node| node.hearsay.is_none()))
    };
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    assert!(!report(1, "named", "not-a-proof"));
    assert!(report(2, "named", &proof_of(MAC)));
    assert!(!report(3, "joined", &proof_of(OTHER)));
    assert!(matches!(door(&desk), Door::Open { .. }));
    assert!(report(4, "joined", &proof_of(MAC)));
    assert!(!has_token(&ask(&desk, MAC, Some(&proof_of(OTHER)))));
    assert!(has_token(&ask(&desk, MAC, Some(&proof_of(MAC)))));
}

/// The secret is on the disk that the flash overwrites.
#[test]
fn a_flash_makes_the_node_show_another_secret_and_the_old_one_opens_nothing() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    joins(&desk);
    let is_known = |desk: &Desk| {
        let proof = Proof::parse(&proof_of(MAC)).expect("a proof");
        desk.look(|rack| {
            rack.node(MAC)
                .is_some_and(|node| node.is_known_by(&proof.digest()))
        })
    };
    assert!(is_known(&desk));
    signed(&desk, &progress("b", 1, "flash")).expect("taken");
    assert!(!is_known(&desk), "also if the new one never comes");
    let fresh = Proof::of([0xab; 32]);
    unsigned(&desk, &of_node("m", 1, "joined"), Some(fresh.reveal())).expect("taken");
    assert!(matches!(door(&desk), Door::Joined { .. }));
    assert!(has_token(&ask(&desk, MAC, Some(fresh.reveal()))));
    assert!(
        !has_token(&ask(&desk, MAC, Some(&proof_of(MAC)))),
        "of the disk before"
    );
}

/// This also helps a node that has lost its secret. The old secret counts until somebody shows another one.
#[test]
fn an_operator_s_door_takes_one_other_secret() {
    let folder = folder();
    let desk = open(folder.path());
    signed(&desk, &progress("a", 1, "flash")).expect("taken");
    joins(&desk);
    desk.decide(MAC, true).expect("kept");
    let fresh = Proof::of([0xab; 32]);
    unsigned(&desk, &of_node("m", 1, "joined"), Some(fresh.reveal())).expect("taken");
    assert!(has_token(&ask(&desk, MAC, Some(fresh.reveal()))));
    assert!(!has_token(&ask(&desk, MAC, Some(&proof_of(MAC)))));
    desk.decide(MAC, true).expect("kept");
    desk.decide(MAC, false).expect("kept");
    unsigned(&desk, &of_node("o", 1, "joined"), Some(&proof_of(MAC))).expect("hearsay");
    let trust = |desk: &Desk| {
        desk.look(|rack| {
            rack.node(MAC)
                .is_some_and(|node| node.is_known_by(&fresh.digest()))
        })
    };
    assert!(trust(&desk), "nobody came through it");
}

#[test]
fn a_member_from_before_the_desk_is_known_once_the_operator_opens_its_door() {
    let folder = folder();
    let desk = open(folder.path());
    let proof = proof_of(MAC);
    let report = of_node("n", 1, "joined");
    unsigned(&desk, &report, Some(&proof)).expect("shown");
    assert!(!has_token(&ask(&desk, MAC, Some(&proof))));
    assert_eq!(door(&desk), Door::NeverOpened);
    desk.decide(MAC, true).expect("kept");
    let report = of_node("n", 2, "joined");
    unsigned(&desk, &report, Some(&proof)).expect("taken");
    assert!(matches!(door(&desk), Door::Joined { .. }));
    assert!(has_token(&ask(&desk, MAC, Some(&proof))));
    let trust = desk.look(|rack| rack.node(MAC).and_then(|node| node.trust));
    assert_eq!(trust, Some(Trust::Node));
}

#[test]
fn the_operator_opens_and_closes() {
    let folder = folder();
    let desk = open(folder.path());
    desk.decide(MAC, true).expect("kept");
    assert!(has_token(&ask(&desk, MAC, None)));
    joins(&desk);
    desk.decide(MAC, false).expect("kept");
    assert!(!has_token(&ask(&desk, MAC, None)));
    assert!(
        !has_token(&ask(&desk, MAC, Some(&proof_of(MAC)))),
        "closed for the node too"
    );
    signed(&desk, &progress("z", 1, "flash")).expect("taken");
    assert!(
        matches!(door(&desk), Door::Closed { .. }),
        "and for its card"
    );
    drop(desk);
    let desk = open(folder.path());
    assert!(matches!(door(&desk), Door::Closed { .. }));
    assert!(desk.is_operator(&"0d".repeat(32)));
    for wrong in ["", "0d", &"0e".repeat(32)] {
        assert!(!desk.is_operator(wrong), "{wrong}");
    }
}

/// First boot asks with every interface, so the node may ask with any address of the board.
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
    for number in 0..600_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let report = Report {
            mac: Some(Mac([2, 0, a, b, c, d]).to_string()),
            message: Some("x".repeat(60_000)),
            ..progress("a", 1, "flash")
        };
        unsigned(&desk, &report, None).expect("the oldest gives way");
    }
    assert_eq!(desk.look(|rack| rack.nodes().count()), 256);
    let size = desk.look(|rack| serde_json::to_string(&rack.nodes().collect::<Vec<_>>()));
    assert!(size.expect("JSON").len() < 256 * 2000);
    signed(&desk, &progress("a", 1, "flash")).expect("a board of ours has its place");
    desk.look(|rack| assert_eq!(rack.in_short().count(), 1));
    drop(desk);
    assert_eq!(open(folder.path()).look(|rack| rack.nodes().count()), 1);
    let endless = Report {
        boot: "x".repeat(33),
        ..progress("", 1, "flash")
    };
    let desk = open(folder.path());
    assert!(matches!(
        signed(&desk, &endless),
        Err(ReportError::Refused(Refused::NoBoot))
    ));
}

/// Whatever happened and in whatever order: after a restart the desk has the same boards, whether it reads the whole journal or a shortened
/// one. Only strangers and the progress of a flash may be missing.
#[test]
fn the_desk_is_the_same_after_it_was_started_again() {
    let seed = 20_261_128;
    let mut random = fastrand::Rng::with_seed(seed);
    let macs = [MAC, OTHER, Mac([2, 0, 0, 0, 0, 1])];
    for round in 0..60 {
        let folder = folder();
        let desk = open(folder.path());
        for step in 0..40_u64 {
            let mac = macs[random.usize(..macs.len())];
            let others = if random.u8(..4) == 0 {
                vec![macs[random.usize(..macs.len())].to_string()]
            } else {
                Vec::new()
            };
            let stages = ["network", "flash", "verify", "receipt"];
            let report = Report {
                mac: Some(mac.to_string()),
                other_macs: others,
                fault: (random.u8(..6) == 0).then_some(3),
                ..progress(&random.u8(..4).to_string(), step, stages[random.usize(..4)])
            };
            let node = Report {
                mac: Some(mac.to_string()),
                ..of_node(
                    &random.u8(..3).to_string(),
                    step,
                    ["joining", "joined"][random.usize(..2)],
                )
            };
            let flashed = Report {
                mac: Some(mac.to_string()),
                ..receipt(&random.u8(..4).to_string(), step, "flashed")
            };
            // The desk refuses some of these.
            let _ = match random.u8(..7) {
                0 => unsigned(&desk, &report, None).is_ok(),
                1 => desk.decide(mac, random.bool()).is_ok(),
                2 => unsigned(&desk, &node, Some(&proof_of(mac))).is_ok(),
                3 => desk
                    .metadata(&format!("mac={mac}"), Shown::default())
                    .is_some(),
                4 => signed(&desk, &flashed).is_ok(),
                _ => signed(&desk, &report).is_ok(),
            };
        }
        let before = lasting(&desk);
        let short: Vec<_> = desk.look(|rack| rack.in_short().collect());
        drop(desk);
        let desk = open(folder.path());
        assert_eq!(lasting(&desk), before, "seed {seed}, round {round}");
        drop(desk);
        let lines: String = short
            .iter()
            .map(|happened| serde_json::to_string(happened).expect("JSON") + "\n")
            .collect();
        fs::write(folder.path().join("journal/journal.jsonl"), lines).expect("written");
        assert_eq!(
            lasting(&open(folder.path())),
            before,
            "short, seed {seed}, round {round}"
        );
    }
}

fn lasting(desk: &Desk) -> Vec<String> {
    let known = |node: &&gild_desk::rack::Node| !node.is_stranger();
    desk.look(|rack| {
        rack.nodes()
            .filter(known)
            .map(|node| {
                let mut node = serde_json::to_value(node).expect("JSON");
                for volatile in ["percent", "heard", "hearsay", "starts"] {
                    node[volatile] = json!(null);
                }
                node.to_string()
            })
            .collect()
    })
}
