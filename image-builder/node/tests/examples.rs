//! The example groups for operators make valid nodes once they are filled in. Nothing of them works before that.

use std::fs;
use std::net::IpAddr;
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

/// The lines that Matchbox makes of a group: keys in upper case, nested ones joined with `_`, values unchanged.
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
    for board in gild_boards::all() {
        let profile = format!("gild-{}", board.name);
        assert!(
            groups.iter().any(|(_, group)| group["profile"] == *profile),
            "docs/examples/matchbox/groups has no node with the profile {profile}"
        );
    }
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

/// Kubernetes ignores an unknown field. Then the policy would allow or forbid something else.
#[test]
fn the_policy_for_pods_has_only_fields_that_kubernetes_knows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/examples/kubernetes/pods-without-matchbox.yaml");
    let text = fs::read_to_string(path).expect("the example");
    let policy: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(policy["apiVersion"], "networking.k8s.io/v1");
    assert_eq!(policy["kind"], "NetworkPolicy");
    let fields = |value: &Value, known: &[&str]| {
        for field in value.as_object().expect("a mapping").keys() {
            assert!(known.contains(&field.as_str()), "{field} in {value}");
        }
    };
    fields(&policy, &["apiVersion", "kind", "metadata", "spec"]);
    fields(&policy["metadata"], &["name", "namespace"]);
    let spec = &policy["spec"];
    fields(spec, &["podSelector", "policyTypes", "egress"]);
    // The policy is for all pods of the namespace, and only for what they send.
    assert_eq!(spec["podSelector"], serde_json::json!({}));
    assert_eq!(spec["policyTypes"], serde_json::json!(["Egress"]));
    let mut kept_out = Vec::new();
    for rule in spec["egress"].as_array().expect("rules") {
        fields(rule, &["to", "ports"]);
        for peer in rule["to"].as_array().expect("peers") {
            fields(peer, &["ipBlock"]);
            let block = &peer["ipBlock"];
            fields(block, &["cidr", "except"]);
            // A block that is open on all ports must exclude Matchbox. Otherwise pods would reach it through the machine's other addresses.
            assert!(
                rule["ports"].is_array() || block["except"].is_array(),
                "{block}"
            );
            let (whole, _) = network(&block["cidr"]);
            for part in block["except"].as_array().into_iter().flatten() {
                let (address, bits) = network(part);
                assert_eq!(whole.is_ipv4(), address.is_ipv4(), "{part}");
                kept_out.push((address, bits));
            }
        }
        for port in rule["ports"].as_array().into_iter().flatten() {
            fields(port, &["protocol", "port"]);
            assert_eq!(
                (&port["protocol"], &port["port"]),
                (&"TCP".into(), &6443.into())
            );
        }
    }
    let matchbox = "192.168.1.10".parse().expect("an address");
    assert_eq!(kept_out, [(matchbox, 32)]);
}

fn network(value: &Value) -> (IpAddr, u8) {
    let (address, bits) = value
        .as_str()
        .and_then(|text| text.split_once('/'))
        .expect("a network");
    let address: IpAddr = address.parse().expect("its address");
    let bits = bits.parse().expect("its length");
    assert!(bits <= if address.is_ipv4() { 32 } else { 128 });
    (address, bits)
}
