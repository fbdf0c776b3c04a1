//! Directories of the host, laid into a tree.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use gild_golden::overlay::{OverlayError, check_public, digest, lay};
use gild_golden::tree::{Kind, Tree};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn base() -> Result<Tree> {
    let mut tree = Tree::default();
    tree.insert_dir("usr/lib", 0o755)?;
    tree.insert_symlink("lib", "usr/lib")?;
    tree.insert_dir("var/lib/private", 0o700)?;
    tree.insert_file("etc/motd", 0o640, "old")?;
    Ok(tree)
}

#[test]
fn files_land_where_the_images_own_links_lead_and_belong_to_root() -> Result<()> {
    let host = TempDir::new()?;
    let at = |path: &str| host.path().join(path);
    for directory in ["lib/systemd", "var/lib/private", "etc", "usr/sbin"] {
        fs::create_dir_all(at(directory))?;
    }
    fs::write(at("lib/systemd/a.service"), "[Unit]\n")?;
    fs::write(at("usr/sbin/tool"), "#!/bin/sh\n")?;
    fs::set_permissions(at("usr/sbin/tool"), fs::Permissions::from_mode(0o700))?;
    fs::write(at("etc/motd"), "new")?;
    symlink("../nowhere", at("etc/link"))?;

    let mut tree = base()?;
    let laid = lay(&mut tree, host.path())?;
    assert_eq!(
        laid,
        [
            "etc/link",
            "etc/motd",
            "lib/systemd/a.service",
            "usr/sbin/tool"
        ]
    );
    let listed: Vec<(&str, u32, u32)> = tree
        .iter()
        .filter(|(_, entry)| !entry.is_directory())
        .map(|(path, entry)| (path, entry.mode, entry.uid))
        .collect();
    assert_eq!(
        listed,
        [
            ("etc/link", 0o777, 0),
            ("etc/motd", 0o644, 0),
            ("lib", 0o777, 0),
            ("usr/lib/systemd/a.service", 0o644, 0),
            ("usr/sbin/tool", 0o755, 0),
        ]
    );
    assert_eq!(tree.read_text("etc/motd")?, "new");
    let link = &tree.get("etc/link").ok_or("no link")?.kind;
    assert!(matches!(link, Kind::Symlink(target) if target == "../nowhere"));
    // A directory of the image keeps its mode.
    assert_eq!(tree.get("var/lib/private").ok_or("gone")?.mode, 0o700);
    Ok(())
}

#[test]
fn special_files_and_files_in_the_place_of_directories_are_refused() -> Result<()> {
    let host = TempDir::new()?;
    let socket = UnixListener::bind(host.path().join("socket"))?;
    let refused = lay(&mut base()?, host.path());
    assert!(
        matches!(refused, Err(OverlayError::Refused { .. })),
        "{refused:?}"
    );
    drop(socket);

    let host = TempDir::new()?;
    fs::write(host.path().join("usr"), "a file")?;
    let refused = lay(&mut base()?, host.path());
    assert!(
        matches!(refused, Err(OverlayError::Tree { .. })),
        "{refused:?}"
    );

    let host = TempDir::new()?;
    fs::create_dir_all(host.path().join("etc/motd"))?;
    let refused = lay(&mut base()?, host.path());
    assert!(
        matches!(refused, Err(OverlayError::Tree { .. })),
        "{refused:?}"
    );

    let refused = lay(&mut base()?, &host.path().join("missing"));
    assert!(
        matches!(refused, Err(OverlayError::Read { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn what_others_may_not_read_is_taken_for_a_secret() -> Result<()> {
    let host = TempDir::new()?;
    let chmod = |path: &str, mode| {
        fs::set_permissions(host.path().join(path), fs::Permissions::from_mode(mode))
    };
    fs::create_dir_all(host.path().join("etc/rancher"))?;
    for directory in ["etc", "etc/rancher"] {
        chmod(directory, 0o755)?;
    }
    fs::write(host.path().join("etc/rancher/token"), "K10secret")?;
    chmod("etc/rancher/token", 0o644)?;
    // A folder's own links may lead anywhere.
    symlink("nowhere", host.path().join("etc/link"))?;
    check_public(host.path())?;

    for (path, private, public) in [
        ("etc/rancher/token", 0o640, 0o644),
        ("etc/rancher", 0o700, 0o755),
    ] {
        chmod(path, private)?;
        let said = check_public(host.path()).expect_err("a secret").to_string();
        assert!(
            said.contains(path) && said.contains("secret") && said.contains("chmod"),
            "{said}"
        );
        chmod(path, public)?;
    }
    Ok(())
}

#[test]
fn the_digest_changes_with_all_that_is_laid_and_with_nothing_else() -> Result<()> {
    let host = TempDir::new()?;
    let at = |path: &str| host.path().join(path);
    fs::create_dir(at("etc"))?;
    fs::write(at("etc/motd"), "hello")?;
    fs::set_permissions(at("etc/motd"), fs::Permissions::from_mode(0o644))?;
    let mut seen = vec![digest(host.path())?];
    // The image does not get these.
    fs::set_permissions(at("etc/motd"), fs::Permissions::from_mode(0o664))?;
    assert_eq!(digest(host.path())?, seen[0]);

    fs::write(at("etc/motd"), "goodbye")?;
    seen.push(digest(host.path())?);
    fs::set_permissions(at("etc/motd"), fs::Permissions::from_mode(0o755))?;
    seen.push(digest(host.path())?);
    fs::rename(at("etc/motd"), at("etc/issue"))?;
    seen.push(digest(host.path())?);
    symlink("a", at("etc/link"))?;
    seen.push(digest(host.path())?);
    fs::remove_file(at("etc/link"))?;
    symlink("b", at("etc/link"))?;
    seen.push(digest(host.path())?);
    fs::create_dir(at("srv"))?;
    seen.push(digest(host.path())?);
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count);
    Ok(())
}
