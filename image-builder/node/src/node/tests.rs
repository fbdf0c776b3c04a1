use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g me@here";
const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);
const GOOD: [&str; 5] = [
    "REQUEST_QUERY_MAC=d8:3a:dd:01:02:03",
    "MAC=d8:3a:dd:01:02:03",
    "HOSTNAME=node-1",
    "K3S_URL=https://10.0.0.1:6443",
    "K3S_TOKEN=s3cret-s3cret",
];

fn read(lines: &[&str]) -> Result<Node, NodeError> {
    read_in(None, lines)
}

/// Reads the lines in an image that has a `k3s_url` of its own.
fn read_in(k3s_url: Option<&str>, lines: &[&str]) -> Result<Node, NodeError> {
    let answer = Answer::parse(&lines.join("\n"), MAC).expect("an answer");
    let k3s_url = k3s_url.map(|url| K3sUrl::parse(url).expect("an address"));
    let known = Known {
        k3s_url: k3s_url.as_ref(),
        board_number: None,
    };
    Node::read(MAC, &answer, known)
}

/// The good lines with this one, which replaces the line with the same key.
fn with(line: &str) -> Result<Node, NodeError> {
    let key = line.split_once('=').expect("a key").0;
    let mut lines: Vec<&str> = GOOD
        .into_iter()
        .filter(|good| good.split_once('=').expect("a key").0 != key)
        .collect();
    lines.push(line);
    read(&lines)
}

#[test]
fn a_good_answer_is_a_node() {
    let node = read(&GOOD).expect("a node");
    assert_eq!(node.hostname, "node-1");
    assert_eq!(node.server.as_str(), "https://10.0.0.1:6443");
    assert_eq!(node.node_password.text, node.token.node_password(MAC, None));
    assert!(node.labels.is_empty() && node.ssh_keys.is_empty());
}

#[test]
fn a_group_without_the_cluster_s_address_takes_the_image_s_and_another_s_own_counts() {
    let common = Some("https://10.0.0.9:6443");
    let minimal = ["MAC=d8:3a:dd:01:02:03", GOOD[0], GOOD[2], GOOD[4]];
    let node = read_in(common, &minimal).expect("name and token are enough");
    assert_eq!(node.server.as_str(), "https://10.0.0.9:6443");
    let node = read_in(common, &GOOD).expect("a node");
    assert_eq!(node.server.as_str(), "https://10.0.0.1:6443");
    let error = read(&minimal).expect_err("no address").to_string();
    assert!(error.contains("--k3s-url"), "{error}");
    // A value in the group counts even if it is wrong.
    for wrong in ["K3S_URL=", "K3S_URL=https://10.0.0.1"] {
        let lines = [&minimal[..], &[wrong]].concat();
        let error = read_in(common, &lines).expect_err(wrong);
        assert!(matches!(error, NodeError::Value { .. }), "{error}");
    }
}

#[test]
fn the_default_group_s_name_is_not_used() {
    let node = read(&[GOOD[0], GOOD[2], GOOD[3], GOOD[4]]).expect("a node");
    assert_eq!(node.hostname, "k3s-010203");
}

