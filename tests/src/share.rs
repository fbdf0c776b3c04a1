//! The share an operator fills: golden images, packed and signed by the real `gild`, and published.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board_dtb::Product;
use crate::cargo::host_program;
use crate::command::{command, run};
use crate::golden::{self, Golden, Start};
use crate::workspace;

/// A directory with `<board>/golden.json` and what belongs to it.
#[derive(Clone, Debug)]
pub struct Share {
    /// The directory that is exported.
    pub directory: PathBuf,
    /// The image that is published in it.
    pub golden: Golden,
    /// The public key the manifests are signed for.
    pub public_key: String,
    /// The file with the secret key.
    pub key: PathBuf,
    /// Is it one test's own, to be spoiled?
    pub own: bool,
}

/// The published golden image of a board, packed when its inputs have changed.
pub fn published(product: Product) -> Result<Share> {
    pack_once(golden::image(product)?)
}

/// The same for an image on trial. Its starts do this.
pub fn published_on_trial(product: Product, start: Start) -> Result<Share> {
    pack_once(golden::image_on_trial(product, start)?)
}

fn pack_once(golden: Golden) -> Result<Share> {
    let gild = host_program("gild")?;
    let key = workspace::key(&[&gild], &[&golden.image_id, include_str!("share.rs")])?;
    let start = golden.on_trial.map(|start| format!("-{start:?}"));
    let name = format!(
        "share-{}{}",
        golden.product.name(),
        start.unwrap_or_default().to_lowercase()
    );
    let directory = workspace::cached(&name, &key, |directory| pack(&gild, &golden, directory))?;
    let public_key = fs::read_to_string(directory.join("gild.pub"))?;
    let public_key = public_key
        .lines()
        .last()
        .context("an empty public key")?
        .to_owned();
    Ok(Share {
        directory: directory.join("share"),
        golden,
        public_key,
        key: directory.join("gild.key"),
        own: false,
    })
}

fn pack(gild: &Path, golden: &Golden, directory: &Path) -> Result<()> {
    run(command(&gild.to_string_lossy())
        .args(["key", "new", "--output"])
        .arg(directory.join("gild")))?;
    publish(
        gild,
        golden,
        &directory.join("gild.key"),
        &directory.join("share"),
    )
}

fn publish(gild: &Path, golden: &Golden, key: &Path, share: &Path) -> Result<()> {
    run(command(&gild.to_string_lossy())
        .args(["image", "pack"])
        .arg(&golden.raw)
        .args([
            "--board",
            golden.product.name(),
            "--id",
            &golden.image_id,
            "--key",
        ])
        .arg(key)
        .args(golden.on_trial.map(|_| "--proves-itself"))
        .arg("--output")
        .arg(share))?;
    Ok(())
}

impl Share {
    /// A copy in an empty directory, to be spoiled.
    pub fn copy_to(&self, directory: &Path) -> Result<Self> {
        copy_tree(&self.directory, directory)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            own: true,
            ..self.clone()
        })
    }

    /// Publishes another image instead of this one, signed with the same key. As an operator may, it does this while the share is served.
    pub fn publish(&self, golden: &Golden) -> Result<()> {
        publish(&host_program("gild")?, golden, &self.key, &self.directory)
    }

    /// The directory of the published board.
    #[must_use]
    pub fn board_directory(&self) -> PathBuf {
        self.directory.join(self.golden.product.name())
    }

    /// The file with the chunks, relative to the exported directory.
    #[must_use]
    pub fn stored_file(&self) -> PathBuf {
        Path::new(self.golden.product.name()).join(format!("{}.img.zst", self.golden.image_id))
    }

    /// Changes one number in the published manifest and returns the old one. The manifest is still valid in itself, so only the signature
    /// shows the change.
    pub fn spoil_manifest(&self) -> Result<String> {
        let path = self.manifest_file();
        let good = fs::read_to_string(&path)?;
        let time = self.manifest()?.build_time;
        let spoiled = good.replace(&time.to_string(), &(time + 1).to_string());
        fs::write(&path, spoiled)?;
        Ok(good)
    }

    /// The file of the manifest.
    #[must_use]
    pub fn manifest_file(&self) -> PathBuf {
        self.board_directory().join("golden.json")
    }

    /// The manifest.
    pub fn manifest(&self) -> Result<gild_format::manifest::Manifest> {
        let path = self.manifest_file();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(gild_format::manifest::Manifest::parse(&bytes)?)
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
