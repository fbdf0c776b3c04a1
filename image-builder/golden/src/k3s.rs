//! k3s: its program and its unit, installed and neither enabled nor started.

mod airgap;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use airgap::{Images, Problem as ImagesProblem};

use crate::cache::{CacheError, is_sha256, sha256_of};
use crate::tree::{Content, Tree, TreeError};

/// The names under which k3s's program is several programs.
const LINKS: [&str; 3] = ["kubectl", "crictl", "ctr"];

/// As the upstream installer writes it for an agent.
const UNIT: &str = include_str!("k3s/k3s-agent.service");

/// Where k3s looks for images to import before it starts.
const IMAGES: &str = "var/lib/rancher/k3s/agent/images";

/// The k3s that goes into the image.
#[derive(Clone, Debug)]
pub struct K3s {
    /// The release's `k3s-arm64`.
    pub program: PathBuf,
    /// Its SHA-256, as the release's `sha256sum-arm64.txt` says.
    pub sha256: String,
    /// The release's container images.
    pub airgap_images: Option<Images>,
}

/// What was installed, for the build record.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    /// Digest of the program.
    pub sha256: String,
    /// Version that the program's own name for itself holds, if it was found.
    pub version: Option<String>,
    /// Digest of the images.
    pub airgap_images_sha256: Option<String>,
    /// Their names.
    pub airgap_images: Vec<String>,
}

/// Why k3s cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum K3sError {
    /// Another file than the one asked for.
    #[error(
        "{} has SHA-256 {found}, not {expected}; next: fetch it again, and take the digest from the same release",
        path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Not a digest.
    #[error(
        "{given} is not the SHA-256 of {}; next: give the 64 hex digits that the release's sha256sum-arm64.txt has for it",
        path.display()
    )]
    NoDigest {
        /// The file.
        path: PathBuf,
        /// What was given.
        given: String,
    },
    /// No program of the boards' processor.
    #[error(
        "{} is not a program of arm64 boards; next: take the file k3s-arm64 of the release", path.display()
    )]
    NotAProgram {
        /// The file.
        path: PathBuf,
    },
    /// Images that k3s would not find.
    #[error(
        "{} is not called *.tar, *.tar.gz or *.tar.zst, and k3s would not import it; next: give it its release's name",
        path.display()
    )]
    ImagesName {
        /// The file.
        path: PathBuf,
    },
    /// Images that this program cannot use on the boards.
    #[error("{} {problem}; next: take the file k3s-airgap-images-arm64.tar.zst of the program's own release", path.display())]
    Images {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: ImagesProblem,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A digest could not be computed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl K3s {
    /// Checks the files, before anything expensive starts.
    pub fn check(&self) -> Result<Installed, K3sError> {
        let sha256 = digest(&self.program, &self.sha256)?;
        if !is_arm64_program(&self.program)? {
            return Err(K3sError::NotAProgram {
                path: self.program.clone(),
            });
        }
        let version = version_of(&self.program)?;
        let mut airgap_images_sha256 = None;
        let mut airgap_images = Vec::new();
        if let Some(Images { path, sha256 }) = &self.airgap_images {
            images_name(path)?;
            airgap_images_sha256 = Some(digest(path, sha256)?);
            airgap_images =
                airgap::check(path, version.as_deref()).map_err(|problem| K3sError::Images {
                    path: path.clone(),
                    problem,
                })?;
        }
        Ok(Installed {
            sha256,
            version,
            airgap_images_sha256,
            airgap_images,
        })
    }

    /// Whether the files are what they were when they were checked.
    pub fn is_still(&self, installed: &Installed) -> Result<bool, K3sError> {
        Ok(sha256_of(&self.program)? == installed.sha256
            && self.images_digest()? == installed.airgap_images_sha256)
    }

    fn images_digest(&self) -> Result<Option<String>, CacheError> {
        let images = self.airgap_images.as_ref();
        images.map(|images| sha256_of(&images.path)).transpose()
    }

    /// Puts it into the tree.
    pub fn install(&self, tree: &mut Tree) -> Result<(), K3sError> {
        let program = Content::of_host_file(&self.program)?;
        tree.insert_file("usr/local/bin/k3s", 0o755, program)?;
        for link in LINKS {
            tree.insert_symlink(&format!("usr/local/bin/{link}"), "k3s")?;
        }
        tree.insert_file(
            "etc/systemd/system/k3s-agent.service",
            0o644,
            UNIT.as_bytes().to_vec(),
        )?;
        if let Some(images) = &self.airgap_images {
            let name = images_name(&images.path)?;
            let content = Content::of_host_file(&images.path)?;
            tree.insert_file(&format!("{IMAGES}/{name}"), 0o644, content)?;
        }
        Ok(())
    }
}

/// A file's SHA-256, if it is the expected one.
fn digest(path: &Path, expected: &str) -> Result<String, K3sError> {
    if !is_sha256(expected) {
        return Err(K3sError::NoDigest {
            path: path.to_owned(),
            given: expected.to_owned(),
        });
    }
    let found = sha256_of(path)?;
    if found.eq_ignore_ascii_case(expected.trim()) {
        return Ok(found);
    }
    Err(K3sError::Digest {
        path: path.to_owned(),
        found,
        expected: expected.to_owned(),
    })
}

fn images_name(path: &Path) -> Result<&str, K3sError> {
    path.file_name()
        .and_then(|name| name.to_str())
        .filter(|name| {
            [".tar", ".tar.gz", ".tar.zst"]
                .iter()
                .any(|ending| name.ends_with(ending))
        })
        .ok_or_else(|| K3sError::ImagesName {
            path: path.to_owned(),
        })
}

/// Whether this is an ELF file for 64-bit ARM.
pub fn is_arm64_program(path: &Path) -> Result<bool, K3sError> {
    let mut header = [0; 20];
    let read = |source| K3sError::Read {
        path: path.to_owned(),
        source,
    };
    match File::open(path).map_err(read)?.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other.map_err(read)?,
    }
    // Class 64-bit, little-endian, machine 183.
    Ok(header.starts_with(b"\x7fELF\x02\x01") && header[18..] == [183, 0])
}

/// The version in the program: a release's path names carry it as `k3s/data` does not. Looked for, not needed.
fn version_of(path: &Path) -> Result<Option<String>, K3sError> {
    let bytes = std::fs::read(path).map_err(|source| K3sError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mark = b"+k3s";
    let is_in_version = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-".contains(byte);
    let found = bytes.windows(mark.len()).position(|window| window == mark);
    Ok(found.and_then(|middle| {
        let start = middle
            - bytes[..middle]
                .iter()
                .rev()
                .take(16)
                .take_while(|b| is_in_version(b))
                .count();
        let end = middle
            + bytes[middle..]
                .iter()
                .take(16)
                .take_while(|b| is_in_version(b))
                .count();
        let text = std::str::from_utf8(&bytes[start..end]).ok()?;
        let version = &text[text.rfind('v')?..];
        version[1..]
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| version.to_owned())
    }))
}
