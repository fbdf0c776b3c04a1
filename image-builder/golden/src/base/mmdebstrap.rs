//! One run of mmdebstrap.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::counts::Counts;
use super::packages::Packages;
use super::{
    ADD_PACKAGES, ARCHITECTURE, BaseError, CUSTOMIZE, INITRAMFS_TOOLS, Initramfs, LEAN, SET_ASIDE,
    failed, temporary,
};
use crate::cache::Slot;
use crate::progress::Progress;
use crate::recipe::Recipe;

/// How much of a failed run is shown.
const LAST_LINES: usize = 15;

/// What a run does beyond the inputs that are named, as a part of the cache's key: raised when the same inputs give
/// another root.
pub const VERSION: &str = "1";

/// How the host's apt is configured to reach its mirrors, in the root while it is made.
const ACCESS: &str = "etc/apt/apt.conf.d/98mmdebstrap-access";

/// What of the host's environment packages may see.
const ENVIRONMENT: [&str; 6] = [
    "HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "USER",
    "LOGNAME",
];

/// One run of mmdebstrap.
pub struct Run<'a> {
    pub slot: &'a Slot,
    pub suite: &'a str,
    pub sources: &'a str,
    pub access: &'a str,
    pub rootfs: &'a Path,
    /// Packages that were fetched before.
    pub packages: Packages,
    /// Room for the root while it is made.
    pub temporary: PathBuf,
    /// Room for what nobody else may read.
    pub private: &'a Path,
    pub source_date: u64,
    pub progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Makes a root of packages.
    pub fn bootstrap(&self, recipe: &Recipe) -> Result<(), BaseError> {
        let command = self.bootstrap_command(recipe)?;
        self.run(command)
    }

    fn bootstrap_command(&self, recipe: &Recipe) -> Result<Command, BaseError> {
        let backports = recipe
            .backports
            .iter()
            .map(|package| format!("{package}/{}-backports", self.suite));
        let packages: Vec<String> = recipe.packages.iter().cloned().chain(backports).collect();
        let mut modules = recipe.initramfs_modules.join("\n");
        modules.push('\n');
        let modules = self.file("modules", &modules)?;
        let mut command = self.command();
        command
            .arg("--variant=minbase")
            .arg(format!("--include={}", packages.join(",")))
            .arg(format!("--dpkgopt={}", self.lean()?))
            .arg(format!(
                "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" \"$1/{INITRAMFS_TOOLS}\""
            ))
            .arg(sync_in(
                "setup",
                &self.rootfs.join(INITRAMFS_TOOLS),
                &Path::new("/").join(INITRAMFS_TOOLS),
            ))
            .arg(format!(
                "--setup-hook=upload {} /etc/initramfs-tools/gild-modules",
                quoted(&modules)
            ))
            .args(self.package_hooks())
            .arg(format!("--customize-hook={CUSTOMIZE}"));
        Ok(command)
    }

    /// Adds packages to a root.
    pub fn extend(
        &self,
        tar: &Path,
        packages: &[String],
        initramfs: Initramfs,
    ) -> Result<(), BaseError> {
        let mut command = self.command();
        command
            .arg("--variant=custom")
            .arg(format!("--setup-hook=tar-in {} /", quoted(tar)))
            .arg(format!("--setup-hook={SET_ASIDE}"))
            .env("GILD_SOURCES", self.sources)
            .env("GILD_PACKAGES", packages.join(" "))
            .env(
                "GILD_KEEP_INITRAMFS",
                if initramfs == Initramfs::Kept {
                    "yes"
                } else {
                    ""
                },
            )
            .arg(format!("--customize-hook={ADD_PACKAGES}"))
            .args(self.package_hooks());
        self.run(command)
    }

    /// Which files of packages are left out, as lines for dpkg. They are passed as text and not as a file's name: if mmdebstrap
    /// cannot read the file, it takes the name for a line. Debian 12's reads it as root of a user namespace, which may not enter
    /// a home with mode 0700.
    fn lean(&self) -> Result<String, BaseError> {
        let path = self.rootfs.join(LEAN);
        fs::read_to_string(&path).map_err(failed(&path))
    }

    /// What all runs have in common.
    fn command(&self) -> Command {
        // However gild ends, the kernel sends mmdebstrap this signal: it then stops what it started and unmounts what it mounted.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "mmdebstrap"]);
        command.env_clear();
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        command
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env("SOURCE_DATE_EPOCH", self.source_date.to_string())
            // The kernel's package makes no initramfs then: it is made once, at the end.
            .env("INITRD", "No");
        command
            .env("TMPDIR", &self.temporary)
            // Without this option mmdebstrap may choose another mode if user namespaces are forbidden, which gives another root.
            .arg(format!(
                "--mode={}",
                temporary::mode(nix::unistd::geteuid().is_root())
            ))
            .arg("--format=tar")
            .arg(format!("--architectures={ARCHITECTURE}"))
            // Packages that were fetched stay, so that they can be kept.
            .arg("--skip=essential/unlink")
            .arg("--verbose")
            .stdin(Stdio::null());
        command
    }

    /// The hooks that bring packages of earlier runs, and take out the packages of this run.
    fn package_hooks(&self) -> [String; 2] {
        let archives = Path::new("/var/cache/apt/archives");
        [
            sync_in("setup", &self.before(), archives),
            format!(
                "--customize-hook=sync-out {} {}",
                archives.display(),
                quoted(&self.after())
            ),
        ]
    }

    /// Where packages of earlier runs are for this one.
    fn before(&self) -> PathBuf {
        self.private.join("before")
    }

    /// Where this run's packages are taken out to.
    fn after(&self) -> PathBuf {
        self.private.join("after")
    }

    fn run(&self, mut command: Command) -> Result<(), BaseError> {
        // By its ending mmdebstrap knows the form.
        let sources = self.file("list", self.sources)?;
        let access = self.private.join("access");
        fs::write(&access, self.access).map_err(failed(&access))?;
        for folder in [self.before(), self.after()] {
            fs::create_dir(&folder).map_err(failed(&folder))?;
        }
        self.packages.bring(&self.before(), self.progress)?;
        let log_path = self.slot.file("log");
        let mut log = File::create(&log_path).map_err(failed(&log_path))?;
        command
            // As an option it would be read by root of a user's name space, who may not.
            .arg(format!("--setup-hook=upload {} /{ACCESS}", quoted(&access)))
            .arg(format!("--setup-hook=chmod 600 \"$1/{ACCESS}\""))
            .arg(self.suite)
            .arg(self.slot.unfinished())
            .arg(&sources);
        let program = |source| BaseError::Program {
            program: "mmdebstrap",
            source,
        };
        let (reader, writer) = std::io::pipe().map_err(program)?;
        command
            .stdout(writer.try_clone().map_err(program)?)
            .stderr(writer);
        let mut child = command.spawn().map_err(program)?;
        // The command holds the pipe's other end open.
        drop(command);
        let mut last = Vec::new();
        let mut counts = Counts::default();
        self.progress.at_work("mmdebstrap has begun");
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.map_err(failed(&log_path))?;
            // A progress bar writes over itself.
            let line =
                String::from_utf8_lossy(line.rsplit(|b| *b == b'\r').next().unwrap_or(&line))
                    .into_owned();
            writeln!(log, "{line}").map_err(failed(&log_path))?;
            // Hooks are shown whole, which the log is for.
            if let Some(text) = line.strip_prefix("I: ")
                && !text.starts_with("running ")
            {
                self.progress.note(text);
            }
            if let Some(count) = counts.take(&line) {
                self.progress.at_work(&count.text);
                if count.is_noted {
                    self.progress.note(&count.text);
                }
            }
            last.push(line);
            if last.len() > LAST_LINES {
                last.remove(0);
            }
        }
        let status = child.wait().map_err(failed(&log_path))?;
        for path in [sources, self.slot.file("modules")] {
            // Scratch: a run that leaves it behind is none the worse.
            let _ = fs::remove_file(path);
        }
        if status.success() {
            return self.packages.keep(&self.after());
        }
        let _ = fs::remove_file(self.slot.unfinished());
        Err(BaseError::Mmdebstrap {
            status,
            words: last.join("\n"),
            log: log_path,
        })
    }

    /// A file that mmdebstrap reads.
    fn file(&self, ending: &str, text: &str) -> Result<PathBuf, BaseError> {
        let path = self.slot.file(ending);
        fs::write(&path, text).map_err(failed(&path))?;
        Ok(path)
    }
}

