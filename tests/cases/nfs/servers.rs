//! How servers are set up: names, sizes, rights and ports. The tests use nfs-ganesha for what can be set there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gild_nfs::NfsError;
use gild_source::Trouble;
use gild_tests::ganesha::{Export, Ganesha};
use gild_tests::nfs_server::NfsServer;

use super::{
    NAME, SIZE, WITHOUT_PRIVILEGED_PORTS, Watch, assert_same, assert_wants_root, connect, content,
    exported, is_inside, open, read_all,
};

fn ganesha(directory: &Path, export: Export) -> Ganesha {
    Ganesha::start_as(directory, export).expect("nfs-ganesha starts")
}

fn arrives(url: &str) {
    let (_share, file) = open(url, &Watch::up_to(1));
    assert_same(&read_all(&file).expect("it arrives"), &content());
}

#[test]
fn a_path_with_spaces_and_letters_of_other_languages_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("My Share/Größe 100%/rpi5");
    fs::create_dir_all(&folder).expect("folders");
    fs::write(folder.join(NAME), content()).expect("a file");
    let embedded = NfsServer::start(directory.path(), 0).expect("the server starts");
    arrives(&format!(
        "{}/My%20Share/Gr%C3%B6%C3%9Fe 100%25",
        embedded.url()
    ));
    let export = Export {
        pseudo: "/Öffentlich & mehr".to_owned(),
        ..Export::default()
    };
    let server = ganesha(folder.parent().expect("a folder"), export);
    arrives(&server.url());
    let export = Export {
        by_pseudo: false,
        ..Export::default()
    };
    let server = ganesha(&directory.path().join("My Share"), export);
    let url = server
        .url()
        .replace("My Share", "My%20Share/Größe%20100%25");
    arrives(&url);
}

#[test]
fn an_export_is_found_by_its_path_where_its_pseudo_path_is_another() {
    let (directory, _) = exported();
    let export = Export {
        pseudo: "/pseudo/root".to_owned(),
        by_pseudo: false,
        ..Export::default()
    };
    let server = ganesha(directory.path(), export);
    arrives(&server.url());
    let pseudo = format!(
        "nfs://127.0.0.1:{}/pseudo/root?mountport={}",
        server.port(),
        server.mount_port()
    );
    let error = connect(&pseudo, &Watch::up_to(1)).expect_err("NFSv3 does not know it");
    assert!(matches!(error, NfsError::MountRefused { .. }), "{error}");

    let export = Export {
        pseudo: "/pseudo/root".to_owned(),
        ..Export::default()
    };
    arrives(&ganesha(directory.path(), export).url());
}

#[test]
fn reads_are_as_large_as_ganesha_allows() {
    let (directory, _) = exported();
    for (allowed, calls) in [
        (8 << 10, SIZE.div_ceil(8 << 10)),
        (1 << 20, SIZE.div_ceil(1 << 20)),
    ] {
        let export = Export {
            max_read: Some(allowed),
            ..Export::default()
        };
        let server = ganesha(directory.path(), export);
        let (share, file) = open(&server.url(), &Watch::up_to(1));
        assert_same(&read_all(&file).expect("it arrives"), &content());
        assert_eq!(share.stats().read_calls, calls as u64);
    }
}

#[test]
fn where_root_is_nobody_a_file_for_everyone_is_read_and_another_is_refused() {
    let (directory, _) = exported();
    let file = directory.path().join("rpi5").join(NAME);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    };
    // Each case has its own server, because ganesha remembers the rights for a minute.
    let server = || {
        let export = Export {
            squashes_root: true,
            ..Export::default()
        };
        ganesha(directory.path(), export)
    };
    mode(directory.path(), 0o755);
    mode(&file, 0o644);
    arrives(&server().url());

    let refused = |result: Result<(), NfsError>| {
        let error = result.expect_err("it is for root alone");
        let said = error.to_string();
        assert!(said.contains("chmod -R a+rX"), "{said}");
        assert!(!error.is_retryable());
    };
    mode(&file, 0o600);
    refused({
        let server = server();
        let (_share, file) = open(&server.url(), &Watch::up_to(1));
        read_all(&file).map(drop)
    });
    mode(&directory.path().join("rpi5"), 0o700);
    refused({
        let server = server();
        let share = connect(&server.url(), &Watch::up_to(1));
        share.and_then(|share| share.open(NAME).map(drop))
    });
}

#[test]
fn root_is_served_where_only_privileged_ports_are() {
    let (directory, _) = exported();
    let export = Export {
        privileged_ports: true,
        ..Export::default()
    };
    arrives(&ganesha(directory.path(), export).url());
}

#[test]
fn one_who_is_not_root_is_served_where_all_ports_are_and_reads_why_where_not() {
    let test =
        "nfs::servers::one_who_is_not_root_is_served_where_all_ports_are_and_reads_why_where_not";
    if !is_inside(test, &WITHOUT_PRIVILEGED_PORTS) {
        return;
    }
    let (directory, _) = exported();
    arrives(&ganesha(directory.path(), Export::default()).url());
    let export = Export {
        privileged_ports: true,
        ..Export::default()
    };
    let server = ganesha(directory.path(), export);
    let error = connect(&server.url(), &Watch::up_to(1)).expect_err("the port is not privileged");
    assert_wants_root(&error);
}
