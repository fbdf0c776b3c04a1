//! The boot partition: FAT32, made by mkfs.vfat and filled by mtools. Every time in it is FAT's first day, because
//! mtools takes a file's time, and a directory's, in the zone that it is given.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::{AssembleError, Assembly, BOOT_SIZE, BOOT_START};
use crate::tree::Content;

/// 1 January 1980, UTC: ten years, two of them leap years.
const FIRST_DAY: Duration = Duration::from_hours((10 * 365 + 2) * 24);
/// Bytes of a cluster: small enough for the 65525 clusters that make it a FAT32, and a sector of any disk.
const CLUSTER: u64 = 4096;
/// The reserved sectors and the two file allocation tables take less.
const TABLES: u64 = 2 << 20;

pub fn write(assembly: &Assembly<'_>, image: &Path) -> Result<(), AssembleError> {
    let bytes = assembly
        .boot
        .iter()
        .map(|(path, content)| {
            let directories = path.matches('/').count() as u64;
            content.length().next_multiple_of(CLUSTER) + directories * CLUSTER
        })
        .sum();
    let room = BOOT_SIZE - TABLES;
    if bytes > room {
        return Err(AssembleError::BootFull { bytes, room });
    }
    format(assembly, image)?;
    let directories: BTreeSet<&str> = assembly
        .boot
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(slash, _)| &path[..slash]))
        .collect();
    for path in directories {
        put(path, None, image)?;
    }
    for (path, content) in assembly.boot {
        put(path, Some(content), image)?;
    }
    Ok(())
}

/// Puts one file, or an empty directory, onto the partition. One at a time, because mtools copies a directory's files in
/// the order of the host's file system, and gives a directory that it makes itself the time of the clock.
fn put(path: &str, content: Option<&Content>, image: &Path) -> Result<(), AssembleError> {
    let at = |source| AssembleError::BootPartition {
        path: path.to_owned(),
        source,
    };
    let staged = tempfile::tempdir().map_err(at)?;
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let place = staged.path().join(name);
    match content {
        Some(content) => {
            let mut reader = content.open()?;
            let copied = File::create_new(&place)
                .and_then(|mut file| io::copy(&mut reader, &mut file))
                .map_err(at)?;
            if copied != content.length() {
                return Err(at(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        None => fs::create_dir(&place).map_err(at)?,
    }
    settle(&place).map_err(at)?;
    let mut command = Command::new("mcopy");
    command
        .args(["-s", "-m", "-i"])
        .arg(format!("{}@@{BOOT_START}", image.display()))
        .arg(&place)
        .arg(format!("::{parent}"));
    run(
        command,
        "filled the boot partition",
        "apt-get install mtools",
    )
}

/// Takes the clock's time off what was staged.
fn settle(place: &Path) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + FIRST_DAY;
    File::open(place)?.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}

fn format(assembly: &Assembly<'_>, image: &Path) -> Result<(), AssembleError> {
    let sector = u64::from(assembly.sector_size);
    let mut command = Command::new("mkfs.vfat");
    command
        .args(["--invariant", "-F", "32", "-n", "GILDBOOT"])
        .args(["-s", &(CLUSTER / sector).to_string()])
        .args(["-S", &sector.to_string()])
        .args(["-i", &format!("{:08x}", assembly.identity.boot_volume)])
        .args(["--offset", &(BOOT_START / sector).to_string()])
        .arg(image)
        .arg((BOOT_SIZE / 1024).to_string());
    run(
        command,
        "made the boot partition",
        "apt-get install dosfstools",
    )
}

fn run(mut command: Command, was: &'static str, next: &'static str) -> Result<(), AssembleError> {
    let program = PathBuf::from(command.get_program());
    let output = command_output(&mut command).map_err(|source| AssembleError::Start {
        program: program.clone(),
        next,
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(AssembleError::Failed {
        program,
        was,
        status: output.status,
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs with an environment in which no setting of the host's is left.
fn command_output(command: &mut Command) -> io::Result<std::process::Output> {
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("HOME", "/nonexistent")
        .env("MTOOLSRC", "/dev/null")
        .stdin(Stdio::null())
        .output()
}
