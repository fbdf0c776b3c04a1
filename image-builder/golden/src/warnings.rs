//! What a build warns of: it may be meant, and is probably a mistake.

use gild_node::settings::Settings;

use crate::tree::{Tree, TreeError};

/// Where cloud-init is told whose keys it puts on a node.
const CLOUD_CONFIG: &str = "etc/cloud/{cloud.cfg,cloud.cfg.d/*.cfg}";
/// The words that it is told with.
const KEYS: [&str; 3] = [
    "ssh_authorized_keys",
    "ssh-authorized-keys",
    "ssh_import_id",
];

/// What to warn of, by the site's own files and the settings of first boot in them.
pub fn of(site: &Tree, settings: &Settings) -> Result<Vec<String>, TreeError> {
    Ok(nobody_logs_in(site, settings)?.into_iter().collect())
}

fn nobody_logs_in(site: &Tree, settings: &Settings) -> Result<Option<String>, TreeError> {
    for path in site.glob(CLOUD_CONFIG)? {
        if site.read_text(&path)?.lines().any(gives_keys) {
            return Ok(None);
        }
    }
    let why = "this image has no SSH key, and all its passwords are locked";
    Ok(Some(if settings.matchbox.is_some() {
        format!(
            "{why}: only who is in `ssh_keys` of a node's group in Matchbox can log in to it, and nobody while Matchbox does \
             not answer; next: give --authorized-key FILE, or have `ssh_keys` in each group"
        )
    } else {
        format!(
            "{why}: nobody can ever log in to its nodes; next: give --authorized-key FILE with your public key"
        )
    }))
}

/// Does a line of YAML have one of the keys, in a list or not?
fn gives_keys(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-']);
    let key = line.split(':').next().unwrap_or_default();
    line.contains(':') && KEYS.contains(&key.trim_end().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(settings: &str, files: &[(&str, &str)]) -> String {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_file(path, 0o644, *text).expect("a file");
        }
        let settings = Settings::parse(settings).expect("settings");
        of(&tree, &settings).expect("a tree").join("\n")
    }

    const MATCHBOX: &str = "matchbox = \"https://matchbox.example\"";
    const NOBODY: &str = "without_matchbox = true";

    #[test]
    fn a_node_that_nobody_can_log_in_to_is_warned_of() {
        let asked = warned(MATCHBOX, &[]);
        assert!(asked.contains("only who is in `ssh_keys`"), "{asked}");
        let alone = warned(NOBODY, &[]);
        assert!(alone.contains("nobody can ever log in"), "{alone}");
        for text in [alone, asked] {
            assert!(text.contains("--authorized-key"), "{text}");
        }
    }

    #[test]
    fn whoever_has_a_key_can_log_in_however_it_is_said() {
        let file = "etc/cloud/cloud.cfg.d/70-site.cfg";
        for text in [
            "ssh_authorized_keys:\n  - ssh-ed25519 AAAA me\n",
            "users:\n  - name: me\n    ssh_authorized_keys: [ssh-ed25519 AAAA me]\n",
            "users:\n  - ssh_import_id: [gh:me]\n",
            "\"ssh-authorized-keys\" : []\n",
        ] {
            assert_eq!(warned(MATCHBOX, &[(file, text)]), "", "{text}");
        }
        for (path, text) in [
            (file, "# ssh_authorized_keys: []\n"),
            (file, "cloud_init_modules:\n  - ssh_import_id\n"),
            ("etc/cloud/cloud.cfg.d/README", "ssh_authorized_keys: []\n"),
        ] {
            assert_ne!(warned(MATCHBOX, &[(path, text)]), "", "{path}: {text}");
        }
    }
}
