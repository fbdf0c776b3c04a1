//! The tree against tar files, written by the tar crate and by the host's tar.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use gild_golden::tree::{Kind, Tree, TreeError};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

const SOURCE_DATE: u64 = 1_700_000_000;

/// A file capability with a newline among its bytes.
const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0x0a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn header(entry_type: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(3);
    header.set_gid(4);
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header
}

fn file(tar: &mut Builder<impl Write>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
    Ok(tar.append_data(&mut header, path, bytes)?)
}

fn directory(tar: &mut Builder<impl Write>, path: &str) -> Result<()> {
    Ok(tar.append_data(
        &mut header(EntryType::Directory, 0o755, 0),
        path,
        std::io::empty(),
    )?)
}

fn link(tar: &mut Builder<impl Write>, kind: EntryType, path: &str, target: &str) -> Result<()> {
    Ok(tar.append_link(&mut header(kind, 0o777, 0), path, target)?)
}

/// A small merged-/usr root.
fn base(directory_: &Path) -> Result<std::path::PathBuf> {
    let path = directory_.join("base.tar");
    let mut tar = Builder::new(std::fs::File::create(&path)?);
    directory(&mut tar, "./")?;
    directory(&mut tar, "./usr/")?;
    directory(&mut tar, "./usr/lib/")?;
    link(&mut tar, EntryType::Symlink, "./lib", "usr/lib")?;
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", CAPABILITY)])?;
    file(&mut tar, "./usr/bin/ping", 0o4755, b"ping")?;
    link(
        &mut tar,
        EntryType::Link,
        "./usr/bin/ping4",
        "./usr/bin/ping",
    )?;
    let long = format!("./usr/share/{0}/{0}/F\u{151}tan\u{fa}", "x".repeat(90));
    file(&mut tar, &long, 0o644, b"long")?;
    let far = "y/".repeat(80) + "end/";
    let mut symlink = header(EntryType::Symlink, 0o777, 0);
    symlink.set_link_name_literal("..//odd/./target/")?;
    tar.append_data(&mut symlink, "./usr/odd", std::io::empty())?;
    tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), "./usr/far", &far)?;
    let mut console = header(EntryType::Char, 0o600, 0);
    console.set_device_major(5)?;
    console.set_device_minor(1)?;
    tar.append_data(&mut console, "./dev/console", std::io::empty())?;
    file(&mut tar, "./etc/twice", 0o644, b"first")?;
    file(&mut tar, "./etc/twice", 0o600, b"second")?;
    tar.finish()?;
    Ok(path)
}

fn written(tree: &Tree) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tree.write_tar(&mut bytes, SOURCE_DATE)?;
    Ok(bytes)
}

#[test]
fn a_tree_survives_the_way_into_a_tar_and_back() -> Result<()> {
    let directory = TempDir::new()?;
    let tree = Tree::from_tar(&base(directory.path())?)?;
    let once = written(&tree)?;
    let path = directory.path().join("again.tar");
    std::fs::write(&path, &once)?;
    let again = Tree::from_tar(&path)?;
    assert!(once == written(&again)?, "the second tar differs");

    for tree in [&tree, &again] {
        let ping = tree.get("usr/bin/ping").expect("ping is there");
        assert_eq!((ping.mode, ping.uid, ping.gid), (0o4755, 3, 4));
        assert_eq!(ping.xattrs["security.capability"], CAPABILITY);
        let other = tree.get("usr/bin/ping4").expect("ping4 is there");
        let number = |kind: &Kind| match kind {
            Kind::File { link, .. } => *link,
            _ => None,
        };
        assert!(number(&ping.kind).is_some() && number(&ping.kind) == number(&other.kind));
        assert_eq!(tree.read("etc/twice")?, b"second");
        let console = &tree.get("dev/console").expect("the console is there").kind;
        assert!(matches!(console, Kind::CharDevice(5, 1)));
        let target = |path| match &tree.get(path).expect("the link is there").kind {
            Kind::Symlink(target) => target.clone(),
            _ => String::new(),
        };
        assert_eq!(target("usr/odd"), "..//odd/./target/");
        assert_eq!(target("usr/far"), "y/".repeat(80) + "end/");
        let long = format!("usr/share/{0}/{0}/F\u{151}tan\u{fa}", "x".repeat(90));
        assert_eq!(tree.read(&long)?, b"long");
    }
    Ok(())
}

