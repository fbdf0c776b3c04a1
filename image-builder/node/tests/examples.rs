//! The groups that the operator is given as examples make nodes, and nothing of them is used before it is filled in.

use std::fs;
use std::path::{Path, PathBuf};

use gild_boards::mac::Mac;
use gild_matchbox::Answer;
use gild_node::node::{Known, Node, NodeError};
use gild_node::token::Kind;
use serde_json::Value;

fn examples(folder: &str) -> Vec<(PathBuf, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/examples/matchbox")
        .join(folder);
    let mut examples: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| {
            let path = entry.expect("a file").path();
            let text = fs::read_to_string(&path).expect("its text");
            let json = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, json)
        })
        .collect();
    examples.sort_by(|(one, _), (other, _)| one.cmp(other));
    examples
}

/// As Matchbox does it: keys in upper case, nested ones joined by `_`, values as they are.
fn lines(key: &str, value: &Value, body: &mut String) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let key = match key {
                    "" => name.to_uppercase(),
                    _ => format!("{key}_{}", name.to_uppercase()),
                };
                lines(&key, value, body);
            }
        }
        Value::String(text) => body.extend([key, "=", text, "\n"]),
        other => panic!("{key} is {other}, which Matchbox leaves out or changes"),
    }
}

fn node(group: &Value, fill_in: bool) -> Result<Node, NodeError> {
    let text = group["selector"]["mac"].as_str().expect("a selector");
    let mac = Mac::parse(text).expect("a MAC address");
    assert_eq!(mac.to_string(), text, "as Matchbox writes it");
    let mut body = format!("MAC={mac}\nREQUEST_QUERY_MAC={mac}\n");
    lines("", &group["metadata"], &mut body);
    if fill_in {
        body = body
            .replace("<64 hex digits>", &"0f".repeat(32))
            .replace("<32 hex digits of this node's own>", &"0f".repeat(16))
            .replace("<password>", "s3cret")
            .replace(
                "<base64>",
                &format!("AAAAC3NzaC1lZDI1NTE5AAAA{}", "I".repeat(44)),
            );
    }
    let answer = Answer::parse(&body, mac).expect("an answer");
    Node::read(mac, &answer, Known::default())
}

#[test]
fn the_example_groups_are_nodes_once_they_are_filled_in() {
    let profiles: Vec<Value> = examples("profiles")
        .into_iter()
        .map(|(_, json)| json)
        .collect();
    let groups = examples("groups");
    assert_eq!(groups.len(), gild_boards::all().len());
    for (path, group) in groups {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let node = node(&group, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(node.hostname, name);
        assert_eq!(node.token.kind(), Kind::Secure);
        assert_eq!(node.node_password.text.len(), 32);
        assert!(
            profiles
                .iter()
                .any(|profile| profile["id"] == group["profile"]),
            "{name}"
        );
    }
}

#[test]
fn an_example_as_it_is_joins_nothing() {
    for (path, group) in examples("groups") {
        assert!(
            matches!(node(&group, false), Err(NodeError::Token(_))),
            "{}",
            path.display()
        );
    }
}
