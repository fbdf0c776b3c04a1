//! What a node makes of Matchbox' answer, by the node's own rules. No I/O, and no secret in a message.

use gild_boards::mac::Mac;
use gild_desk::rack::CLOSED;
use gild_matchbox::{Answer, MetadataError, fallback_name};
use gild_node::k3s_url::K3sUrl;
use gild_node::node::{Known, Node, NodeError};
use gild_node::token::Kind;

use super::report::{Check, Finding};

/// What Matchbox says about one MAC address.
#[derive(Debug)]
pub enum Said {
    /// This.
    Answer(String),
    /// 404.
    Nothing,
    /// The question failed, for this reason.
    Failed(String),
}

/// Used instead of the image's `k3s_url`, so that gild reads the rest of an answer without one. No server has such a name
/// (RFC 2606).
const OF_THE_IMAGE: &str = "https://k3s-url-of-the-image.invalid:6443";

/// Whether only the image knows this node's cluster.
pub fn is_of_the_image(server: &K3sUrl) -> bool {
    server.as_str() == OF_THE_IMAGE
}

const CORRECT: &str = "correct the group of this node";
const LOG: &str = "look at the log of the metadata server (`gild serve` or Matchbox)";
const ADD: &str =
    "say who it is: `gild node add`, or for Matchbox a group that selects this MAC address";

/// Judges the answer about a future node, and returns what the node takes from it. Where the desk withholds the token, `file` is
/// what it would answer by the node's group file.
pub fn of_node(
    mac: Mac,
    said: &Said,
    k3s_url: Option<&K3sUrl>,
    file: Option<&str>,
) -> (Vec<Finding>, Option<Node>) {
    let error = |text: &str, next| (vec![Finding::error(Check::Node, mac, text, next)], None);
    let without = format!(
        "the node will call itself {} and join no cluster, and ask again every 15 minutes",
        fallback_name(Some(mac))
    );
    let answer = match said {
        Said::Answer(body) => Answer::parse(body, mac),
        Said::Nothing => {
            return error(
                &format!("the metadata server does not know it: {without}"),
                ADD,
            );
        }
        Said::Failed(reason) => return error(reason, LOG),
    };
    let unknown = K3sUrl::parse(OF_THE_IMAGE).ok();
    let known = Known {
        k3s_url: k3s_url.or(unknown.as_ref()),
        board_number: None,
    };
    match answer {
        Ok(Answer::Default(_)) => error(
            &format!(
                "only the group for every node answers, and it gives no node a name: {without}"
            ),
            ADD,
        ),
        Ok(answer @ Answer::Dedicated(_)) => match Node::read(mac, &answer, known) {
            Ok(node) => (of_values(&node), Some(node)),
            Err(NodeError::Withheld(reason)) => {
                if let Some(file) = file {
                    let (mut findings, node) = of_file(mac, file, k3s_url, &reason);
                    if reason == CLOSED {
                        let text = "its door is closed, also after its card has flashed it";
                        let next =
                            "if it is to join, open the door with `gild node open` or on the page";
                        findings.push(Finding::warning(Check::Node, mac, text, next));
                    }
                    return (findings, node);
                }
                let finding = Finding::not_checked(
                    Check::Node,
                    mac,
                    &format!(
                        "it has its own group, and the desk gives its token only to the node: {reason}"
                    ),
                    "give --groups with the desk's folder, whose files have the token; if the node says the same, open its door on the desk's page",
                );
                (vec![finding], None)
            }
            Err(refused) => error(
                &format!("{without}, because it refuses what its group says: {refused}"),
                CORRECT,
            ),
        },
        Err(refused) => error(
            &format!("{without}, because it refuses the answer: {refused}"),
            CORRECT,
        ),
    }
}