#[test]
fn the_hosts_tar_reads_what_is_written() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("out.tar");
    std::fs::write(&path, written(&Tree::from_tar(&base(directory.path())?)?)?)?;
    let output = Command::new("tar")
        .args(["--numeric-owner", "--utc", "-tvvf"])
        .arg(&path)
        .env("LC_ALL", "C.UTF-8")
        .output()?;
    let list = String::from_utf8(output.stdout)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in [
        "-rwsr-xr-x 3/4               4 2020-09-13 12:26 usr/bin/ping\n",
        "usr/bin/ping4 link to usr/bin/ping\n",
        "usr/odd -> ..//odd/./target/\n",
        "crw------- 3/4             5,1 2020-09-13 12:26 dev/console\n",
        "lib -> usr/lib\n",
    ] {
        assert!(list.contains(line), "{line:?} is not in\n{list}");
    }
    assert!(
        list.starts_with("drwxr-xr-x 3/4               0 2020-09-13 12:26 ./\n"),
        "{list}"
    );
    Ok(())
}

#[test]
fn what_is_put_in_follows_the_trees_links_and_never_leaves_it() -> Result<()> {
    let directory = TempDir::new()?;
    let mut tree = Tree::from_tar(&base(directory.path())?)?;
    tree.insert_file("/lib/systemd/system/a.service", 0o644, "[Unit]\n")?;
    assert!(
        tree.iter()
            .any(|(path, _)| path == "usr/lib/systemd/system/a.service")
    );
    assert_eq!(tree.read_text("lib/systemd/system/a.service")?, "[Unit]\n");
    tree.insert_symlink("etc/out", "../../../usr/lib/systemd")?;
    assert_eq!(tree.read_text("etc/out/system/a.service")?, "[Unit]\n");

    tree.insert_symlink("etc/circle", "circle")?;
    for (path, mode) in [
        ("../x", 0),
        ("etc/../../x", 0),
        ("etc/circle/x", 0),
        ("etc/twice/x", 0),
    ] {
        let refused = tree.insert_file(path, mode, "");
        assert!(
            matches!(
                refused,
                Err(TreeError::BadPath { .. } | TreeError::NotADirectory { .. })
            ),
            "{path}: {refused:?}"
        );
    }
    assert!(matches!(
        tree.insert_file("usr/lib", 0o644, ""),
        Err(TreeError::IsADirectory { .. })
    ));
    // A link that is replaced is not followed.
    tree.insert_file("etc/out", 0o600, "own")?;
    assert!(tree.contains("usr/lib/systemd/system/a.service"));
    Ok(())
}

#[test]
fn a_name_with_two_links_outlives_the_first() -> Result<()> {
    let directory = TempDir::new()?;
    let mut tree = Tree::from_tar(&base(directory.path())?)?;
    assert!(tree.remove("usr/bin/ping")?);
    assert!(!tree.remove("usr/bin/ping")?);
    let path = directory.path().join("again.tar");
    std::fs::write(&path, written(&tree)?)?;
    assert_eq!(Tree::from_tar(&path)?.read("usr/bin/ping4")?, b"ping");
    Ok(())
}

#[test]
fn patterns_and_trees_are_found_and_taken_away() -> Result<()> {
    let directory = TempDir::new()?;
    let mut tree = Tree::from_tar(&base(directory.path())?)?;
    tree.insert_file("etc/ssh/ssh_host_rsa_key", 0o600, "k")?;
    tree.insert_file("etc/ssh/deep/ssh_host_x", 0o600, "k")?;
    assert_eq!(
        tree.glob("etc/ssh/ssh_host_*")?,
        ["etc/ssh/ssh_host_rsa_key"]
    );
    assert_eq!(tree.glob("**/ssh_host_*")?.len(), 2);
    assert_eq!(tree.glob("etc/{ssh,twice}")?, ["etc/ssh", "etc/twice"]);
    assert!(tree.remove("etc/ssh").is_err());
    assert_eq!(tree.remove_tree("etc/ssh"), 4);
    assert!(!tree.contains("etc/ssh") && tree.contains("etc/twice"));
    Ok(())
}

#[test]
fn new_files_get_the_source_date_and_old_ones_keep_theirs() -> Result<()> {
    let mut tree = Tree::default();
    tree.insert_file("new", 0o644, "x")?;
    let bytes = written(&tree)?;
    let mut archive = tar::Archive::new(&bytes[..]);
    for entry in archive.entries()? {
        assert_eq!(entry?.header().mtime()?, SOURCE_DATE);
    }
    Ok(())
}

#[test]
fn a_tar_that_is_cut_off_is_refused() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("cut.tar");
    let mut tree = Tree::default();
    tree.insert_file("big", 0o644, vec![7; 4000])?;
    let bytes = written(&tree)?;
    for length in [600, 1100, 1600, 3000] {
        std::fs::write(&path, &bytes[..length])?;
        assert!(Tree::from_tar(&path).is_err(), "{length} bytes were taken");
    }
    Ok(())
}