#[test]
fn what_is_missing_is_named() {
    for (left_out, name) in [(2, "hostname"), (3, "k3s_url"), (4, "k3s_token")] {
        let mut lines = GOOD.to_vec();
        lines.remove(left_out);
        let error = read(&lines).expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn a_value_that_could_do_harm_is_refused_and_a_secret_is_not_repeated() {
    let long = format!("HOSTNAME={}", "a".repeat(64));
    for line in [
        &*long,
        "HOSTNAME=",
        "HOSTNAME=Node",
        "HOSTNAME=a.b",
        "HOSTNAME=-a",
        "HOSTNAME=a-",
        "HOSTNAME=a b",
        "HOSTNAME=$(reboot)",
        "HOSTNAME=localhost",
        "HOSTNAME=a\r",
        "K3S_URL=http://10.0.0.1:6443",
        "K3S_URL=10.0.0.1:6443",
        "K3S_URL=https://",
        "K3S_URL=https://a:99999",
        "K3S_URL=https://a:0",
        "K3S_URL=https://localhost:6443",
        "K3S_URL=https://[::1]:6443",
        "K3S_URL=https://a/b",
        "K3S_URL=https://u:s3cret@a",
        "K3S_URL=https://a?s3cret",
        "K3S_URL=https://a\t",
        "K3S_TOKEN=",
        "K3S_TOKEN=K10s3cret::",
        "K3S_TOKEN=s3cret\u{1}",
        "K3S_NODE_PASSWORD=s3cret",
        "K3S_NODE_PASSWORD=s3cret s3cret",
        "K3S_NODE_LABELS_A=alone",
        "K3S_NODE_LABELS_A=/x=1",
        "K3S_NODE_LABELS_A=a b=1",
        "K3S_NODE_LABELS_A=a=b c",
        "K3S_NODE_LABELS_A=A.b/x=1",
        "K3S_NODE_LABELS_A=node-role.kubernetes.io/worker=true",
        "K3S_NODE_LABELS_A=x.k8s.io/a=b",
        "K3S_NODE_LABELS_A=gild/image=other",
        "K3S_NODE_LABELS_A=gild/board=rock5b",
    ] {
        let error = with(line).expect_err(line).to_string();
        assert!(!error.contains("s3cret"), "{line}: {error}");
    }
}

/// Somebody may have copied half a key into a group. The cluster needs the node all the same.
#[test]
fn a_key_that_lets_nobody_in_is_left_out_and_reported_and_the_node_goes_on() {
    let cut = &KEY[..60];
    for (text, what) in [
        (cut, "is not a whole public key of ssh"),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ me",
            "is not a whole",
        ),
        (
            "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAA",
            "is not a public key",
        ),
        ("ssh-ed25519 short", "is not a public key"),
        (
            &format!("command=\"x y\" {KEY}"),
            "has options before the key, which are not taken",
        ),
        ("ssh-dss AAAA me", "is a key of ssh-dss"),
        ("ssh-rsa-cert-v01@openssh.com AAAA", "is a certificate"),
    ] {
        let node = with(&format!("SSH_KEYS_CUT={text}\nSSH_KEYS_ME={KEY}")).expect(text);
        assert_eq!(node.ssh_keys, [KEY], "{text}");
        let [refused] = &node.refused_keys[..] else {
            panic!("{text}: {:?}", node.refused_keys);
        };
        assert!(
            refused.starts_with("`ssh_keys_cut` in the group's metadata "),
            "{refused}"
        );
        assert!(
            refused.contains(what) && refused.contains("; next: "),
            "{refused}"
        );
    }
}

/// A group that was made from a file has the file's line break.
#[test]
fn the_end_of_a_line_behind_a_key_is_not_part_of_it() {
    for end in ["\n", "\r", "\r\n", " "] {
        let node = with(&format!("SSH_KEYS_ME={KEY}{end}")).expect("a node");
        assert_eq!(node.ssh_keys, [KEY], "{end:?}: {:?}", node.refused_keys);
        assert!(node.refused_keys.is_empty(), "{end:?}");
    }
}

#[test]
fn labels_keys_and_a_password_are_taken_over() {
    let key = KEY;
    let node = with(&format!(
        "K3S_NODE_LABELS_A=topology.kubernetes.io/zone=rack1\nK3S_NODE_LABELS_B=disk=\nSSH_KEYS_ME={key}\nK3S_NODE_PASSWORD=0123456789abcdef"
    ))
    .expect("a node");
    assert_eq!(node.labels["topology.kubernetes.io/zone"], "rack1");
    assert_eq!(node.labels["disk"], "");
    assert_eq!(node.ssh_keys, [key]);
    assert_eq!(node.node_password.text, "0123456789abcdef");
    assert!(matches!(
        with("K3S_NODE_LABELS_A=x=1\nK3S_NODE_LABELS_B=x=2"),
        Err(NodeError::Value { .. })
    ));
}

#[test]
fn a_node_shows_no_secret() {
    let shown = format!(
        "{:?}",
        with("K3S_NODE_PASSWORD=s3cret-of-its-own").expect("a node")
    );
    assert!(!shown.contains("s3cret"), "{shown}");
}
