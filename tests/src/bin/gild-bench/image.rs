//! A golden image of realistic size and content: a Debian user space from this machine's own `/usr`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_format::manifest::Manifest;
use gild_tests::cargo::host_program;
use gild_tests::command::{command, run, run_with_text};
use gild_tests::{disk, workspace};

const MIB: u64 = 1 << 20;
const ROOT_START: u64 = 272 * MIB;
const ROOT_SIZE: u64 = 4096 * MIB;
/// 4 MiB at the end for the backup partition table.
const RAW_SIZE: u64 = ROOT_START + ROOT_SIZE + 4 * MIB;
/// As much of `/usr` as this goes into the root file system.
const CONTENT: u64 = 1400 * MIB;

/// A published golden image.
pub struct Image {
    /// The directory to export.
    pub share: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// The public key's file.
    pub key: PathBuf,
    /// SHA-256 of the raw image, hex.
    pub raw_sha256: String,
}

impl Image {
    /// The folder of the board.
    pub fn folder(&self) -> PathBuf {
        self.share.join(&self.manifest.board)
    }
}

/// The image. It is made if there is none of this recipe yet.
pub fn published() -> Result<Image> {
    let gild = host_program("gild")?;
    let key = workspace::key(&[], &[include_str!("image.rs"), "3"])?;
    let directory = workspace::cached("bench", &key, |directory| build(&gild, directory))?;
    let share = directory.join("share");
    let manifest = share.join("rpi5/golden.json");
    let bytes = fs::read(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    Ok(Image {
        share,
        manifest: Manifest::parse(&bytes)?,
        key: directory.join("bench.pub"),
        raw_sha256: fs::read_to_string(directory.join("raw.sha256"))?,
    })
}

fn build(gild: &Path, directory: &Path) -> Result<()> {
    eprintln!("making the image of the bench, once (some minutes)");
    let tree = directory.join("tree");
    let mut left = CONTENT;
    // This order mixes programs, libraries and texts.
    for part in ["bin", "sbin", "share", "lib"] {
        gather(
            &Path::new("/usr").join(part),
            &tree.join("usr").join(part),
            &mut left,
        )?;
    }
    ensure!(
        left < CONTENT / 8,
        "/usr of this machine is too small for the bench: {left} bytes are missing"
    );
    let raw = directory.join("raw.img");
    disk::blank(&raw, RAW_SIZE)?;
    let (boot, root) = (16 * MIB / 512, ROOT_START / 512);
    run_with_text(
        command("sfdisk").arg("--quiet").arg(&raw),
        &format!(
            "label: gpt\nfirst-lba: 2048\n\
             start={boot}, size={}, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=boot\n\
             start={root}, size={}, type=B921B045-1DF0-41C3-AF44-4C6F280D3FAE, name=root\n",
            root - boot,
            ROOT_SIZE / 512
        ),
    )?;
    run(command("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&tree)
        .args(["-E", &format!("offset={ROOT_START}")])
        .arg(&raw)
        .arg(format!("{}M", ROOT_SIZE / MIB)))?;
    fs::remove_dir_all(&tree)?;
    let sum = run(command("sha256sum").arg(&raw))?;
    fs::write(directory.join("raw.sha256"), &sum[..64])?;
    run(command(&gild.to_string_lossy())
        .args(["key", "new", "--output"])
        .arg(directory.join("bench")))?;
    run(command(&gild.to_string_lossy())
        .args(["image", "pack", "--board", "rpi5", "--id", "bench", "--key"])
        .arg(directory.join("bench.key"))
        .arg("--output")
        .arg(directory.join("share"))
        .arg(&raw))?;
    fs::remove_file(&raw)?;
    Ok(())
}

/// Links or copies regular files, in order of their names, until enough bytes are there.
fn gather(from: &Path, to: &Path, left: &mut u64) -> Result<()> {
    let context = || format!("gathering {}", from.display());
    let mut entries = fs::read_dir(from)
        .with_context(context)?
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    fs::create_dir_all(to).with_context(context)?;
    for entry in entries {
        let (source, place) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata().with_context(context)?;
        if metadata.is_dir() {
            gather(&source, &place, left)?;
        } else if metadata.is_file() && metadata.len() <= *left {
            fs::hard_link(&source, &place)
                .or_else(|_| fs::copy(&source, &place).map(drop))
                .with_context(|| format!("copying {}", source.display()))?;
            *left -= metadata.len();
        }
    }
    Ok(())
}
