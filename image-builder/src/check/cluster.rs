//! Asks the cluster's servers whether they would let the nodes in, by the node's own first two requests.

use std::time::Duration;

use gild_node::cluster::{self, Trouble};
use gild_node::k3s_url::K3sUrl;
use gild_node::node::Node;
use gild_node::token::Token;

use gild_source::within::{self, Begun};

use super::identity::is_of_the_image;
use super::report::{Check, Finding};

/// For both requests to one server: it has ten seconds for each answer, and five for a connection.
const WHOLE: Duration = Duration::from_secs(30);

/// A cluster's address, a token for it, and the nodes that have both.
struct Way {
    server: K3sUrl,
    token: Token,
    nodes: Vec<String>,
}

/// A way with the attempt to take it. Nothing was attempted if only the image has the address.
struct Looking {
    way: Way,
    look: Option<Begun<Result<(), Trouble>>>,
}

/// What came of it.
enum Outcome {
    LetsIn,
    Refuses(Trouble),
    Late,
    NotAsked,
}

/// Looks whether the nodes get in: once for each token, and not for each node.
pub fn judge(nodes: &[Node]) -> Vec<Finding> {
    if nodes.is_empty() {
        return vec![Finding::not_checked(
            Check::Cluster,
            "the cluster",
            "no node was found that knows its cluster and has a token",
            "correct what the lines on the metadata server and the nodes say, or give --matchbox and --groups",
        )];
    }
    let looking: Vec<Looking> = ways(nodes).into_iter().map(begin).collect();
    looking
        .into_iter()
        .flat_map(|Looking { way, look }| of_way(&way, &outcome(look)))
        .collect()
}

fn begin(way: Way) -> Looking {
    let (server, token) = (way.server.clone(), way.token.clone());
    let is_known = !is_of_the_image(&server);
    let look = move || cluster::look(&server, &token).map(drop);
    Looking {
        look: is_known.then(|| within::begin(WHOLE, look)),
        way,
    }
}

fn outcome(look: Option<Begun<Result<(), Trouble>>>) -> Outcome {
    let Some(look) = look else {
        return Outcome::NotAsked;
    };
    look.outcome().map_or(Outcome::Late, |looked| match looked {
        Ok(()) => Outcome::LetsIn,
        Err(trouble) => Outcome::Refuses(trouble),
    })
}

fn ways(nodes: &[Node]) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for node in nodes {
        let same = ways
            .iter_mut()
            .find(|way| way.server == node.server && way.token == node.token);
        match same {
            Some(way) => way.nodes.push(node.hostname.clone()),
            None => ways.push(Way {
                server: node.server.clone(),
                token: node.token.clone(),
                nodes: vec![node.hostname.clone()],
            }),
        }
    }
    ways
}

/// Judges one token.
fn of_way(way: &Way, outcome: &Outcome) -> Vec<Finding> {
    let Way {
        server,
        token,
        nodes,
    } = way;
    let whose = match &nodes[..] {
        [first, rest @ ..] if rest.len() > 2 => format!("{first} and {} more", rest.len()),
        all => all.join(", "),
    };
    let subject = if is_of_the_image(server) {
        "the image's cluster"
    } else {
        server.as_str()
    };
    let looked = match outcome {
        Outcome::NotAsked => Finding::not_checked(
            Check::Cluster,
            subject,
            &format!("its address for {whose} is not known here"),
            "give --k3s-url with the address that the image was built with",
        ),
        Outcome::Late => Finding::error(
            Check::Cluster,
            subject,
            &format!("no result after {} s, for {whose}", WHOLE.as_secs()),
            "look at the name servers of this machine, and at the cluster's servers",
        ),
        Outcome::LetsIn => {
            let authority = match token.authority() {
                Some(_) => "its authority is the token's, and ",
                None => "",
            };
            let text = format!("it answers, {authority}it takes the token of {whose}");
            Finding::ok(Check::Cluster, subject, text)
        }
        Outcome::Refuses(trouble) => {
            let where_groups_are = if trouble.is_of_group() {
                ". A desk has its groups in groups/, and what further nodes get in cluster.json"
            } else {
                ""
            };
            let text = format!("it does not let {whose} in: {trouble}{where_groups_are}");
            Finding::error(Check::Cluster, subject, &text, "look at the server's log")
        }
    };
    let weak = token.weakness().map(|weakness| {
        let text = format!("for {whose}: {weakness}");
        Finding::warning(Check::Cluster, subject, &text, "use an agent token, K10...")
    });
    [looked].into_iter().chain(weak).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn way(token: &str) -> Way {
        Way {
            server: K3sUrl::parse("https://k3s.lan:6443").expect("an address"),
            token: Token::parse(token).expect("a token"),
            nodes: vec!["node-1".to_owned()],
        }
    }

    fn secure() -> Way {
        way(&format!("K10{}::node:s3cret", "0f".repeat(32)))
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_cluster_that_takes_its_own_token_is_ok() {
        let found = of_way(&secure(), &Outcome::LetsIn);
        assert_eq!(levels(&found), [Level::Ok], "{found:#?}");
        assert!(!found[0].to_string().contains("s3cret"), "{}", found[0]);
    }

    #[test]
    fn a_token_without_the_hash_of_the_authority_is_a_warning() {
        for token in ["s3cret-s3cret", "abcdef.0123456789abcdef"] {
            let found = of_way(&way(token), &Outcome::LetsIn);
            assert_eq!(levels(&found), [Level::Ok, Level::Warning], "{found:#?}");
            assert!(found.iter().all(|line| !line.to_string().contains(token)));
        }
    }

    #[test]
    fn the_servers_own_token_is_a_warning() {
        let own = format!("K10{}::server:s3cret", "0f".repeat(32));
        let found = of_way(&way(&own), &Outcome::LetsIn);
        assert_eq!(levels(&found), [Level::Ok, Level::Warning], "{found:#?}");
    }

    #[test]
    fn a_cluster_that_refuses_or_hangs_is_an_error_with_what_to_do() {
        let refused = Trouble::Token("https://k3s.lan:6443".to_owned());
        for outcome in [Outcome::Refuses(refused), Outcome::Late] {
            let found = of_way(&secure(), &outcome);
            assert_eq!(levels(&found), [Level::Error], "{found:#?}");
            assert!(found[0].next.as_ref().is_some_and(|next| !next.is_empty()));
        }
    }

    #[test]
    fn where_the_group_is_wrong_the_files_of_a_desk_are_named() {
        let server = || "https://k3s.lan:6443".to_owned();
        let says = |trouble| {
            let found = of_way(&secure(), &Outcome::Refuses(trouble));
            found[0].next.clone().expect("a next step")
        };
        assert!(says(Trouble::Token(server())).contains("cluster.json"));
        let silent = Trouble::Silent(server(), "refused".to_owned());
        assert!(!says(silent).contains("cluster.json"));
    }

    #[test]
    fn a_cluster_that_only_the_image_names_is_not_checked() {
        assert_eq!(
            levels(&of_way(&secure(), &Outcome::NotAsked)),
            [Level::NotChecked]
        );
    }
}
