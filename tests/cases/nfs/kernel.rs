//! The kernel's own server, as Debian sets it up.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use gild_nfs::{LinkProblem, NfsError};
use gild_tests::kernel_nfsd::KernelNfsd;
use tempfile::TempDir;

use super::{
    NAME, PATIENT, SIZE, WITHOUT_PRIVILEGED_PORTS, Watch, assert_same, assert_wants_root, connect,
    content, is_inside, open, read_all,
};

/// The defaults are the kernel's: `root_squash` and `secure`.
const EXPORTS: &str = "\
/srv/gild *(ro,no_subtree_check,fsid=1)
/srv/open *(ro,no_subtree_check,insecure,fsid=2)
\"/srv/My Share/Größe\" *(ro,no_subtree_check,fsid=3)
";

fn shares() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |path: &str| directory.path().join(path);
    for share in ["gild", "open", "My Share/Größe"] {
        let folder = at(share).join("rpi5");
        fs::create_dir_all(&folder).expect("folders");
        fs::write(folder.join(NAME), content()).expect("a file");
    }
    fs::write(at("gild/rpi5/secret"), "root's").expect("a file");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(at("gild/rpi5/secret"), mode).expect("its mode");
    fs::create_dir_all(at("gild/releases/7/rpi5")).expect("folders");
    fs::create_dir_all(at("gild/linked")).expect("a folder");
    symlink("../releases/7/rpi5", at("gild/linked/rpi5")).expect("a link");
    symlink("../image", at("gild/releases/7/rpi5").join(NAME)).expect("a link");
    symlink("/srv/gild/rpi5/image.bin", at("gild/releases/7/image")).expect("a link");
    symlink("/srv/open/rpi5/image.bin", at("gild/rpi5/other")).expect("a link");
    symlink("../../../etc/passwd", at("gild/rpi5/outside")).expect("a link");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    directory
}

fn arrives(url: &str) {
    let (_share, file) = open(url, &Watch::up_to(PATIENT));
    assert_same(&read_all(&file).expect("it arrives"), &content());
}

fn opened(server: &KernelNfsd, name: &str) -> NfsError {
    let share = connect(&server.url("gild"), &Watch::up_to(PATIENT)).expect("the share is there");
    share.read_file(name, 100).expect_err("it cannot be read")
}

fn serve(directory: &Path) -> KernelNfsd {
    KernelNfsd::start(directory, EXPORTS).expect("the machine serves")
}

#[test]
fn the_kernel_s_server_is_read_through_links_and_odd_names_and_a_power_cut() {
    let directory = shares();
    let mut server = serve(directory.path());
    arrives(&server.url("gild"));
    arrives(&server.url("gild/linked"));
    arrives(&server.url("My%20Share/Größe"));

    for name in ["other", "outside"] {
        let error = opened(&server, name);
        let problem = match error {
            NfsError::Link { problem, .. } => problem,
            other => panic!("{other}"),
        };
        assert_eq!(problem, LinkProblem::Outside);
    }
    let refused = opened(&server, "secret").to_string();
    assert!(refused.contains("chmod -R a+rX"), "{refused}");

    let patience = Watch::up_to(PATIENT);
    let (share, file) = open(&server.url("gild"), &patience);
    let mut bytes = vec![0; SIZE];
    let (first, rest) = bytes.split_at_mut(SIZE / 2);
    file.read_exact_at(first, 0)
        .expect("the first half arrives");
    server.restart().expect("the machine serves again");
    file.read_exact_at(rest, (SIZE / 2) as u64)
        .expect("the read goes on");
    assert_same(&bytes, &content());
    assert!(share.stats().reconnects > 0);
}

#[test]
fn the_kernel_s_server_refuses_one_who_is_not_root_unless_it_is_insecure() {
    let test = "nfs::kernel::the_kernel_s_server_refuses_one_who_is_not_root_unless_it_is_insecure";
    if !is_inside(test, &WITHOUT_PRIVILEGED_PORTS) {
        return;
    }
    let directory = shares();
    let server = serve(directory.path());
    arrives(&server.url("open"));
    let error = connect(&server.url("gild"), &Watch::up_to(PATIENT)).expect_err("a high port");
    assert_wants_root(&error);
}
