//! Asks Matchbox about each node, as the node does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gild_boards::mac::Mac;
use gild_http::Access;
use gild_matchbox::metadata_address;
use gild_node::client::{Client, FetchError};
use gild_node::k3s_url::K3sUrl;
use gild_node::node::Node;
use reqwest::Url;
use rustls::RootCertStore;

use gild_source::within::{self, Begun};

use super::address;
use super::identity::{self, Said};
use super::report::{Check, Finding};

/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// After this time no further node is asked about.
const LONGEST: Duration = Duration::from_secs(45);
/// For all, with what a name server may take.
const WHOLE: Duration = Duration::from_mins(1);

/// What is asked.
pub struct Questions {
    /// Matchbox' base address.
    pub base: Url,
    /// The future nodes.
    pub macs: Vec<Mac>,
    /// The image's `k3s_url`.
    pub k3s_url: Option<K3sUrl>,
    /// What the desk would answer by the group files.
    pub files: BTreeMap<Mac, String>,
}

/// What came of it.
#[derive(Default)]
pub struct Answers {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The nodes that know who they are then.
    pub nodes: Vec<Node>,
}

/// How far the asking came.
struct Heard {
    said: Vec<(Mac, Said)>,
    end: End,
}

enum End {
    /// All were asked about.
    Done,
    /// Matchbox cannot be asked.
    Away(FetchError),
    /// There was no time for all.
    Late,
}

/// Matchbox, being asked.
pub struct Asking {
    questions: Questions,
    stranger: Mac,
    heard: Begun<Heard>,
}

/// Begins to ask.
pub fn begin(questions: Questions, access: &Access) -> Asking {
    let stranger = identity::stranger(&questions.macs);
    let macs = [&[stranger], &questions.macs[..]].concat();
    let (base, roots) = (questions.base.clone(), access.roots());
    Asking {
        heard: within::begin(WHOLE, move || ask(&base, &roots, &macs)),
        questions,
        stranger,
    }
}

fn ask(base: &Url, roots: &RootCertStore, macs: &[Mac]) -> Heard {
    let begun = Instant::now();
    let mut said = Vec::new();
    let client = match Client::trusting(roots.clone()) {
        Ok(client) => client,
        Err(error) => {
            let end = End::Away(error);
            return Heard { said, end };
        }
    };
    for mac in macs {
        if begun.elapsed() >= LONGEST {
            let end = End::Late;
            return Heard { said, end };
        }
        let answer = match client.get(&metadata_address(base, *mac), ANSWER) {
            Ok(body) => Said::Answer(body),
            Err(FetchError::Status(404)) => Said::Nothing,
            Err(error @ (FetchError::Status(_) | FetchError::TooLong | FetchError::NotText)) => {
                Said::Failed(error.to_string())
            }
            Err(error) => {
                let end = End::Away(error);
                return Heard { said, end };
            }
        };
        said.push((*mac, answer));
    }
    let end = End::Done;
    Heard { said, end }
}

impl Asking {
    /// Judges what Matchbox says.
    pub fn answers(self) -> Answers {
        let Questions {
            base,
            macs,
            k3s_url,
            files,
        } = &self.questions;
        let shown = address::shown(base);
        let Some(heard) = self.heard.outcome() else {
            let text = format!("no result after {} s", WHOLE.as_secs());
            let next = "look at the name servers of this machine, and at the log of the metadata server (`gild serve` or Matchbox)";
            let findings = vec![Finding::error(Check::Matchbox, shown, &text, next)];
            return Answers {
                findings,
                ..Answers::default()
            };
        };
        let mut answers = Answers::default();
        for (mac, said) in &heard.said {
            if *mac == self.stranger {
                let finding = identity::of_stranger(*mac, said);
                answers.findings.push(finding);
                continue;
            }
            let file = files.get(mac).map(String::as_str);
            let (findings, node) = identity::of_node(*mac, said, k3s_url.as_ref(), file);
            answers.findings.extend(findings);
            answers.nodes.extend(node);
        }
        answers.findings.extend(identity::twins(&answers.nodes));
        let of_itself = of_itself(&shown, base, &heard, !answers.nodes.is_empty());
        answers.findings.splice(0..0, of_itself);
        if macs.is_empty() {
            answers.findings.push(Finding::not_checked(
                Check::Node,
                shown,
                "no node was named",
                "give --groups with the folder of the desk or of Matchbox, or --mac for each node",
            ));
        }
        answers
    }
}

fn of_itself(shown: &str, base: &Url, heard: &Heard, has_token: bool) -> Vec<Finding> {
    let clear = (has_token && base.scheme() == "http").then(|| {
        Finding::warning(
            Check::Matchbox,
            shown,
            "its answers have the cluster's token in them, and go over the network in clear text",
            "give it a certificate and use https://; docs/first-boot.md has the commands",
        )
    });
    let asked = match &heard.end {
        End::Done => Finding::ok(Check::Matchbox, shown, "it answers"),
        End::Late => Finding::not_checked(
            Check::Matchbox,
            shown,
            &format!(
                "it is so slow that not all nodes were asked about in {} s",
                LONGEST.as_secs()
            ),
            "ask about fewer nodes at once, and find out why it is slow",
        ),
        End::Away(FetchError::Certificate(refused)) => Finding::error(
            Check::Matchbox,
            shown,
            &format!("its certificate is refused: {refused}"),
            &refused.next_step(
                "`ca` in gild.toml, --ca; on a node --matchbox-ca of `gild image build`",
            ),
        ),
        End::Away(error) => Finding::error(
            Check::Matchbox,
            shown,
            &format!("it cannot be asked: {error}"),
            "start it (a desk: gild serve DIR), let this machine reach it, or correct `matchbox`",
        ),
    };
    [asked].into_iter().chain(clear).collect()
}
