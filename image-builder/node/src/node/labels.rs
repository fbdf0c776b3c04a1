//! A node's labels: those that Kubernetes accepts, and that a node may set itself.

use std::collections::BTreeMap;

use gild_matchbox::Values;

use super::{NodeError, wrong};

/// The label in which a node names its hardware.
pub const BOARD: &str = "gild/board";
/// The label in which a node names its image.
pub const IMAGE: &str = "gild/image";
const LABELS: &str = "K3S_NODE_LABELS_";

/// The labels that a group gives its node.
pub fn read(values: &Values) -> Result<BTreeMap<String, String>, NodeError> {
    let mut labels = BTreeMap::new();
    for (key, label) in values.below(LABELS)? {
        let (name, value) = parse(label).map_err(|problem| match problem {
            LabelProblem::NoValue => wrong(key, "must be \"label=value\""),
            LabelProblem::Wrong(why) => wrong(key, format!("has a label {why}")),
        })?;
        match labels.insert(name.to_owned(), value.to_owned()) {
            Some(before) if before != value => {
                return Err(wrong(key, format!("gives the label {name} a second value")));
            }
            _ => (),
        }
    }
    Ok(labels)
}

/// Why a label is none that a node gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelProblem {
    /// It has no `=`.
    #[error("is not a label")]
    NoValue,
    /// Its name or its value.
    #[error("is a label {0}")]
    Wrong(&'static str),
}

/// The name and the value of a label: name=value.
pub fn parse(label: &str) -> Result<(&str, &str), LabelProblem> {
    let (name, value) = label.split_once('=').ok_or(LabelProblem::NoValue)?;
    match label_problem(name, value) {
        Some(why) => Err(LabelProblem::Wrong(why)),
        None => Ok((name, value)),
    }
}

fn label_problem(name: &str, value: &str) -> Option<&'static str> {
    let (prefix, last) = match name.split_once('/') {
        Some((prefix, last)) => (Some(prefix), last),
        None => (None, name),
    };
    if !is_label_part(last) || last.is_empty() {
        return Some("whose name Kubernetes does not take");
    }
    if prefix.is_some_and(|prefix| !is_dns_name(prefix)) {
        return Some("whose prefix is not a DNS name");
    }
    if [BOARD, IMAGE].contains(&name) {
        return Some("that the node gives itself, by its board and its image");
    }
    if prefix.is_some_and(|prefix| is_reserved(prefix, name)) {
        return Some(
            "of kubernetes.io or k8s.io that no node may give itself: k3s would not start",
        );
    }
    (!is_label_part(value)).then_some("whose value Kubernetes does not take")
}

fn is_label_part(text: &str) -> bool {
    let at_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && at_end(text.chars().next())
        && at_end(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

/// The kubelet fails if it is to set such a label on itself and does not know the label.
fn is_reserved(prefix: &str, name: &str) -> bool {
    let is_in = |domain: &str| {
        prefix == domain
            || prefix
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    let known = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    ];
    (is_in("kubernetes.io") || is_in("k8s.io"))
        && !is_in("kubelet.kubernetes.io")
        && !is_in("node.kubernetes.io")
        && !known.contains(&name)
}
