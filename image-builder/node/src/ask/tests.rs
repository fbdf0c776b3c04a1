use std::cell::{Cell, RefCell};

use gild_http::RefusedCertificate;

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const NUMBER: [u8; 16] = *b"a1b2c3d4e5f60718";
const TWO_MINUTES: Duration = Duration::from_mins(2);

/// A world whose clock advances only while the code waits. Its Matchbox gives the test's answers.
struct Scene<'a> {
    macs: &'a [Mac],
    answer: &'a dyn Fn(&str, Duration) -> Result<String, FetchError>,
    proof: Option<Proof>,
    proofs: RefCell<Vec<Option<Proof>>>,
    now: Cell<Duration>,
    clock_set_at: Duration,
    asked: RefCell<Vec<(Duration, String)>>,
}

impl<'a> Scene<'a> {
    fn new(
        macs: &'a [Mac],
        answer: &'a dyn Fn(&str, Duration) -> Result<String, FetchError>,
    ) -> Self {
        Self {
            macs,
            answer,
            proof: None,
            proofs: RefCell::default(),
            now: Cell::default(),
            clock_set_at: Duration::ZERO,
            asked: RefCell::default(),
        }
    }

    fn ask(&self, accept_default_group: bool) -> Result<Node, AskError> {
        self.ask_with(&format!("accept_default_group = {accept_default_group}"))
    }

    fn ask_with(&self, settings: &str) -> Result<Node, AskError> {
        let matchbox = Url::parse("http://mb:8080/base/").expect("a URL");
        let settings = Settings::parse(settings).expect("settings");
        ask(self, &matchbox, &settings, TWO_MINUTES)
    }

    fn times(&self) -> Vec<Duration> {
        self.asked.borrow().iter().map(|(time, _)| *time).collect()
    }
}

impl World for Scene<'_> {
    fn macs(&self) -> Vec<Mac> {
        self.macs.to_vec()
    }

    fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    fn get(&self, url: &Url, proof: Option<&Proof>, _: Duration) -> Result<String, FetchError> {
        self.proofs.borrow_mut().push(proof.cloned());
        self.asked.borrow_mut().push((self.now(), url.to_string()));
        (self.answer)(url.query().unwrap_or_default(), self.now())
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn sleep(&self, time: Duration) {
        self.now.set(self.now() + time);
    }

    fn clock_is_set(&self) -> bool {
        self.now() >= self.clock_set_at
    }

    fn board_number(&self) -> Option<[u8; 16]> {
        Some(NUMBER)
    }

    fn chance(&self) -> f64 {
        1.0
    }
}

fn default_group(query: &str) -> String {
    let mac = query.strip_prefix("mac=").expect("a MAC address");
    format!("HOSTNAME=node\nK3S_URL=https://a:6443\nK3S_TOKEN=t\nREQUEST_QUERY_MAC={mac}\n")
}

fn dedicated(query: &str) -> String {
    let mac = query.strip_prefix("mac=").expect("a MAC address");
    format!("{}MAC={mac}\n", default_group(query))
}

fn down() -> FetchError {
    FetchError::Request("connection refused".to_owned())
}

#[test]
fn a_server_that_comes_up_later_is_found() {
    let answer = |query: &str, now: Duration| match now.as_secs() {
        0..60 => Err(down()),
        _ => Ok(dedicated(query)),
    };
    let scene = Scene::new(&[A], &answer);
    let node = scene.ask(false).expect("a node");
    assert_eq!((node.mac, &*node.hostname), (A, "node"));
    let seconds: Vec<u64> = scene.times().iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 47, 63]);
    assert_eq!(
        scene.asked.borrow()[0].1,
        "http://mb:8080/base/metadata?mac=02:00:00:00:00:0a"
    );
}

#[test]
fn it_ends_by_the_deadline_with_the_reason() {
    let scene = Scene::new(&[A], &|_, _| Err(down()));
    let error = scene.ask(false).expect_err("nobody there");
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(scene.now() <= TWO_MINUTES);
    let scene = Scene::new(&[], &|_, _| Err(down()));
    assert!(matches!(scene.ask(false), Err(AskError::NoInterface)));
}

#[test]
fn an_unknown_node_asks_seldom_for_somebody_may_add_it() {
    let scene = Scene::new(&[A], &|_, _| Err(FetchError::Status(404)));
    assert!(matches!(scene.ask(false), Err(AskError::Unknown(A))));
    assert!(scene.times().len() <= 8, "{:?}", scene.times());
}

#[test]
fn a_group_for_every_node_is_for_nobody_unless_that_is_wanted() {
    let answer = |query: &str, _| Ok(default_group(query));
    assert!(matches!(
        Scene::new(&[A], &answer).ask(false),
        Err(AskError::DefaultGroup(A))
    ));
    let node = Scene::new(&[A, B], &answer).ask(true).expect("a node");
    assert_eq!((node.mac, &*node.hostname), (A, "k3s-00000a"));
}

#[test]
fn the_image_s_cluster_is_that_of_groups_that_name_none() {
    for (answer, accept) in [
        (dedicated as fn(&str) -> String, false),
        (default_group, true),
    ] {
        let answer = |query: &str, _| Ok(answer(query).replace("K3S_URL=https://a:6443\n", ""));
        let settings =
            format!("k3s_url = \"https://common:6443\"\naccept_default_group = {accept}");
        let node = Scene::new(&[A], &answer)
            .ask_with(&settings)
            .expect("a node");
        assert_eq!(node.server.as_str(), "https://common:6443");
    }
}

