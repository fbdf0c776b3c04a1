//! A build warns of what is probably a mistake, but may be intended.

use gild_node::reach::Reach;
use gild_node::settings::Settings;

use crate::base::Mirrors;
use crate::tree::{Tree, TreeError};

/// Where cloud-init reads whose keys it puts on a node.
const CLOUD_CONFIG: &str = "etc/cloud/{cloud.cfg,cloud.cfg.d/*.cfg}";
/// The words for it.
const KEYS: [&str; 3] = [
    "ssh_authorized_keys",
    "ssh-authorized-keys",
    "ssh_import_id",
];

/// What to warn of, by the site's own files, the settings of first boot in them, and the mirrors that nodes get.
pub fn of(site: &Tree, settings: &Settings, mirrors: &Mirrors) -> Result<Vec<String>, TreeError> {
    let one_label = names_without_a_domain(settings, mirrors);
    Ok(nobody_logs_in(site, settings)?
        .into_iter()
        .chain(one_label)
        .collect())
}

fn names_without_a_domain(settings: &Settings, mirrors: &Mirrors) -> Vec<String> {
    let matchbox = settings.matchbox.as_ref().map(ToString::to_string);
    let k3s_url = settings.k3s_url.as_ref().map(ToString::to_string);
    let addresses = [
        ("the metadata server", matchbox.as_deref()),
        ("the cluster", k3s_url.as_deref()),
        ("the Debian mirror", Some(&*mirrors.main)),
        ("the security mirror", mirrors.security.as_deref()),
    ];
    let addresses = addresses.into_iter().filter_map(|(what, url)| {
        url.filter(|url| Reach::of_text(url) == Some(Reach::OneLabel))
            .map(|url| (what, url))
    });
    addresses
        .map(|(what, url)| {
            format!(
                "{what} is at {url}, a name without a domain: a node finds it only if its DHCP server gives the domain, \
                 whatever this machine finds; next: give the name with its domain, or an IP address"
            )
        })
        .collect()
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
            "{why}: only people with a key in `ssh_keys` of a node's group can log in to it, and nobody while the metadata server (a desk or Matchbox) \
             does not answer; next: give --authorized-key FILE, or have `ssh_keys` in each group"
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

    fn mirrors(main: &str, security: Option<&str>) -> Mirrors {
        Mirrors {
            main: main.to_owned(),
            security: security.map(str::to_owned),
        }
    }

    fn warned(settings: &str, files: &[(&str, &str)]) -> String {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_file(path, 0o644, *text).expect("a file");
        }
        let settings = Settings::parse(settings).expect("settings");
        let mirrors = mirrors("https://mirror.example/debian", None);
        of(&tree, &settings, &mirrors).expect("a tree").join("\n")
    }

    const MATCHBOX: &str = "matchbox = \"https://matchbox.example\"";
    const NOBODY: &str = "without_matchbox = true";

    #[test]
    fn a_node_that_nobody_can_log_in_to_is_warned_of() {
        let asked = warned(MATCHBOX, &[]);
        assert!(
            asked.contains("only people with a key in `ssh_keys`"),
            "{asked}"
        );
        let alone = warned(NOBODY, &[]);
        assert!(alone.contains("nobody can ever log in"), "{alone}");
        for text in [alone, asked] {
            assert!(text.contains("--authorized-key"), "{text}");
        }
    }

    #[test]
    fn a_user_with_a_key_can_log_in_however_it_is_given() {
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

    #[test]
    fn a_name_that_only_a_dhcp_server_s_domain_completes_is_warned_of() {
        let settings = "matchbox = \"http://matchbox:8080\"\nk3s_url = \"https://k3s:6443\"";
        let settings = Settings::parse(settings).expect("settings");
        let short = mirrors("http://apt/debian", Some("http://apt/debian-security"));
        let said = names_without_a_domain(&settings, &short);
        let wanted = [
            "the metadata server is at",
            "https://k3s:6443",
            "http://apt/debian,",
            "security mirror",
        ];
        assert_eq!(said.len(), wanted.len(), "{said:?}");
        for (said, wanted) in said.iter().zip(wanted) {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        let settings = "matchbox = \"http://10.0.0.1\"\nk3s_url = \"https://k3s.lan:6443\"";
        let settings = Settings::parse(settings).expect("settings");
        let whole = mirrors("http://apt.lan/debian", None);
        assert!(names_without_a_domain(&settings, &whole).is_empty());
    }
}
