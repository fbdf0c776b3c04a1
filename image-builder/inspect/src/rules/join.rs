//! Whether a node can join a cluster, and whether anybody can reach it.

use gild_node::reach::Reach;
use gild_node::settings::Settings;

use crate::image::Image;
use crate::report::Finding;
use crate::root::Kind;

use super::has_ending;

/// What first boot reads.
pub const SETTINGS: &str = "etc/gild/first-boot.toml";

/// Where cloud-init reads whose keys it puts on a node.
const CLOUD_CONFIG: &str = "etc/cloud/cloud.cfg";
const CLOUD_FOLDER: &str = "etc/cloud/cloud.cfg.d";

/// How the kinds of public keys begin that sshd takes.
const KEY_KINDS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];

/// The settings as a node reads them, if it can.
fn settings(image: &Image) -> Option<Settings> {
    Settings::parse(&image.root_text(SETTINGS)?).ok()
}

pub fn matchbox(image: &Image) -> Vec<Finding> {
    let what = if image.root_text(SETTINGS).is_none() {
        "is missing, so no node asks who it is"
    } else if let Some(settings) = settings(image) {
        match &settings.matchbox {
            Some(url) if Reach::of(url) == Reach::Itself => "has each node ask itself who it is",
            None if !settings.without_matchbox => {
                "names no Matchbox and does not say `without_matchbox = true`"
            }
            _ => return Vec::new(),
        }
    } else {
        // The rule about what nodes take reports it.
        return Vec::new();
    };
    vec![Finding::new(SETTINGS, what)]
}

/// Was it built without Matchbox on purpose?
pub fn is_without_matchbox(image: &Image) -> bool {
    settings(image).is_some_and(|settings| settings.without_matchbox)
}

/// Whether it has a key with which a user may log in.
pub fn has_ssh_key(image: &Image) -> bool {
    let drop_ins = image.root.in_folder(CLOUD_FOLDER).map(|(path, _)| path);
    let drop_ins = drop_ins.filter(|path| has_ending(path, "cfg"));
    let in_cloud_config = [CLOUD_CONFIG]
        .into_iter()
        .chain(drop_ins)
        .filter_map(|path| image.root_text(path))
        .any(|text| text.lines().any(gives_a_key));
    // Another rule forbids them, unless an exemption allows them.
    let mut of_users = image.root.nodes.iter().filter(|(path, node)| {
        path.ends_with("/.ssh/authorized_keys") && !matches!(node.kind, Kind::File(0))
    });
    in_cloud_config || of_users.next().is_some()
}

/// Does a line of YAML have a public key, or the name of one to fetch?
fn gives_a_key(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '-', '"', '\'']);
    if line.starts_with('#') {
        return false;
    }
    let imports = ["ssh_import_id", "ssh-import-id"].iter().any(|key| {
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    });
    let words: Vec<&str> = line.split([' ', '\t', '"', '\'', '[', ',']).collect();
    let has_key = words.windows(2).any(|pair| {
        KEY_KINDS.iter().any(|kind| pair[0].starts_with(kind)) && pair[1].starts_with("AAAA")
    });
    imports || has_key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_seen_wherever_yaml_may_have_it() {
        for line in [
            "  - \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here\"",
            "ssh_authorized_keys: [ssh-rsa AAAAB3NzaC1yc2E=]",
            "    - sk-ssh-ed25519@openssh.com AAAAGnNr x",
            "ssh_authorized_keys: ['x', 'ecdsa-sha2-nistp256 AAAAE2Vj me']",
            "  - ssh_import_id: [gh:me]",
            "\"ssh-import-id\" : gh:me",
        ] {
            assert!(gives_a_key(line), "{line}");
        }
        for line in [
            "# - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",
            "ssh_authorized_keys: []",
            "  - ssh_import_id",
            "ssh_deletekeys: true",
            "ssh-ed25519 none",
        ] {
            assert!(!gives_a_key(line), "{line}");
        }
    }
}
