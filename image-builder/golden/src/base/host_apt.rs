//! The Debian archives that this machine's apt knows, and whether nodes could use them too.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use super::mirror::{Unusable, check};

/// One source of the host's apt.
pub struct Source {
    pub is_debian: bool,
    pub release: String,
    pub component: String,
    /// As nodes could use it.
    pub uri: Result<String, Unusable>,
}

/// The host's sources, read once, because apt reads all its lists for each answer.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read);
    &SOURCES
}

/// First as their own release files describe them, then those that were never updated.
fn read() -> Vec<Source> {
    let format = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)";
    let mut sources = Vec::new();
    for options in [
        &["--format", format][..],
        &["--no-release-info", "--format", format],
    ] {
        let Ok(output) = Command::new("apt-get")
            .arg("indextargets")
            .args(options)
            .arg("Created-By: Packages")
            .output()
        else {
            continue;
        };
        let known = options.len() == 2;
        let text = String::from_utf8_lossy(&output.stdout);
        sources.extend(text.lines().filter_map(|line| {
            let mut fields = line.split('|').map(str::to_owned);
            let (origin, release) = (fields.next()?, fields.next()?);
            Some(Source {
                is_debian: if known {
                    origin == "Debian"
                } else {
                    release_is_debian(&release)
                },
                release,
                component: fields.next()?,
                uri: address(&fields.next()?),
            })
        }));
    }
    sources
}

/// Whether an archive that was never read is Debian's, by the name of its release.
fn release_is_debian(release: &str) -> bool {
    let parts = ["-security", "-updates", "-backports", "/updates"];
    let part = parts.iter().find_map(|part| release.strip_suffix(part));
    let codename = part.unwrap_or(release);
    ["bookworm", "trixie", "forky", "stable", "testing"].contains(&codename)
}

/// The address behind a source, which may be a list of mirrors: Debian's cloud images have those.
fn address(uri: &str) -> Result<String, Unusable> {
    let refuse = |reason: String| Unusable {
        url: uri.to_owned(),
        reason,
    };
    if let Some(path) = uri.strip_prefix("mirror+file:") {
        // apt ends every address with a slash, the name of a file too.
        let path = format!("/{}", path.trim_matches('/'));
        let text = fs::read_to_string(&path)
            .map_err(|error| refuse(format!("the list {path} cannot be read: {error}")))?;
        return first_usable(&text).ok_or_else(|| {
            refuse(format!(
                "the list {path} has no address without restrictions that nodes could use"
            ))
        });
    }
    if uri.starts_with("mirror+") || uri.starts_with("mirror:") {
        return Err(refuse(
            "gild reads a list of mirrors from a file (mirror+file:) and fetches none".to_owned(),
        ));
    }
    check(uri).map(|()| uri.to_owned())
}

/// The mirror that apt would take first out of a list (apt-transport-mirror(1)), of those that nodes can use. apt takes one of
/// several at random; gild takes the first, so that each build gives the same image.
fn first_usable(list: &str) -> Option<String> {
    let mirrors = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (uri, about) = line.split_once('\t').unwrap_or((line, ""));
            let mut priority = u64::MAX;
            for item in about.split_whitespace() {
                // Any other item says which files it does not have.
                priority = item.strip_prefix("priority:")?.parse().ok()?;
            }
            let uri = format!("{}/", uri.trim_end_matches('/'));
            check(&uri).is_ok().then_some((priority, uri))
        });
    // Of several with the same number, the first.
    mirrors
        .min_by_key(|(priority, _)| *priority)
        .map(|(_, uri)| uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_archive_for_a_release_is_not_debian_s() {
        for release in ["bookworm", "trixie-security", "stable-updates"] {
            assert!(release_is_debian(release), "{release}");
        }
        for release in [
            "bookworm-pgdg",
            "trixie/main",
            "trixie-pgdg-security",
            "jammy",
        ] {
            assert!(!release_is_debian(release), "{release}");
        }
    }

    #[test]
    fn of_a_list_the_first_mirror_is_taken_that_nodes_can_use() {
        let list = "# Debian\n\nfile:/srv/debian\nhttp://localhost:3142/debian\nhttp://a.example/debian\nhttp://b.example/debian/\n";
        assert_eq!(
            first_usable(list).as_deref(),
            Some("http://a.example/debian/")
        );
        let list = "http://a.example/debian\nhttps://b.example/debian\tpriority:2\nhttp://c.example/debian\tpriority:1 type:index\n";
        assert_eq!(
            first_usable(list).as_deref(),
            Some("https://b.example/debian/")
        );
        assert_eq!(first_usable("http://a.example/debian\tarch:amd64\n"), None);
    }

    #[test]
    fn a_list_in_a_file_is_read_and_none_is_fetched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("debian.list");
        let uri = format!("mirror+file:{}/", path.display());
        let reason = |uri: &str| address(uri).expect_err(uri).to_string();
        assert!(reason(&uri).contains("cannot be read"), "{}", reason(&uri));
        fs::write(&path, "ftp://a.example/debian\n").expect("a list");
        assert!(reason(&uri).contains("no address"), "{}", reason(&uri));
        fs::write(&path, "http://a.example/debian\n").expect("a list");
        let found = address(&uri).expect("a mirror");
        assert_eq!(found, "http://a.example/debian/");
        for uri in ["mirror+https://a.example/list/", "mirror://a.example/list/"] {
            assert!(reason(uri).contains("fetches none"), "{}", reason(uri));
        }
        assert!(reason("cdrom://Debian/").contains("neither http nor https"));
    }
}
