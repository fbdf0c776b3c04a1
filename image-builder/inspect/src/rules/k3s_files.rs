//! What the image says to k3s on all nodes.

use gild_k3s_files::{DROP_INS, Problem, REGISTRIES, check_drop_in, check_registries};

use crate::image::Image;
use crate::report::Finding;
use crate::root::{Kind, Node};
use crate::secrets::Secret;

/// The modes that such a file may have.
const MODES: [u16; 2] = [0o600, 0o644];

pub fn settings(image: &Image) -> Vec<Finding> {
    let registries = image.root.nodes.get(REGISTRIES);
    let registries = registries.map(|node| (REGISTRIES, node));
    let drop_ins = image.root.in_folder(DROP_INS);
    drop_ins
        .chain(registries)
        .filter_map(|(path, node)| Some(Finding::new(path, problem(image, path, node)?)))
        .collect()
}

fn problem(image: &Image, path: &str, node: &Node) -> Option<String> {
    if !matches!(node.kind, Kind::File(_)) {
        return Some("is not a plain file".to_owned());
    }
    if node.uid != 0 || !MODES.contains(&(node.mode & 0o7777)) {
        return Some("is not root's, with mode 0600 or 0644".to_owned());
    }
    let verdict = match image.root_text(path) {
        Some(text) if path == REGISTRIES => check_registries(&text),
        Some(text) => check_drop_in(path.rsplit('/').next().unwrap_or(path), &text),
        None => Err(Problem::Syntax),
    };
    match verdict.err()? {
        Problem::Secret { .. } if is_reported(image, path) => None,
        problem => Some(problem.to_string()),
    }
}

/// Has a rule about content found it? That rule also sees text in comments, but does not know every way to write YAML.
fn is_reported(image: &Image, path: &str) -> bool {
    let kinds = [
        Secret::K3sToken,
        Secret::BootstrapToken,
        Secret::Password,
        Secret::UrlCredential,
    ];
    let mut hits = image.content.hits.iter();
    hits.any(|hit| hit.path == path && kinds.contains(&hit.secret.secret))
}
