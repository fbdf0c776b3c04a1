use std::collections::BTreeMap;

use super::super::report::{Level, count};
use super::*;

const DAY: u64 = 24 * 60 * 60;
const NOW: Duration = Duration::from_secs(20_700 * DAY);

fn manifest(id: &str) -> Manifest {
    Manifest {
        format_version: 1,
        board: "rpi5".to_owned(),
        image_id: id.to_owned(),
        build_time: NOW.as_secs() - 2 * DAY,
        rollback_counter: 3,
        proves_itself: true,
        min_agent_version: "0.1.0".to_owned(),
        raw_size: 64_000_000,
        sector_size: 512,
        chunk_size: 0,
        stored_file: String::new(),
        stored_size: 0,
        stored_sha256: Sha256Hex([0; 32]),
        partitions: Vec::new(),
        tools: BTreeMap::new(),
        chunks: Vec::new(),
    }
}

fn image(manifest: Manifest) -> Image {
    Image {
        digest: gild_format::manifest_sha256(&manifest.to_json()),
        manifest: Box::new(manifest),
        key: "public_key",
        flaw: None,
    }
}

fn look(server: &str, outcome: Result<Image, Trouble>) -> Look {
    Look {
        server: server.to_owned(),
        board: "rpi5",
        outcome,
    }
}

fn missing() -> Result<Image, Trouble> {
    Err(Trouble::Missing(
        "it is not there; next: look elsewhere".to_owned(),
    ))
}

fn away() -> Result<Image, Trouble> {
    Err(Trouble::Away("no connection".to_owned()))
}

fn on_rock5b(look: Look) -> Look {
    Look {
        board: "rock5b",
        ..look
    }
}

fn judged(looks: &[Look]) -> Vec<Finding> {
    judge(looks, Asked::WithAll, NOW)
}

#[track_caller]
fn only(findings: &[Finding], level: Level) -> &Finding {
    let found: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level == level)
        .collect();
    assert_eq!(found.len(), 1, "{findings:#?}");
    found[0]
}

#[test]
fn a_good_image_is_ok_with_its_facts() {
    let found = judged(&[look("a", Ok(image(manifest("one"))))]);
    assert_eq!(count(&found, Level::Ok), 2, "{found:#?}");
    let line = found[1].to_string();
    for words in ["image one of ", "2 days ago", "counter 3", "512 bytes"] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn an_image_is_old_after_thirty_days_and_not_before() {
    for (days, level) in [(30, Level::Ok), (31, Level::Warning)] {
        let old = Manifest {
            build_time: NOW.as_secs() - days * DAY,
            ..manifest("one")
        };
        let found = judged(&[look("a", Ok(image(old)))]);
        let last = found.last().expect("a line");
        assert_eq!(last.level, level, "{last}");
    }
}

#[test]
fn an_image_of_the_future_is_a_warning_about_a_clock() {
    let future = Manifest {
        build_time: NOW.as_secs() + DAY,
        ..manifest("one")
    };
    let found = judged(&[look("a", Ok(image(future)))]);
    let warning = only(&found, Level::Warning);
    assert!(warning.message.contains("in the future"), "{warning}");
}

#[test]
fn an_image_that_does_not_prove_itself_is_a_warning() {
    let unproven = Manifest {
        proves_itself: false,
        ..manifest("one")
    };
    let found = judged(&[look("a", Ok(image(unproven)))]);
    let warning = only(&found, Level::Warning);
    assert!(
        warning.message.contains("does not prove itself"),
        "{warning}"
    );
}

#[test]
fn a_flaw_of_the_chunks_is_an_error_and_the_image_is_not_called_good() {
    let damaged = Image {
        flaw: Some("it has 3 bytes".to_owned()),
        ..image(manifest("one"))
    };
    let found = judged(&[look("a", Ok(damaged))]);
    let error = only(&found, Level::Error);
    assert!(error.message.contains("it has 3 bytes"), "{error}");
    assert_eq!(count(&found, Level::Ok), 1, "the server alone: {found:#?}");
}

#[test]
fn a_stale_replica_is_a_warning_with_both_ids_whatever_the_order() {
    let newer = Manifest {
        rollback_counter: 4,
        ..manifest("two")
    };
    let (old, new) = (image(manifest("one")), image(newer));
    for looks in [
        [look("a", Ok(old.clone())), look("b", Ok(new.clone()))],
        [look("b", Ok(new)), look("a", Ok(old))],
    ] {
        let found = judged(&looks);
        let warning = only(&found, Level::Warning);
        assert_eq!(warning.check, Check::Replicas);
        let text = "a has image one, and b has image two";
        assert_eq!(warning.message, text);
    }
}

#[test]
fn an_image_that_was_signed_again_on_one_server_is_a_warning() {
    let again = Manifest {
        rollback_counter: 4,
        ..manifest("one")
    };
    let found = judged(&[
        look("a", Ok(image(manifest("one")))),
        look("b", Ok(image(again))),
    ]);
    let warning = only(&found, Level::Warning);
    assert!(warning.message.contains("another manifest"), "{warning}");
}

#[test]
fn servers_with_the_same_image_are_ok() {
    let same = || Ok(image(manifest("one")));
    let found = judged(&[look("a", same()), look("b", same())]);
    assert_eq!(count(&found, Level::Ok), found.len(), "{found:#?}");
    assert_eq!(found.last().map(|last| last.check), Some(Check::Replicas));
}

#[test]
fn a_server_that_is_away_is_said_once_and_not_for_each_board() {
    let found = judged(&[look("a", away()), on_rock5b(look("a", away()))]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].check, found[0].level),
        (Check::Server, Level::Error)
    );
}