/// Judges a group file as the node will, once the desk gives it the whole answer.
fn of_file(
    mac: Mac,
    body: &str,
    k3s_url: Option<&K3sUrl>,
    reason: &str,
) -> (Vec<Finding>, Option<Node>) {
    let said = Said::Answer(body.to_owned());
    let (mut findings, node) = of_node(mac, &said, k3s_url, None);
    for finding in &mut findings {
        finding.message = format!(
            "by its file, because the desk withholds the token ({reason}): {}",
            finding.message
        );
    }
    (findings, node)
}

fn of_values(node: &Node) -> Vec<Finding> {
    let keys = match node.ssh_keys.len() {
        0 => "no ssh key beside the image's".to_owned(),
        1 => "1 ssh key".to_owned(),
        more => format!("{more} ssh keys"),
    };
    let has_server = !is_of_the_image(&node.server);
    let server = if has_server {
        format!("the cluster at {}", node.server.as_str())
    } else {
        "the cluster that the image names".to_owned()
    };
    let text = format!(
        "its own group: {}, for {server}, with a {:?}, {keys}",
        node.hostname, node.token
    );
    let unknown = (!has_server).then(|| {
        Finding::not_checked(
            Check::Node,
            node.mac,
            "its group has no `k3s_url`, and the image's is not known here: if the image has none either, the node joins no cluster",
            "give --k3s-url with the address that the image was built with, or add it to the group",
        )
    });
    let first = if node.token.kind() == Kind::SecureServer {
        let text = format!("{text}: with it anyone who asks for this node administers the cluster");
        let next = "start the servers with --agent-token, and give that one (docs/first-boot.md)";
        Finding::warning(Check::Node, node.mac, &text, next)
    } else {
        Finding::ok(Check::Node, node.mac, text)
    };
    let refused = node.refused_keys.iter();
    let refused = refused.map(|text| Finding::warning(Check::Node, node.mac, text, CORRECT));
    [first].into_iter().chain(unknown).chain(refused).collect()
}

/// Judges the answer about a MAC address that no node has.
pub fn of_stranger(mac: Mac, said: &Said) -> Finding {
    let subject = format!("{mac}, which no node has");
    let warning = |text: &str| {
        let next = "take the group without a selector away, or leave `k3s_token` out of it";
        Finding::warning(Check::Node, &subject, text, next)
    };
    let answer = match said {
        Said::Nothing => {
            let name = fallback_name(Some(mac));
            let text = format!(
                "the metadata server gives nothing to a machine that it does not know: a node would call itself {name} and join no cluster"
            );
            return Finding::ok(Check::Node, &subject, text);
        }
        Said::Failed(reason) => {
            return Finding::error(Check::Node, &subject, reason, LOG);
        }
        Said::Answer(body) => Answer::parse(body, mac),
    };
    match answer {
        Ok(Answer::Default(values)) => match values.get("K3S_TOKEN") {
            Ok(None) => {
                warning("the group for every node answers, and nodes do not accept its answer")
            }
            Ok(Some(_)) | Err(_) => warning(
                "the group for every node gives the cluster's token to any machine that asks",
            ),
        },
        Ok(Answer::Dedicated(_)) => Finding::error(
            Check::Node,
            &subject,
            "the metadata server has its own group for it",
            "look which program answers instead of a desk or Matchbox",
        ),
        Err(error) => strange(&subject, &error),
    }
}

fn strange(subject: &str, error: &MetadataError) -> Finding {
    let next = "check that the address leads to a desk or Matchbox";
    Finding::error(Check::Node, subject, &error.to_string(), next)
}

/// Nodes of one name: the cluster lets the first one in.
pub fn twins(nodes: &[Node]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Some(first) = nodes[..at]
            .iter()
            .find(|first| first.hostname == node.hostname)
        {
            let text = format!(
                "its name {} is that of {} too, and the cluster lets one node of a name in",
                node.hostname, first.mac
            );
            findings.push(Finding::error(
                Check::Node,
                node.mac,
                &text,
                "give each node its own `hostname`; for two sockets of one board, remove one of the two groups",
            ));
        }
    }
    findings
}