/// What mmdebstrap calls itself: another version may make another root.
pub fn program_version() -> Result<String, BaseError> {
    let output = Command::new("mmdebstrap")
        .arg("--version")
        .output()
        .map_err(|source| BaseError::Program {
            program: "mmdebstrap",
            source,
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// mmdebstrap changes its folder while it works.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// mmdebstrap splits its hooks' arguments as a shell does.
fn quoted(path: &Path) -> String {
    format!(
        "'{}'",
        absolute(path).display().to_string().replace('\'', r"'\''")
    )
}

fn sync_in(stage: &str, from: &Path, to: &Path) -> String {
    format!("--{stage}-hook=sync-in {} {}", quoted(from), to.display())
}

/// All files below a folder, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, BaseError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        if entry.file_type().map_err(failed(folder))?.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tests::Silent;
    use crate::cache::{Cache, Key};

    #[test]
    fn root_of_a_name_space_is_given_texts_and_no_file_of_the_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let slot = cache.lock(&Key::new("base"), &Silent).expect("a slot");
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let recipe = project.join("boards/rpi5/image.toml");
        let run = Run {
            slot: &slot,
            suite: "trixie",
            sources: "",
            access: "",
            rootfs: &project.join("image-builder/node/rootfs"),
            packages: Packages {
                folder: folder.path().join("packages"),
            },
            temporary: folder.path().to_owned(),
            private: folder.path(),
            source_date: 1,
            progress: &Silent,
        };
        let recipe = Recipe::read(&recipe).expect("the project's recipe");
        let command = run.bootstrap_command(&recipe).expect("a command");
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        let lean = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix("--dpkgopt="))
            .expect("what of packages is left out");
        assert!(lean.contains("path-exclude=/usr/share/doc/*\n"), "{lean}");
        // Hooks alone are read by the user.
        for option in arguments.iter().filter(|option| !option.contains("-hook=")) {
            let (_, value) = option.split_once('=').unwrap_or(("", option));
            assert!(!Path::new(value).exists(), "{option}");
        }
    }
}