#[test]
fn a_board_that_nobody_has_is_a_warning_unless_it_was_asked_for() {
    let looks = [
        look("a", Ok(image(manifest("one")))),
        on_rock5b(look("a", missing())),
    ];
    let found = judge(&looks, Asked::WithAll, NOW);
    assert_eq!(only(&found, Level::Warning).subject, "rock5b");
    let found = judge(&looks, Asked::ByName, NOW);
    assert_eq!(only(&found, Level::Error).subject, "rock5b");
    // Two servers do not make two of it.
    let looks = [&looks[..], &[on_rock5b(look("b", missing()))]].concat();
    let found = judge(&looks, Asked::WithAll, NOW);
    assert_eq!(only(&found, Level::Warning).subject, "rock5b");
}

#[test]
fn a_board_that_another_server_has_is_an_error_where_it_is_missing() {
    let found = judged(&[look("a", Ok(image(manifest("one")))), look("b", missing())]);
    assert_eq!(only(&found, Level::Error).subject, "b rpi5");
}

#[test]
fn shares_without_any_image_are_one_error_with_how_to_build_the_first() {
    let of_both = |server| [look(server, missing()), on_rock5b(look(server, missing()))];
    let looks = [of_both("a"), of_both("b")].concat();
    for asked in [Asked::WithAll, Asked::ByName] {
        let found = judge(&looks, asked, NOW);
        let error = only(&found, Level::Error);
        assert_eq!((&*error.subject, found.len()), ("rpi5, rock5b", 3));
        let next = error.next.as_deref().unwrap_or_default();
        assert!(
            next.contains("`gild image build`, for a desk with --desk"),
            "{next}"
        );
        assert!(error.message.contains("it is not there"), "{error}");
    }
    // What a server that is away has, nobody knows.
    let found = judged(&[look("a", missing()), look("b", away())]);
    assert_eq!(count(&found, Level::Error), 2, "{found:#?}");
}

#[test]
fn a_server_that_fails_for_one_board_is_an_error_although_others_lack_that_board() {
    let looks = [
        look("a", Ok(image(manifest("one")))),
        on_rock5b(look("a", away())),
        look("b", Ok(image(manifest("one")))),
        on_rock5b(look("b", missing())),
    ];
    for asked in [Asked::WithAll, Asked::ByName] {
        let found = judge(&looks, asked, NOW);
        let errors = found.iter().filter(|it| it.level == Level::Error);
        let errors: Vec<_> = errors.map(|it| (&*it.subject, &*it.message)).collect();
        let expected = [
            ("a rock5b", "no connection"),
            ("b rock5b", "it is not there"),
        ];
        assert_eq!(errors, expected, "{found:#?}");
        assert_eq!(count(&found, Level::Warning), 0, "{found:#?}");
    }
    // Nobody knows whether these servers have none.
    let found = judged(&[
        look("a", missing()),
        on_rock5b(look("a", away())),
        look("b", away()),
        on_rock5b(look("b", missing())),
    ]);
    assert_eq!(count(&found, Level::Error), 4, "{found:#?}");
    let says_none = |it: &Finding| it.message.contains("no server has an image yet");
    assert!(!found.iter().any(says_none), "{found:#?}");
}

#[test]
fn a_manifest_that_a_node_refuses_is_an_error_in_its_words() {
    let refused = Err(Trouble::Refused("it is for another board".to_owned()));
    let found = judged(&[look("a", refused)]);
    let error = only(&found, Level::Error);
    assert_eq!(error.message, "it is for another board");
}
