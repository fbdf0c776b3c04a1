//! The image's settings for first boot, read with the node's own code: gild builds no image with settings that a node would refuse.

use gild_node::client::{self, FetchError};
use gild_node::reach::Reach;
use gild_node::settings::{Problem, Settings};

use crate::authority::{self, NoAuthority};
use crate::site::FIRST_BOOT;
use crate::tree::{Tree, TreeError};

/// Why nodes could not use the image's settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not of the form that a node reads.
    #[error(
        "nodes would refuse /{FIRST_BOOT}, which --matchbox and --k3s-url write or your overlay has"
    )]
    Refused(#[source] Problem),
    /// Nothing says where nodes ask, or that they are not to.
    #[error(
        "/{FIRST_BOOT} names no metadata server (a desk or Matchbox), so nodes would not learn who they are and join no cluster; next: give --desk DIR, --matchbox \
         URL, or --without-matchbox; in your own file, `matchbox = \"URL\"` or `without_matchbox = true`"
    )]
    NoMatchbox,
    /// Every node would ask itself.
    #[error(
        "the metadata server's address {url} leads each node to itself; next: give an address by which nodes reach the machine that it \
         runs on"
    )]
    AsksItself {
        /// The address.
        url: String,
    },
    /// The certificates cannot be used.
    #[error(
        "nodes could not check the metadata server's certificate with {path}, which --matchbox-ca or your overlay gives; next: a PEM file with the certificate of its authority"
    )]
    Authorities {
        /// Their path in the image.
        path: String,
        /// Why not.
        source: FetchError,
    },
    /// A server's certificate where its authority's is needed.
    #[error(
        "{path}, which --matchbox-ca or your overlay gives, is a server's own certificate and not its authority's: {why}; next: {}",
        authority::how_to(host)
    )]
    NoAuthority {
        /// Their path in the image.
        path: String,
        /// Matchbox's host.
        host: String,
        /// By what it is known.
        why: NoAuthority,
    },
    /// The certificates are not there.
    #[error(
        "/{FIRST_BOOT} names {path} as its `ca`, which the image does not have; next: lay it in with --overlay"
    )]
    NoAuthorities {
        /// Their path in the image.
        path: String,
    },
    /// Certificates that no node would look at.
    #[error(
        "certificates for the metadata server were given, but its address is not https; next: give an address that begins with https, or no certificates"
    )]
    UnusedAuthorities,
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Reads and checks the tree's settings for first boot.
pub fn check(tree: &Tree) -> Result<Settings, SettingsError> {
    let settings = read(tree)?;
    check_authorities(tree, &settings)?;
    Ok(settings)
}

/// The tree's settings for first boot. They must say where nodes ask who they are, or that nodes ask nobody.
pub fn read(tree: &Tree) -> Result<Settings, SettingsError> {
    let bytes = match tree.read(FIRST_BOOT) {
        Err(TreeError::Missing { .. }) => return Err(SettingsError::NoMatchbox),
        other => other?,
    };
    let text = String::from_utf8(bytes)
        .map_err(|error| SettingsError::Refused(Problem::Syntax(error.to_string())))?;
    let settings = Settings::parse(&text).map_err(SettingsError::Refused)?;
    if settings.matchbox.is_none() && !settings.without_matchbox {
        return Err(SettingsError::NoMatchbox);
    }
    if let Some(url) = settings
        .matchbox
        .as_ref()
        .filter(|url| Reach::of(url) == Reach::Itself)
    {
        return Err(SettingsError::AsksItself {
            url: url.to_string(),
        });
    }
    Ok(settings)
}

/// Checks that nodes can use the certificates that the settings name.
pub fn check_authorities(tree: &Tree, settings: &Settings) -> Result<(), SettingsError> {
    let Some(ca) = &settings.ca else {
        return Ok(());
    };
    let asked = [&settings.matchbox, &settings.order_url];
    let mut asked = asked.into_iter().flatten();
    let host = asked
        .find(|url| url.scheme() == "https")
        .and_then(|url| url.host_str())
        .ok_or(SettingsError::UnusedAuthorities)?;
    let path = ca.display().to_string();
    let pem = match tree.read(&path) {
        Err(TreeError::Missing { .. }) => return Err(SettingsError::NoAuthorities { path }),
        other => other?,
    };
    if let Err(source) = client::authorities(&pem) {
        return Err(SettingsError::Authorities { path, source });
    }
    authority::check(&pem, host).map_err(|why| SettingsError::NoAuthority {
        path,
        host: host.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &[u8], ca: Option<&str>) -> String {
        let mut tree = Tree::default();
        tree.insert_file(FIRST_BOOT, 0o644, settings.to_vec())
            .expect("a file");
        if let Some(ca) = ca {
            tree.insert_file("etc/gild/ca.pem", 0o644, ca)
                .expect("a file");
        }
        let Err(error) = check(&tree) else {
            return String::new();
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    }

    #[test]
    fn what_a_node_would_refuse_is_refused() {
        let good = b"deadline_seconds = 30\nwithout_matchbox = true\n";
        assert_eq!(said(good, None), "");
        let https = "matchbox = \"https://mb.example\"\nca = \"/etc/gild/ca.pem\"\n";
        for (settings, ca, complaint) in [
            ("deadline = 30\n", None, "unknown field"),
            (
                "matchbox = \"http://localhost:8080\"\n",
                None,
                "leads each node to itself",
            ),
            (
                "matchbox = \"https://mb.example:80800\"\n",
                None,
                "not a URL",
            ),
            (
                "without_matchbox = true\nca = \"/etc/gild/ca.pem\"\n",
                Some(""),
                "its address is not https",
            ),
            (https, None, "the image does not have"),
            (https, Some("nothing\n"), "no certificate"),
            (
                https,
                Some("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"),
                "0 of them can be read",
            ),
        ] {
            let said = said(settings.as_bytes(), ca);
            assert!(said.contains(complaint), "{settings}: {said}");
        }
        assert!(said(b"# \xff\n", None).contains("utf-8"));
    }

    #[test]
    fn a_server_s_certificate_is_not_its_authority_s_and_the_way_to_one_is_shown() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["mb.example".to_owned()]);
        let server = params.expect("a name").self_signed(&key);
        let server = server.expect("a certificate").pem();
        let settings = b"matchbox = \"https://mb.example\"\nca = \"/etc/gild/ca.pem\"\n";
        let said = said(settings, Some(&server));
        for part in ["server's own certificate", "DNS:mb.example", "-out ca.pem"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn whether_nodes_ask_matchbox_must_be_said() {
        assert!(said(b"deadline_seconds = 30\n", None).contains("--without-matchbox"));
        assert!(matches!(
            check(&Tree::default()),
            Err(SettingsError::NoMatchbox)
        ));
    }
}
