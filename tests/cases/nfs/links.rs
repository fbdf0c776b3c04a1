//! Files and folders that are symbolic links, which an NFS client follows itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use gild_nfs::{LinkProblem, NfsError, NfsUrl, Share};
use gild_source::Trouble;
use gild_tests::ganesha::{Export, Ganesha};
use gild_tests::nfs_server::NfsServer;
use tempfile::TempDir;

use super::{Watch, options};

const TEXT: &[u8] = b"the release";

/// A share with a release in its own folder, and `rpi5` beside it.
fn release() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |path: &str| directory.path().join(path);
    fs::create_dir_all(at("releases/7/rpi5")).expect("folders");
    fs::create_dir_all(at("releases/7/common")).expect("folders");
    fs::write(at("releases/7/rpi5/golden.json"), TEXT).expect("a file");
    fs::write(at("releases/7/common/image"), TEXT).expect("a file");
    directory
}

/// What the reader finds at a name in the folder `rpi5` of a share.
fn read(url: &str, name: &str) -> Result<Vec<u8>, NfsError> {
    let url = NfsUrl::parse(url)?.join("rpi5");
    Share::connect(&url, options(), Watch::up_to(1))?.read_file(name, 100)
}

fn problem(result: Result<Vec<u8>, NfsError>) -> (LinkProblem, String) {
    match result {
        Err(ref error @ NfsError::Link { problem, .. }) => {
            assert!(!error.is_retryable());
            (problem, error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// Each case on both servers. Both know the share as the directory's path, or as `/gild`.
fn on_both_servers(directory: &Path, case: impl Fn(&str)) {
    let embedded = NfsServer::start(directory, 0).expect("the server starts");
    case(&embedded.url());
    let ganesha = Ganesha::start(directory).expect("nfs-ganesha starts");
    case(&ganesha.url());
}

#[test]
fn a_folder_that_is_a_link_is_followed() {
    let directory = release();
    symlink("releases/7/rpi5", directory.path().join("rpi5")).expect("a link");
    on_both_servers(directory.path(), |url| {
        assert_eq!(read(url, "golden.json").expect("it is followed"), TEXT);
    });
}

#[test]
fn a_file_that_is_a_link_is_followed_through_others() {
    let directory = release();
    let at = |path: &str| directory.path().join(path);
    fs::create_dir(at("rpi5")).expect("a folder");
    symlink("./today.json", at("rpi5/golden.json")).expect("a link");
    symlink("../current//rpi5/golden.json", at("rpi5/today.json")).expect("a link");
    symlink("releases/7", at("current")).expect("a link");
    on_both_servers(directory.path(), |url| {
        assert_eq!(read(url, "golden.json").expect("it is followed"), TEXT);
    });
}

#[test]
fn a_link_is_found_though_the_server_does_not_say_at_once_what_it_is() {
    let directory = release();
    let link = directory.path().join("releases/7/rpi5/today.json");
    symlink("golden.json", link).expect("a link");
    let server = NfsServer::start(directory.path(), 0).expect("the server starts");
    let url = NfsUrl::parse(&server.url()).expect("an address");
    let folder = url.join("releases/7/rpi5");
    let share = Share::connect(&folder, options(), Watch::up_to(1)).expect("the share is there");
    server.set_faults(|faults| faults.missing_attributes = 2);
    let found = share.read_file("today.json", 100).expect("it is followed");
    assert_eq!(found, TEXT);
    assert_eq!(server.faults().missing_attributes, 0);
}

#[test]
fn the_way_up_from_a_folder_that_is_a_link_starts_where_the_folder_is() {
    let directory = release();
    let at = |path: &str| directory.path().join(path);
    symlink("releases/7/rpi5", at("rpi5")).expect("a link");
    symlink("../common/image", at("releases/7/rpi5/image")).expect("a link");
    // A client that treats the path only as text would find this file.
    fs::create_dir(at("common")).expect("a folder");
    fs::write(at("common/image"), "another release").expect("a file");
    on_both_servers(directory.path(), |url| {
        assert_eq!(read(url, "image").expect("it is followed"), TEXT);
    });
}

#[test]
fn an_absolute_link_is_followed_inside_the_share_by_the_server_s_name_for_it() {
    let directory = release();
    let link = directory.path().join("rpi5");
    symlink("/gild/releases/7/rpi5", &link).expect("a link");
    on_both_servers(directory.path(), |url| {
        assert_eq!(read(url, "golden.json").expect("it is followed"), TEXT);
    });
    let root = directory.path().canonicalize().expect("a path");
    fs::remove_file(&link).expect("removed");
    symlink(root.join("releases/7/rpi5"), link).expect("a link");
    let export = Export {
        by_pseudo: false,
        ..Export::default()
    };
    let ganesha = Ganesha::start_as(directory.path(), export).expect("nfs-ganesha starts");
    let found = read(&ganesha.url(), "golden.json").expect("it is followed");
    assert_eq!(found, TEXT);
}

#[test]
fn a_link_that_leads_out_of_the_share_is_refused_by_its_target() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), TEXT).expect("a file");
    let absolute = outside.path().join("secret").display().to_string();
    let relative = format!("../../../../../../../../../..{absolute}");
    for target in [absolute, relative] {
        let directory = release();
        fs::create_dir(directory.path().join("rpi5")).expect("a folder");
        symlink(&target, directory.path().join("rpi5/golden.json")).expect("a link");
        on_both_servers(directory.path(), |url| {
            let (problem, said) = problem(read(url, "golden.json"));
            assert_eq!(problem, LinkProblem::Outside);
            let expected = format!(
                "opening /gild/rpi5/golden.json on {}: it is a symbolic link to {target}, which is not in the share; \
                 next: ",
                url.trim_start_matches("nfs://")
                    .split('/')
                    .next()
                    .expect("a host")
            );
            assert!(said.starts_with(&expected), "{said}");
        });
    }
}

#[test]
fn a_folder_that_links_out_of_the_share_is_refused_by_its_target() {
    let directory = release();
    symlink("/etc", directory.path().join("rpi5")).expect("a link");
    on_both_servers(directory.path(), |url| {
        let (problem, said) = problem(read(url, "passwd"));
        assert_eq!(problem, LinkProblem::Outside);
        assert!(said.contains("a symbolic link to /etc, "), "{said}");
    });
}

#[test]
fn a_link_to_nothing_and_links_in_a_circle_are_refused() {
    let directory = release();
    let at = |path: &str| directory.path().join(path);
    fs::create_dir(at("rpi5")).expect("a folder");
    symlink("gone.json", at("rpi5/golden.json")).expect("a link");
    symlink("b", at("rpi5/a")).expect("a link");
    symlink("../rpi5/a", at("rpi5/b")).expect("a link");
    on_both_servers(directory.path(), |url| {
        let (dangling, said) = problem(read(url, "golden.json"));
        assert_eq!(dangling, LinkProblem::Dangling);
        assert!(
            said.contains("a symbolic link to gone.json, and there is nothing"),
            "{said}"
        );
        let (circle, said) = problem(read(url, "a"));
        assert_eq!(circle, LinkProblem::TooMany);
        assert!(said.contains("after 8 other links"), "{said}");
    });
}
