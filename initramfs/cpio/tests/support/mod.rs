//! Kernels and agents made up for the tests, and the stock tools that look at what was built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gild_boards::{Board, Module};
use gild_boards_testkit::elf;
use tempfile::TempDir;

/// A directory with a kernel of four modules, each stored in another way, and a file that passes for an agent.
pub struct Fixture {
    pub directory: TempDir,
}

/// The modules' contents: text, since nothing here loads them.
pub const ALPHA: &[u8] = b"alpha, stored plain";
pub const BETA: &[u8] = b"beta, stored as xz";
pub const GAMMA: &[u8] = b"gamma, stored as zst";

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().expect("a directory for the test"),
        };
        let tree = fixture.kernel().join("modules/kernel");
        fs::create_dir_all(&tree).expect("create the module tree");
        fs::write(fixture.kernel().join("version"), "7.0.0-test\n").expect("write the version");
        fs::write(tree.join("alpha.ko"), ALPHA).expect("write alpha");
        fs::write(tree.join("beta.ko"), BETA).expect("write beta");
        fs::write(tree.join("gamma.ko"), GAMMA).expect("write gamma");
        run(Command::new("xz")
            .args(["--check=crc32", "--lzma2=dict=1MiB"])
            .arg(tree.join("beta.ko")));
        run(Command::new("zstd")
            .args(["-q", "--rm"])
            .arg(tree.join("gamma.ko")));
        fixture.table(
            "dep",
            "kernel/alpha.ko: kernel/beta.ko.xz\n\
             kernel/beta.ko.xz:\n\
             kernel/gamma.ko.zst: kernel/alpha.ko kernel/beta.ko.xz\n",
        );
        fixture.table("builtin", "kernel/delta.ko\n");
        fixture.table("softdep", "");
        fs::write(fixture.agent(), elf()).expect("write the agent");
        fixture
    }

    pub fn table(&self, name: &str, text: &str) {
        fs::write(self.kernel().join(format!("modules/modules.{name}")), text)
            .expect("write a table");
    }

    pub fn kernel(&self) -> PathBuf {
        self.directory.path().join("kernel")
    }

    pub fn agent(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

/// A board that exists for the tests alone and loads these modules.
pub fn board(name: &str, modules: &[&str]) -> Board {
    let module = |name: &&str| Module {
        name: (*name).to_owned(),
        why: "test".to_owned(),
    };
    let real = gild_boards::by_name("rpi5").expect("a board").clone();
    Board {
        name: name.to_owned(),
        modules: modules.iter().map(module).collect(),
        ..real
    }
}

/// Runs a tool and gives its output.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `zstd -d | cpio ARGUMENTS` says about an initramfs.
pub fn cpio(initramfs: &Path, arguments: &[&str], directory: &Path) -> String {
    let mut zstd = Command::new("zstd")
        .args(["-q", "-dc"])
        .arg(initramfs)
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd");
    let archive = zstd.stdout.take().expect("a pipe");
    let said = run(Command::new("cpio")
        .args(arguments)
        .current_dir(directory)
        .stdin(archive));
    assert!(zstd.wait().expect("zstd ends").success());
    said
}
