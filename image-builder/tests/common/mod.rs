//! Real disk images, made with the tools of the field, and the program under test.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The fixed build time of the tests: 2026-01-02.
pub const BUILD_TIME: &str = "1767312000";
pub const MIB: u64 = 1 << 20;

/// A folder with a signing key and a disk image, gone after the test.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self {
            folder: TempDir::new().expect("a folder"),
        };
        bench.gild(["key", "new", "--output", "signing"]).succeeds();
        bench
    }

    /// With `disk.img` in it: 64 MiB, sparse, GPT, a FAT boot partition and an ext4 root with some files.
    pub fn with_disk() -> Self {
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        Self::like(&MADE, || {
            let bench = Self::new();
            bench.make_disk("disk.img", "one");
            bench
        })
    }

    /// The same, with the disk packed as `image`.
    pub fn packed() -> Self {
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        Self::like(&MADE, || {
            let bench = Self::with_disk();
            bench.pack(&["--id", "image"]).succeeds();
            bench
        })
    }

    /// A copy of a bench that is made for the first test that asks for it: that takes seconds, and to unpack it does not.
    pub fn like(once: &OnceLock<Vec<u8>>, make: impl FnOnce() -> Self) -> Self {
        let files = once.get_or_init(|| {
            let bench = make();
            let packed = Command::new("tar")
                .args(["--create", "--sparse", "."])
                .current_dir(bench.folder.path())
                .output()
                .expect("tar");
            assert!(packed.status.success(), "{packed:?}");
            packed.stdout
        });
        let folder = TempDir::new().expect("a folder");
        let mut unpack = Command::new("tar")
            .arg("--extract")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("tar");
        let mut input = unpack.stdin.take().expect("a pipe");
        input.write_all(files).expect("into tar");
        drop(input);
        assert!(unpack.wait().expect("tar").success());
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|e| name(e).into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// The one file of this folder that ends so.
    pub fn find(&self, folder: &str, suffix: &str) -> String {
        let mut found = self
            .names(folder)
            .into_iter()
            .filter(|name| name.ends_with(suffix) && !name.starts_with("golden"));
        let name = found
            .next()
            .unwrap_or_else(|| panic!("no *{suffix} in {folder}"));
        assert_eq!(found.next(), None, "one *{suffix} in {folder}");
        format!("{folder}/{name}")
    }

    pub fn make_disk(&self, name: &str, content: &str) {
        let image = self.path(name);
        File::create(&image)
            .and_then(|file| file.set_len(64 * MIB))
            .expect("a sparse file");
        self.sfdisk(
            name,
            "label: gpt\nlabel-id: 11111111-2222-4333-8444-555555555555\nfirst-lba: 2048\n\
             start=32768, size=16384, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, \
             uuid=11111111-2222-4333-8444-000000000001, name=boot\n\
             start=49152, size=65536, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, \
             uuid=11111111-2222-4333-8444-000000000002, name=root\n",
        );
        let tree = self.path(&format!("{name}.tree"));
        fs::create_dir_all(&tree).expect("a folder");
        fs::write(tree.join("hello.txt"), format!("hello from {content}\n")).expect("a file");
        // Bytes that do not compress, across several chunks.
        fs::write(tree.join("noise"), noise(9 * MIB)).expect("a file");
        self.tool(
            "mkfs.vfat",
            &[
                "-n", "BOOT", "-i", "0badcafe", "--offset", "32768", name, "8192",
            ],
        )
        .succeeds();
        self.tool(
            "mcopy",
            &[
                "-i",
                &format!("{name}@@16M"),
                &format!("{name}.tree/hello.txt"),
                "::",
            ],
        )
        .succeeds();
        let (offset, tree) = (format!("offset={}", 24 * MIB), format!("{name}.tree"));
        let options = [
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "root",
            "-E",
            offset.as_str(),
            "-d",
            tree.as_str(),
            name,
            "32M",
        ];
        self.tool("mke2fs", &options).succeeds();
    }

    pub fn sfdisk(&self, name: &str, script: &str) {
        fs::write(self.path("sfdisk.txt"), script).expect("a file");
        self.shell(&format!("sfdisk -q {name} < sfdisk.txt"))
            .succeeds();
    }

    /// Writes bytes into a file that is there.
    pub fn poke(&self, name: &str, offset: u64, bytes: &[u8]) {
        let file = File::options()
            .write(true)
            .open(self.path(name))
            .expect("the file");
        file.write_all_at(bytes, offset).expect("written");
    }

    /// Flips one bit of a file.
    pub fn flip(&self, name: &str, offset: u64) {
        let mut byte = [0];
        File::open(self.path(name))
            .and_then(|file| file.read_exact_at(&mut byte, offset))
            .expect("a byte");
        self.poke(name, offset, &[byte[0] ^ 1]);
    }

    /// `gild` in this folder.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gild"));
        command
            .current_dir(self.folder.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("GILD_KEY_PASSWORD");
        command
    }

    pub fn gild<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        Ran::of(self.command().args(args))
    }

    /// `gild image pack` of `disk.img` for rpi5 into `out`, with more arguments or other values for these.
    pub fn pack(&self, more: &[&str]) -> Ran {
        Ran::of(&mut self.pack_command("disk.img", more))
    }

    pub fn pack_command(&self, disk: &str, more: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["image", "pack", disk]);
        for (option, value) in [
            ("--key", "signing.key"),
            ("--board", "rpi5"),
            ("--output", "out"),
            ("--build-time", BUILD_TIME),
        ] {
            if !more.contains(&option) {
                command.args([option, value]);
            }
        }
        command.args(more);
        command
    }

    /// A tool of the system, in this folder.
    pub fn tool(&self, name: &str, args: &[&str]) -> Ran {
        let path = format!(
            "{}:/usr/sbin:/sbin",
            std::env::var("PATH").unwrap_or_default()
        );
        Ran::of(
            Command::new(name)
                .args(args)
                .env("PATH", path)
                .current_dir(self.folder.path()),
        )
    }

    pub fn shell(&self, script: &str) -> Ran {
        self.tool("sh", &["-ec", script])
    }

    /// Runs a script where only 4 MiB fit into this folder: a file system that is mounted where nobody else sees it.
    pub fn with_little_room(&self, folder: &str, script: &str) -> Ran {
        let script = format!("mount -t tmpfs -o size=4m tmpfs {folder} && {{ {script}; }}");
        // Root in its own user namespace could not look into another user's home, where this may lie.
        let unshare =
            r#"test "$(id -u)" = 0 || map=--map-root-user; exec unshare $map --mount sh -c "$1""#;
        self.tool("sh", &["-c", unshare, "sh", &script])
    }

    /// A `gild image pack` that was stopped (SIGSTOP) while it compresses.
    pub fn stopped_pack(&self, more: &[&str]) -> Stopped {
        // The highest level, so that there is time to stop it.
        let mut command = self.pack_command("disk.img", more);
        let child = command
            .args(["--level", "22"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gild");
        let stopped = Stopped(Some(child));
        while !self
            .names("out/rpi5")
            .iter()
            .any(|name| name.starts_with(".gild-"))
        {
            thread::sleep(Duration::from_millis(1));
        }
        stopped.signal("STOP");
        stopped
    }
}

/// A process that stands still; it is killed if the test ends before it.
pub struct Stopped(Option<Child>);

impl Stopped {
    fn signal(&self, signal: &str) {
        let id = self.0.as_ref().expect("running").id().to_string();
        Ran::of(Command::new("kill").args(["-s", signal, &id])).succeeds();
    }

    pub fn goes_on(mut self) -> Ran {
        self.signal("CONT");
        let child = self.0.take().expect("running");
        Ran::from(child.wait_with_output().expect("an end"))
    }

    pub fn gets_killed(self) {
        drop(self);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().expect("SIGKILL");
            child.wait().expect("an end");
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        match command.stdin(Stdio::null()).output() {
            Ok(output) => output.into(),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// It failed, without a panic, and said these words.
    #[track_caller]
    pub fn fails_saying(self, words: &[&str]) -> Self {
        assert!(
            self.code.is_some_and(|code| code != 0 && code != 101),
            "{self:?}"
        );
        for words in words {
            assert!(
                self.stderr.contains(words),
                "{words:?} is not in: {}",
                self.stderr
            );
        }
        self
    }
}

/// Bytes that do not compress: the same in every run. Each length is made once.
pub fn noise(length: u64) -> &'static [u8] {
    static MADE: Mutex<BTreeMap<u64, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(length).or_insert_with(|| {
        let mut state: u64 = 0x9e37_79b9;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.leak()
    })
}

pub fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}