#[test]
fn the_address_that_matchbox_knows_counts_whichever_it_is() {
    let answer = |query: &str, _| {
        Ok(if query.ends_with('b') {
            dedicated(query)
        } else {
            default_group(query)
        })
    };
    for accept in [false, true] {
        let node = Scene::new(&[A, B], &answer).ask(accept).expect("a node");
        assert_eq!(node.mac, B);
    }
}

#[test]
fn two_names_for_one_node_are_refused_whichever_is_asked_for_first() {
    let answer = |query: &str, _| {
        let name = if query.ends_with('b') {
            "=right"
        } else {
            "=left"
        };
        Ok(dedicated(query).replace("=node", name))
    };
    for macs in [[A, B], [B, A]] {
        let error = Scene::new(&macs, &answer).ask(true).expect_err("two names");
        let text = error.to_string();
        assert!(matches!(error, AskError::TwoNames(..)), "{text}");
        for part in ["left for 02:00:00:00:00:0a", "right for 02:00:00:00:00:0b"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn two_groups_with_one_name_make_the_same_node_whichever_is_asked_for_first() {
    for macs in [[A, B], [B, A]] {
        let node = Scene::new(&macs, &|query, _| Ok(dedicated(query)))
            .ask(false)
            .expect("one name");
        assert_eq!(node.mac, A, "its password is made from it");
    }
}

#[test]
fn what_is_wrong_with_this_node_s_group_is_said_rather_than_silence() {
    let answer = |query: &str, _| {
        if query.ends_with('b') {
            Ok(dedicated(query).replace("https", "http"))
        } else {
            Err(FetchError::Status(404))
        }
    };
    let error = Scene::new(&[A, B], &answer)
        .ask(false)
        .expect_err("a bad group");
    assert!(error.to_string().contains("k3s_url"), "{error}");
}

#[test]
fn a_certificate_from_the_future_waits_for_the_clock() {
    let answer = |query: &str, now: Duration| match now.as_secs() {
        0..40 => Err(FetchError::NotValidYet),
        _ => Ok(dedicated(query)),
    };
    let mut scene = Scene::new(&[A], &answer);
    scene.clock_set_at = Duration::from_secs(40);
    scene.ask(false).expect("a node");
    assert_eq!(scene.times().len(), 2, "{:?}", scene.times());
}

#[test]
fn a_matchbox_by_an_unknown_authority_is_said_with_where_the_image_gets_that() {
    let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let refused = RefusedCertificate::behind(&unknown).expect("a refusal");
    let said = AskError::Fetch(A, FetchError::Certificate(refused)).to_string();
    for part in [
        "not signed by an authority that is known here; next: ",
        "--matchbox-ca",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = AskError::Fetch(A, down()).to_string();
    assert!(!said.contains("next: "), "{said}");
}

/// The desk's answer to a request without a proof.
fn withheld(query: &str, reason: &str) -> String {
    dedicated(query).replace("K3S_TOKEN=t", &format!("K3S_TOKEN_WITHHELD={reason}"))
}

#[test]
fn a_node_shows_the_same_with_each_of_its_addresses() {
    let answer = |query: &str, _| Ok(dedicated(query));
    let mut scene = Scene::new(&[A, B], &answer);
    scene.ask(false).expect("a node");
    assert_eq!(scene.proofs.take(), [None, None], "it has no secret");
    let proof = Proof::of([7; 32]);
    scene.proof = Some(proof.clone());
    scene.ask(false).expect("a node");
    assert_eq!(scene.proofs.take(), [Some(proof.clone()), Some(proof)]);
}

#[test]
fn a_token_that_the_desk_withholds_is_asked_for_until_somebody_opens_the_door() {
    let answer = |query: &str, now: Duration| match now.as_secs() {
        0..60 => Ok(withheld(query, "it has joined")),
        _ => Ok(dedicated(query)),
    };
    let scene = Scene::new(&[A], &answer);
    scene.ask(false).expect("a node");
    assert!(scene.times().len() <= 5, "{:?}", scene.times());
    let answer = |query: &str, _| Ok(withheld(query, "it has joined"));
    let error = Scene::new(&[A], &answer).ask(false).expect_err("closed");
    assert_eq!(
        error.to_string(),
        "the metadata server's answer for 02:00:00:00:00:0a cannot be used: the desk withholds the token: it has joined; next: open the \
         door for this node on the desk: gild serve's page, or flash it again"
    );
}

#[test]
fn the_desk_s_reason_steers_no_terminal_and_fills_no_screen() {
    let reason = format!("\u{1b}[2J\u{9b}31m\u{202e}no\r{}", "x".repeat(5000));
    let answer = |query: &str, _| Ok(withheld(query, &reason));
    let error = Scene::new(&[A], &answer).ask(false).expect_err("closed");
    let text = error.to_string();
    let shown = text
        .split_once("token: ")
        .and_then(|(_, rest)| rest.split_once("; next: "));
    let (shown, _) = shown.expect("a reason");
    assert!(shown.starts_with("[2J31mnoxx"), "{shown:?}");
    assert_eq!(shown.chars().count(), 200);
    let answer = |query: &str, _| Ok(withheld(query, "\u{7}"));
    let error = Scene::new(&[A], &answer).ask(false).expect_err("closed");
    assert!(error.to_string().contains("it gives no reason"), "{error}");
}

#[test]
fn a_token_counts_whatever_else_is_said_of_it() {
    let answer = |query: &str, _| Ok(format!("{}K3S_TOKEN_WITHHELD=no\n", dedicated(query)));
    let node = Scene::new(&[A], &answer).ask(false).expect("a node");
    assert_eq!(node.token.reveal(), "t");
}
