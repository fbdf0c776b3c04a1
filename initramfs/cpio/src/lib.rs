//! Kernel modules and the agent, packed into the flasher's initramfs.
//!
//! ```text
//! /init                        the agent: the only program
//! /dev/console                 so that the agent's first words are seen
//! /dev/null                    what a Rust program opens instead when there is no console; without it, it aborts
//! /etc/gild/modules/BOARD      that board's modules: one path a line, in the order to load them
//! /lib/modules/VERSION/...     those modules, decompressed
//! /mnt /proc /run /sys /tmp    empty, to be mounted on
//! ```

mod agent;
mod archive;
mod kernel;
mod modules;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use agent::NotTheAgent;
use archive::Archive;
use gild_boards::Board;
use gild_card_format::agent_version;
use kernel::Kernel;
pub use modules::{IndexError, ModuleIndex, UnknownModule};

/// The largest agent that is packed: it should be stripped.
pub const AGENT_BUDGET: usize = 7 << 19;

/// The largest initramfs that is written: firmware reads it slowly from the card.
pub const INITRAMFS_BUDGET: usize = 4 << 20;

/// What to pack.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The kernel directory.
    pub kernel: &'a Path,
    /// The agent: a static aarch64 program.
    pub agent: &'a Path,
    /// The boards that it is to start on.
    pub boards: &'a [&'a Board],
    /// Modules to load on every board after its own.
    pub extra_modules: &'a [String],
}

