//! The `KEY=value` lines of Matchbox' `/metadata`.
//!
//! Whether a line is secret depends on its final name, because nested objects can make the same names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::group::Group;

/// The names of public lines. An entry that ends in `_` stands for all names that begin with it. Any other line may be a secret: a token, a
/// password, a registry's login, or a key among the options of k3s.
const PUBLIC: [&str; 7] = [
    "HOSTNAME",
    "MAC",
    "K3S_URL",
    "GILD_BOARD",
    "REQUEST_",
    "SSH_KEYS_",
    "K3S_NODE_LABELS_",
];
/// The name of the line that says why the secret lines are missing.
const WITHHELD: &str = "K3S_TOKEN_WITHHELD";

/// Which part of a group goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Everything, as from Matchbox.
    Whole,
    /// Only the public lines. The text is the reason.
    Public(&'a str),
}

/// The body for a request that this group was selected for.
#[must_use]
pub fn render(
    group: &Group,
    labels: &BTreeMap<String, String>,
    query: &str,
    scope: Scope<'_>,
) -> String {
    let mut lines = lines(group, labels, query);
    if let Scope::Public(reason) = scope {
        lines.retain(|(name, value)| !is_secret(name, value));
        lines.push((WITHHELD.to_owned(), reason.to_owned()));
    }
    // Go iterates over its maps in random order, so no client may depend on the order.
    fastrand::shuffle(&mut lines);
    lines
        .into_iter()
        .map(|(name, value)| name + "=" + &value + "\n")
        .collect()
}

/// A value with a line break continues as lines with other names, and those may be secret.
fn is_secret(name: &str, value: &str) -> bool {
    let is_public =
        |public: &&str| name == *public || public.ends_with('_') && name.starts_with(*public);
    value.contains('\n') || !PUBLIC.iter().any(is_public)
}

/// Whether the group gives something that must not be public.
#[must_use]
pub fn has_secrets(group: &Group) -> bool {
    lines(group, &BTreeMap::new(), "")
        .iter()
        .any(|(name, value)| is_secret(name, value))
}

fn lines(group: &Group, labels: &BTreeMap<String, String>, query: &str) -> Vec<(String, String)> {
    let mut data = group.metadata.clone();
    for (key, value) in &group.selector {
        data.insert(key.to_lowercase(), value.as_str().into());
    }
    data.insert(
        "request".into(),
        serde_json::json!({"query": labels, "raw_query": query}),
    );
    let mut lines = Vec::new();
    add_lines(&mut lines, "", &data);
    lines
}

/// Strings go out as they are: a line break in one makes further lines. Lists and nulls are left out.
fn add_lines(lines: &mut Vec<(String, String)>, prefix: &str, data: &Map<String, Value>) {
    for (key, value) in data {
        let name = format!("{prefix}{key}");
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => go_float(number.as_f64().unwrap_or(f64::INFINITY)),
            Value::Object(nested) => {
                add_lines(lines, &format!("{name}_"), nested);
                continue;
            }
            Value::Array(_) | Value::Null => continue,
        };
        lines.push((name.to_uppercase(), value));
    }
}

/// Every number is a `float64`, written as Go's `%v` does: with an exponent below 1e-4 and from 1e+06 on.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group::parse(
            r#"{"metadata": {"hostname": "a", "k3s_token": "s3cret", "k3s": {"registries": {"x": "p4ss"}, "node_password": "w0rd"},
                "K3s_Token": "other5", "k3s_config": {"vpn-auth": "j0inkey"}, "note": "x", "hostname_": "y", "k3s_url": "https://k:6443"}}"#,
        )
        .expect("a group")
    }

    #[test]
    fn a_group_without_its_secrets_says_so_and_has_the_rest() {
        let body = render(
            &group(),
            &BTreeMap::new(),
            "mac=x",
            Scope::Public("the door is closed"),
        );
        for secret in [
            "s3cret",
            "p4ss",
            "w0rd",
            "other5",
            "j0inkey",
            "NOTE",
            "HOSTNAME_",
        ] {
            assert!(!body.contains(secret), "{body}");
        }
        for line in [
            "HOSTNAME=a\n",
            "K3S_URL=https://k:6443\n",
            "K3S_TOKEN_WITHHELD=the door is closed\n",
        ] {
            assert!(body.contains(line), "{body}");
        }
        let whole = render(&group(), &BTreeMap::new(), "", Scope::Whole);
        assert!(whole.contains("K3S_TOKEN=s3cret\n") && !whole.contains("WITHHELD"));
    }

    #[test]
    fn a_secret_is_one_with_a_token_beside_it_or_without() {
        let has = |metadata: &str| {
            let text = format!("{{\"metadata\": {metadata}}}");
            has_secrets(&Group::parse(&text).expect("a group"))
        };
        assert!(!has(
            r#"{"hostname": "a", "k3s_url": "u", "ssh_keys": {"a": "k"}, "k3s_node_labels": {"a": "b=c"}}"#
        ));
        for secret in [
            r#"{"k3s_token": ""}"#,
            r#"{"k3s_node_password": "p"}"#,
            r#"{"k3s": {"registries": {"x": "p"}}}"#,
            r#"{"hostname": "a\nK3S_TOKEN=t"}"#,
        ] {
            assert!(has(secret), "{secret}");
        }
    }
}
