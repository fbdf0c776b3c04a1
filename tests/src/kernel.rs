//! The Debian kernel that the virtual boards run, as `toolchain/fetch-kernel` leaves it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, run, run_into};
use crate::workspace;

/// The unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    directory: PathBuf,
}

impl Kernel {
    /// The kernel in `target/kernel`. If it is not there, it is fetched now.
    pub fn fetched() -> Result<Self> {
        let directory = workspace::target().join("kernel");
        if !directory.join("modules/modules.dep").exists() {
            let _lock = workspace::lock("kernel")?;
            if !directory.join("modules/modules.dep").exists() {
                run(&mut command(
                    &workspace::root()
                        .join("toolchain/fetch-kernel")
                        .to_string_lossy(),
                ))?;
            }
        }
        Ok(Self { directory })
    }

    /// The same with drivers for QEMU's flash, which Debian leaves out of its kernel. They are built now if they are not there.
    pub fn with_flash() -> Result<Self> {
        Self::fetched()?;
        let _lock = workspace::lock("kernel-flash")?;
        let script = workspace::root().join("toolchain/flash-modules");
        run(&mut command(&script.to_string_lossy()))?;
        let directory = workspace::target().join("kernel-flash");
        Ok(Self { directory })
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kernel image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Its version.
    pub fn version(&self) -> Result<String> {
        Ok(fs::read_to_string(self.directory.join("version"))
            .context("reading target/kernel/version")?
            .trim()
            .to_owned())
    }

    /// These modules and all that they need, as `(name, bytes)` in load order, uncompressed. Modules that are built into the kernel are
    /// left out.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let modules = self.directory.join("modules");
        let dependencies =
            fs::read_to_string(modules.join("modules.dep")).context("reading modules.dep")?;
        let mut by_name = BTreeMap::new();
        for line in dependencies.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            by_name.insert(module_name(path), (path, needs));
        }
        let mut order: Vec<&str> = Vec::new();
        for name in names {
            let Some((path, needs)) = by_name.get(*name) else {
                continue;
            };
            // modules.dep lists what a module needs with the deepest last.
            for path in needs.split_whitespace().rev().chain([*path]) {
                if !order.contains(&path) {
                    order.push(path);
                }
            }
        }
        order
            .into_iter()
            .map(|path| Ok((module_name(path), uncompressed(&modules.join(path))?)))
            .collect()
    }

    /// The kernel image, gzipped.
    pub fn gzip_into(&self, output: &Path) -> Result<()> {
        run_into(
            command("gzip")
                .args(["--no-name", "-6", "--stdout"])
                .arg(self.image()),
            output,
        )
    }
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn uncompressed(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        return run(command("xz").args(["--decompress", "--stdout"]).arg(path));
    }
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
