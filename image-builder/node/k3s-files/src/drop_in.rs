//! The files in `config.yaml.d`, because `config.yaml` itself belongs to the node.

use serde_json::Value;

use crate::{Problem, mapping};

/// k3s reads the files in this folder after `config.yaml`, in the order of their names. For each key the last file wins, and `key+` adds to
/// a list.
pub const DROP_INS: &str = "etc/rancher/k3s/config.yaml.d";

const MATCHBOX: &str =
    "the token comes from the metadata server (a desk or Matchbox), `k3s_token` in a node's group";
const ONE_NODE: &str = "it belongs to one node, and an image is for all; next: leave it out, and set it in the node's group or in the network";

/// Keys that k3s also knows by a single letter.
const LETTERS: [(&str, &str); 5] = [
    ("c", "config"),
    ("t", "token"),
    ("s", "server"),
    ("i", "node-ip"),
    ("d", "data-dir"),
];

/// Parts of the names of keys that are secrets.
const SECRETS: [&str; 4] = ["token", "secret", "password", "access-key"];

/// Keys that belong elsewhere, and where.
const ELSEWHERE: [(&str, &str); 11] = [
    (
        "data-dir",
        "first boot and `gild-reprovision` look in its usual place; next: leave it out",
    ),
    (
        "config",
        "first boot writes /etc/rancher/k3s/config.yaml; next: leave it out",
    ),
    (
        "with-node-id",
        "it would give nodes other names than their groups give them; next: leave it out",
    ),
    (
        "server",
        "the cluster's address comes from a node's group or from the image's own settings; next: `k3s_url` in the group, or \
         --k3s-url",
    ),
    ("node-name", ONE_NODE),
    ("node-ip", ONE_NODE),
    ("node-external-ip", ONE_NODE),
    (
        "node-label",
        "it would replace the labels that gild and its group give the node, among them gild/board; next: `node-label+`, which \
         adds to them",
    ),
    (
        "private-registry",
        "gild looks for registries only in /etc/rancher/k3s/registries.yaml; next: use that file",
    ),
    (
        "datastore-endpoint",
        "it is a server's, and nodes of this image are agents; next: leave it out",
    ),
    (
        "cluster-init",
        "it is a server's, and nodes of this image are agents; next: leave it out",
    ),
];

/// The long name of a key that k3s also knows by a single letter.
#[must_use]
pub fn long_name(name: &str) -> &str {
    let long = LETTERS.iter().find(|(letter, _)| *letter == name);
    long.map_or(name, |(_, long)| long)
}

/// Checks a file with this name and this text.
pub fn check(name: &str, text: &str) -> Result<(), Problem> {
    let lower = name.to_ascii_lowercase();
    if name.starts_with('.') || ![".yaml", ".yml"].iter().any(|end| lower.ends_with(end)) {
        return Err(Problem::Name);
    }
    for (key, value) in mapping(text)? {
        key_may_be_there(&key)?;
        let is_plain = |value: &Value| !value.is_object() && !value.is_array();
        let is_good = match &value {
            Value::Array(list) => list.iter().all(is_plain),
            value => is_plain(value),
        };
        if !is_good {
            return Err(Problem::Value { key });
        }
    }
    Ok(())
}

fn key_may_be_there(key: &str) -> Result<(), Problem> {
    let (name, adds) = match key.strip_suffix('+') {
        Some(name) => (name, true),
        None => (key, false),
    };
    let name = name.trim().trim_start_matches('-');
    let name = long_name(name);
    let key = key.to_owned();
    if name == "vpn-auth" || SECRETS.iter().any(|part| name.contains(part)) {
        let instead = MATCHBOX;
        return Err(Problem::Secret { key, instead });
    }
    if name == "node-label" && adds {
        return Ok(());
    }
    match ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        Some((_, why)) => Err(Problem::Elsewhere { key, why }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match check("50-site.yaml", text) {
            Ok(()) => String::new(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn what_all_nodes_may_have_is_taken() {
        for text in [
            "",
            "# nothing yet\n",
            "node-taint: [\"example.com/edge=true:NoSchedule\"]\nkubelet-arg:\n  - max-pods=50\n  - \"eviction-hard=memory.available<200Mi\"\n",
            "node-label+: [\"example.com/site=a\"]\nflannel-iface: end0\nprotect-kernel-defaults: true\nlb-server-port: 6445\n",
        ] {
            assert_eq!(refused(text), "", "{text}");
        }
    }

    #[test]
    fn secrets_are_refused_however_they_are_written_and_never_quoted() {
        for key in [
            "token",
            "token+",
            "t",
            "--token",
            "agent-token",
            "token-file",
            "agent-token-file",
            "cluster-secret",
            "vpn-auth",
            "etcd-s3-secret-key",
            "etcd-s3-access-key",
        ] {
            for text in [
                format!("\"{key}\": s3cret\n"),
                format!("? {key}\n: [s3cret]\n"),
            ] {
                let said = refused(&text);
                assert!(
                    said.contains("is a secret") && said.contains(key),
                    "{text}: {said}"
                );
                assert!(!said.contains("s3cret"), "{said}");
            }
        }
    }

    #[test]
    fn what_matchbox_says_or_is_one_node_s_is_refused_with_its_place() {
        for (text, complaint) in [
            ("server: https://a:6443\n", "--k3s-url"),
            ("s: https://a:6443\n", "--k3s-url"),
            ("node-name: a\n", "belongs to one node"),
            ("node-ip+: [192.0.2.1]\n", "belongs to one node"),
            ("node-label: [a=b]\n", "node-label+"),
            ("private-registry: /etc/x\n", "registries.yaml"),
            ("data-dir: /mnt\n", "usual place"),
            ("d: /mnt\n", "usual place"),
            ("config: /etc/x\n", "first boot writes"),
            ("with-node-id: true\n", "other names"),
        ] {
            let said = refused(text);
            assert!(said.contains(complaint), "{text}: {said}");
        }
    }

    #[test]
    fn what_k3s_would_not_read_or_not_start_with_is_refused() {
        for (text, problem) in [
            ("kubelet-arg: [s3cret\n", Problem::Syntax),
            ("debug: true\ndebug: false\n", Problem::Syntax),
            ("- kubelet-arg\n", Problem::Form),
            ("kubelet-arg\n", Problem::Form),
            (
                "kubelet-arg: {max-pods: 50}\n",
                Problem::Value {
                    key: "kubelet-arg".to_owned(),
                },
            ),
        ] {
            assert_eq!(check("a.yaml", text), Err(problem), "{text}");
        }
        for name in ["README", "a.yaml.bak", ".a.yaml", "a.json"] {
            assert_eq!(check(name, ""), Err(Problem::Name), "{name}");
        }
        assert_eq!(check("a.yml", ""), Ok(()));
    }
}