/// Why there is no initramfs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the kernel directory is not there or cannot be read.
    #[error(
        "cannot read {path}, a file of the kernel directory (`make setup` makes one in target/kernel)"
    )]
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel directory's tables are broken.
    #[error("the kernel directory's module tables cannot be used")]
    Index(#[from] IndexError),
    /// The kernel has no such module.
    #[error(
        "kernel {version} has no module `{module}`, which {origin} asks for: {remedy}, or give another kernel"
    )]
    UnknownModule {
        /// The module.
        module: String,
        /// The kernel's release.
        version: String,
        /// Who asks for it.
        origin: String,
        /// Where to change that.
        remedy: String,
    },
    /// A module's file has a suffix that is not known.
    #[error("{path} is compressed in a way that is not known: expected .ko, .ko.xz or .ko.zst")]
    Compression {
        /// The file.
        path: PathBuf,
    },
    /// A module's file is damaged.
    #[error("cannot decompress {path}: get the kernel again")]
    Decompress {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent's file cannot be read.
    #[error("cannot read the agent, {path}")]
    ReadAgent {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not run as PID 1 on a board.
    #[error("{path} cannot be the agent: build it with --target aarch64-unknown-linux-musl")]
    NotTheAgent {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NotTheAgent,
    },
    /// Something is larger than it may be.
    #[error("{what} has {bytes} bytes, {over} more than its budget of {budget}: {remedy}", over = bytes - budget)]
    OverBudget {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most it may have.
        budget: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// The archive cannot be made.
    #[error("cannot pack the initramfs")]
    Pack(#[source] io::Error),
    /// The result cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A finished initramfs and its sizes.
#[derive(Debug)]
pub struct Initramfs {
    /// The compressed archive.
    pub bytes: Vec<u8>,
    /// The kernel's release.
    pub kernel_version: String,
    /// The agent's version, if its program has one.
    pub agent_version: Option<String>,
    /// Size of the agent.
    pub agent_bytes: usize,
    /// Size of the archive before compression.
    pub unpacked_bytes: usize,
    /// Each board's modules.
    pub boards: Vec<BoardModules>,
}

/// The modules that one board loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardModules {
    /// The board's name.
    pub board: String,
    /// Paths in the initramfs, in the order to load them.
    pub paths: Vec<String>,
    /// What they weigh together.
    pub bytes: usize,
}

/// Packs an initramfs.
pub fn build(contents: &Contents) -> Result<Initramfs, Error> {
    let kernel = Kernel::open(contents.kernel)?;
    let agent = read_agent(contents.agent)?;
    let agent_bytes = agent.len();
    let agent_version = agent_version::in_program(&agent).map(str::to_owned);

    let mut archive = Archive::default();
    for mount_point in ["dev", "mnt", "proc", "run", "sys", "tmp"] {
        archive.directory(mount_point);
    }
    archive.character_device("dev/console", 5, 1);
    archive.character_device("dev/null", 1, 3);
    archive.program("init", agent);
    let mut packed = BTreeSet::new();
    let mut boards = Vec::new();
    for board in contents.boards {
        let mut modules = BoardModules {
            board: board.name.clone(),
            paths: Vec::new(),
            bytes: 0,
        };
        for file in load_order(&kernel, board, contents.extra_modules)? {
            let (path, content) = kernel.module(file)?;
            let path = format!("lib/modules/{}/{path}", kernel.version);
            modules.paths.push(format!("/{path}"));
            modules.bytes += content.len();
            if packed.insert(path.clone()) {
                archive.file(&path, content);
            }
        }
        let list = modules
            .paths
            .iter()
            .fold(String::new(), |list, path| list + path + "\n");
        archive.file(&board.module_list(), list.into_bytes());
        boards.push(modules);
    }

    let cpio = archive.to_cpio().map_err(Error::Pack)?;
    let bytes = archive::compress(&cpio).map_err(Error::Pack)?;
    within(
        INITRAMFS_BUDGET,
        "the initramfs",
        bytes.len(),
        "pack fewer boards or modules",
    )?;
    Ok(Initramfs {
        bytes,
        kernel_version: kernel.version,
        agent_version,
        agent_bytes,
        unpacked_bytes: cpio.len(),
        boards,
    })
}

fn read_agent(path: &Path) -> Result<Vec<u8>, Error> {
    let agent = fs::read(path).map_err(|source| Error::ReadAgent {
        path: path.to_owned(),
        source,
    })?;
    agent::check(&agent).map_err(|source| Error::NotTheAgent {
        path: path.to_owned(),
        source,
    })?;
    within(
        AGENT_BUDGET,
        "the agent",
        agent.len(),
        "build it with --profile agent, which strips it",
    )?;
    Ok(agent)
}

fn load_order<'k>(
    kernel: &'k Kernel,
    board: &Board,
    extra: &[String],
) -> Result<Vec<&'k str>, Error> {
    let own = board.modules.iter().map(|module| module.name.as_str());
    kernel
        .index
        .load_order(own.clone().chain(extra.iter().map(String::as_str)))
        .map_err(|UnknownModule(module)| {
            let (origin, remedy) = if own.clone().any(|name| name == module) {
                (
                    format!("board {}", board.name),
                    format!("correct boards/{}/board.toml", board.name),
                )
            } else {
                ("--extra-module".to_owned(), "correct the name".to_owned())
            };
            Error::UnknownModule {
                module,
                version: kernel.version.clone(),
                origin,
                remedy,
            }
        })
}

fn within(
    budget: usize,
    what: &'static str,
    bytes: usize,
    remedy: &'static str,
) -> Result<(), Error> {
    if bytes > budget {
        return Err(Error::OverBudget {
            what,
            bytes,
            budget,
            remedy,
        });
    }
    Ok(())
}

impl Initramfs {
    /// Writes the file whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        gild_whole_file::replace(path, &self.bytes).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }
}

impl fmt::Display for Initramfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, bytes: usize, note: &str| {
            let mut size = String::new();
            write!(
                size,
                "{}.{:02} MiB",
                bytes >> 20,
                ((bytes & 0xf_ffff) * 100) >> 20
            )?;
            writeln!(f, "{what:<18} {size:>10}  {note}")
        };
        let mib = |budget: usize| format!("of at most {} MiB", budget >> 20);
        line("agent", self.agent_bytes, &mib(AGENT_BUDGET))?;
        for board in &self.boards {
            let note = format!(
                "{} modules of kernel {}",
                board.paths.len(),
                self.kernel_version
            );
            line(&format!("modules {}", board.board), board.bytes, &note)?;
        }
        line("archive, unpacked", self.unpacked_bytes, "")?;
        line("initramfs", self.bytes.len(), &mib(INITRAMFS_BUDGET))
    }
}
