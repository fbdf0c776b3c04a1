//! What a site's overlays say to k3s. The node's own settings and all secrets come from Matchbox.

use gild_k3s_files::{DROP_INS, Problem, REGISTRIES, check_drop_in, check_registries};

use crate::tree::{Entry, Kind, Tree, TreeError};

/// Places that the seal empties, because on other machines they hold a token.
const SEALED: &str = "etc/{default,sysconfig}/k3s*";
const SERVICE_ENV: &str = "etc/systemd/system/k3s*.env";
const CONFIG: &str = "etc/rancher/k3s/config.yaml";

/// Why a file of an overlay cannot be in an image.
#[derive(Debug, thiserror::Error)]
pub enum K3sSettingsError {
    /// k3s or the rules of an image would not take it.
    #[error("your overlay's /{path}: {problem}")]
    Refused {
        /// The file.
        path: String,
        /// Why not.
        problem: Problem,
    },
    /// A link, a program or a folder.
    #[error(
        "your overlay's /{path} is not a plain file that can only be read; next: chmod 644, and no link"
    )]
    NotPlain {
        /// The file.
        path: String,
    },
    /// A file that would be lost.
    #[error(
        "your overlay's /{path} has no place in an image: the node's own settings and its token come from the metadata server (a desk or Matchbox); next: options of k3s \
         into /{DROP_INS}/NAME.yaml, environment such as a proxy into /etc/systemd/system/k3s-agent.service.d/NAME.conf, as \
         `[Service]` and `Environment=NAME=VALUE`"
    )]
    Lost {
        /// The file.
        path: String,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Checks what the overlays, in a separate tree, have for k3s.
pub fn check(overlays: &Tree) -> Result<(), K3sSettingsError> {
    for pattern in [CONFIG, SEALED, SERVICE_ENV] {
        if let Some(path) = overlays.glob(pattern)?.into_iter().next() {
            return Err(K3sSettingsError::Lost { path });
        }
    }
    for path in overlays.glob(&format!("{DROP_INS}/*"))? {
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        judge(overlays, path, |text| check_drop_in(&name, text))?;
    }
    if overlays.contains(REGISTRIES) {
        judge(overlays, REGISTRIES.to_owned(), check_registries)?;
    }
    Ok(())
}

fn judge(
    overlays: &Tree,
    path: String,
    check: impl FnOnce(&str) -> Result<(), Problem>,
) -> Result<(), K3sSettingsError> {
    let is_plain =
        |entry: &Entry| matches!(entry.kind, Kind::File { .. }) && entry.mode & 0o133 == 0;
    if !overlays.get(&path).is_some_and(is_plain) {
        return Err(K3sSettingsError::NotPlain { path });
    }
    let bytes = overlays.read(&path)?;
    let verdict = match std::str::from_utf8(&bytes) {
        Ok(text) => check(text),
        Err(_) => Err(Problem::Syntax),
    };
    verdict.map_err(|problem| K3sSettingsError::Refused { path, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, mode: u32, text: &str) -> String {
        let mut tree = Tree::default();
        tree.insert_file(path, mode, text).expect("a file");
        check(&tree)
            .err()
            .map_or(String::new(), |error| error.to_string())
    }

    #[test]
    fn settings_for_all_nodes_are_taken() {
        let text = "kubelet-arg: [max-pods=50]\n";
        for mode in [0o644, 0o600] {
            assert_eq!(
                said("etc/rancher/k3s/config.yaml.d/50-site.yaml", mode, text),
                ""
            );
        }
        assert_eq!(
            said("etc/rancher/k3s/registries.yaml", 0o644, "mirrors: {}\n"),
            ""
        );
        assert_eq!(
            said(
                "etc/systemd/system/k3s-agent.service.d/proxy.conf",
                0o644,
                "[Service]\n"
            ),
            ""
        );
    }

    #[test]
    fn what_has_another_place_is_refused_and_the_place_is_said() {
        for (path, mode, text, complaint) in [
            (
                "etc/rancher/k3s/config.yaml.d/50.yaml",
                0o644,
                "token: s3cret\n",
                "`k3s_token`",
            ),
            (
                "etc/rancher/k3s/config.yaml.d/50.yaml",
                0o644,
                "server: https://a:6443\n",
                "--k3s-url",
            ),
            (
                "etc/rancher/k3s/config.yaml.d/50.yaml",
                0o755,
                "debug: true\n",
                "chmod 644",
            ),
            (
                "etc/rancher/k3s/config.yaml.d/README",
                0o644,
                "",
                "end in .yaml",
            ),
            (
                "etc/rancher/k3s/registries.yaml",
                0o644,
                "configs: {r: {auth: {password: s3cret}}}\n",
                "each node's group",
            ),
            (
                "etc/rancher/k3s/config.yaml",
                0o644,
                "debug: true\n",
                "config.yaml.d/NAME.yaml",
            ),
            (
                "etc/default/k3s-agent",
                0o644,
                "HTTP_PROXY=http://p.example\n",
                "k3s-agent.service.d",
            ),
            (
                "etc/systemd/system/k3s-agent.service.env",
                0o644,
                "",
                "k3s-agent.service.d",
            ),
        ] {
            let said = said(path, mode, text);
            assert!(said.contains(complaint), "{path}: {said}");
            assert!(said.contains(path) && !said.contains("s3cret"), "{said}");
        }
        let mut tree = Tree::default();
        tree.insert_symlink("etc/rancher/k3s/config.yaml.d/a.yaml", "/etc/passwd")
            .expect("a link");
        assert!(matches!(
            check(&tree),
            Err(K3sSettingsError::NotPlain { .. })
        ));
    }
}