/// A MAC address that none of these nodes has. It is locally administered, so no board has it by its maker.
pub fn stranger(known: &[Mac]) -> Mac {
    let candidates = (0..=u8::MAX).map(|last| Mac([2, 0, 0, 0, 0, last]));
    candidates
        .rev()
        .find(|mac| !known.contains(mac))
        .unwrap_or(Mac([2, 0, 0, 0, 1, 0]))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    const MAC: Mac = Mac([0x2c, 0xcf, 0x67, 0, 0, 1]);

    fn answer(lines: &str) -> Said {
        Said::Answer(format!("REQUEST_QUERY_MAC={MAC}\n{lines}\n"))
    }

    fn dedicated(lines: &str) -> Said {
        answer(&format!("MAC={MAC}\n{lines}"))
    }

    const GOOD: &str =
        "HOSTNAME=node-1\nK3S_URL=https://10.0.0.1:6443\nK3S_TOKEN=abcdef.0123456789abcdef";

    #[track_caller]
    fn refused(said: &Said) -> Finding {
        let (mut findings, node) = of_node(MAC, said, None, None);
        assert!(node.is_none());
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let finding = findings.remove(0);
        assert_eq!(finding.level, Level::Error, "{finding}");
        assert!(!finding.to_string().contains("s3cret"), "{finding}");
        finding
    }

    #[test]
    fn a_good_group_is_ok_with_its_kind_of_token_and_never_the_token() {
        let (findings, node) = of_node(MAC, &dedicated(GOOD), None, None);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let line = findings[0].to_string();
        for words in [
            "node-1",
            "https://10.0.0.1:6443",
            "Bootstrap token",
            "no ssh key",
        ] {
            assert!(line.contains(words), "{line}");
        }
        assert!(!line.contains("0123456789abcdef"), "{line}");
        assert!(node.is_some());
    }

    #[test]
    fn the_servers_own_token_is_a_warning() {
        let token = format!("K10{}::server:s3cret", "0f".repeat(32));
        let lines = format!("HOSTNAME=a\nK3S_URL=https://b:6443\nK3S_TOKEN={token}");
        let (findings, node) = of_node(MAC, &dedicated(&lines), None, None);
        assert_eq!(findings[0].level, Level::Warning, "{}", findings[0]);
        assert!(!findings[0].to_string().contains("s3cret") && node.is_some());
    }

    #[test]
    fn a_node_without_its_own_answer_is_an_error_that_says_what_the_node_does() {
        for said in [
            Said::Nothing,
            answer(GOOD),
            dedicated("HOSTNAME=Node_1\nK3S_TOKEN=s3cret"),
            dedicated("HOSTNAME=a\nK3S_TOKEN=K10s3cret"),
            dedicated("HOSTNAME=a\nK3S_URL=http://s3cret@b\nK3S_TOKEN=s3cret"),
            dedicated("HOSTNAME=a"),
            Said::Answer("REQUEST_QUERY_MAC=2c:cf:67:00:00:02\n".to_owned()),
        ] {
            let finding = refused(&said);
            let words = "call itself k3s-000001 and join no cluster";
            assert!(finding.message.contains(words), "{finding}");
        }
    }

    #[test]
    fn a_token_that_the_desk_withholds_is_not_an_error() {
        let said = dedicated(
            "HOSTNAME=a\nK3S_URL=https://b:6443\nK3S_TOKEN_WITHHELD=the node has joined already",
        );
        let (findings, node) = of_node(MAC, &said, None, None);
        assert!(node.is_none());
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!(findings[0].level, Level::NotChecked);
        assert!(findings[0].message.ends_with("the node has joined already"));
    }

    #[test]
    fn a_door_that_the_operator_has_closed_is_a_warning() {
        for (reason, levels) in [
            (CLOSED, vec![Level::Ok, Level::Warning]),
            ("the node has joined already", vec![Level::Ok]),
        ] {
            let said = dedicated(&format!("HOSTNAME=a\nK3S_TOKEN_WITHHELD={reason}"));
            let file = format!("REQUEST_QUERY_MAC={MAC}\nMAC={MAC}\n{GOOD}\n");
            let (findings, node) = of_node(MAC, &said, None, Some(&file));
            let found: Vec<_> = findings.iter().map(|finding| finding.level).collect();
            assert_eq!(found, levels, "{findings:#?}");
            assert!(node.is_some());
        }
    }

    #[test]
    fn what_the_desk_withholds_is_read_in_the_file_and_said_to_be() {
        let said = dedicated("HOSTNAME=a\nK3S_TOKEN_WITHHELD=it was never flashed");
        let of = |lines: &str| {
            let file = format!("REQUEST_QUERY_MAC={MAC}\nMAC={MAC}\n{lines}\n");
            of_node(MAC, &said, None, Some(&file))
        };
        let (findings, node) = of(GOOD);
        assert_eq!(findings[0].level, Level::Ok);
        let words = "by its file, because the desk withholds the token (it was never flashed)";
        assert!(findings[0].message.starts_with(words), "{}", findings[0]);
        assert!(node.is_some());
        for wrong in [
            "HOSTNAME=a\nK3S_URL=http://b:6443\nK3S_TOKEN=s3cret",
            "HOSTNAME=a\nK3S_URL=https://b\nK3S_TOKEN=s3cret",
            "HOSTNAME=a\nK3S_URL=https://b:6443\nK3S_TOKEN= s3cret",
        ] {
            let (findings, node) = of(wrong);
            assert_eq!(findings[0].level, Level::Error, "{}", findings[0]);
            assert!(!findings[0].to_string().contains("s3cret"));
            assert!(node.is_none());
        }
    }

    #[test]
    fn a_group_without_a_cluster_is_read_to_its_end_and_the_image_s_is_asked_for() {
        let lines = "HOSTNAME=a\nK3S_TOKEN=abcdef.0123456789abcdef";
        let (findings, node) = of_node(MAC, &dedicated(lines), None, None);
        assert_eq!(findings[1].level, Level::NotChecked);
        assert!(node.is_some_and(|node| is_of_the_image(&node.server)));
        let server = K3sUrl::parse("https://k3s.lan:6443").expect("an address");
        let (findings, node) = of_node(MAC, &dedicated(lines), Some(&server), None);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(node.is_some_and(|node| node.server == server));
    }

    #[test]
    fn a_stranger_that_gets_nothing_is_ok_and_one_that_gets_the_token_is_a_warning() {
        assert_eq!(of_stranger(MAC, &Said::Nothing).level, Level::Ok);
        let given = of_stranger(MAC, &answer("K3S_TOKEN=s3cret"));
        assert_eq!(given.level, Level::Warning);
        assert!(given.message.contains("token to any machine"), "{given}");
        assert!(!given.to_string().contains("s3cret"), "{given}");
        assert_eq!(of_stranger(MAC, &answer("A=b")).level, Level::Warning);
        assert_eq!(of_stranger(MAC, &dedicated(GOOD)).level, Level::Error);
        let page = Said::Answer("<html>".to_owned());
        assert_eq!(of_stranger(MAC, &page).level, Level::Error);
    }

    #[test]
    fn two_nodes_of_one_name_are_an_error_that_names_both() {
        let node = |mac: Mac| {
            let body = format!("REQUEST_QUERY_MAC={mac}\nMAC={mac}\n{GOOD}\n");
            let (_, node) = of_node(mac, &Said::Answer(body), None, None);
            node.expect("a node")
        };
        let other = Mac([0x2c, 0xcf, 0x67, 0, 0, 2]);
        assert!(twins(&[node(MAC)]).is_empty());
        let found = twins(&[node(MAC), node(other)]);
        assert_eq!((found.len(), found[0].level), (1, Level::Error));
        assert_eq!(found[0].subject, other.to_string());
        assert!(found[0].message.contains(&MAC.to_string()), "{}", found[0]);
    }

    #[test]
    fn the_stranger_is_not_a_known_node() {
        let first = stranger(&[]);
        assert_ne!(stranger(&[first]), first);
    }
}
