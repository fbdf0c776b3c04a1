//! The ways to get the image onto the target.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gild_tests::cargo::host_program;
use gild_tests::ganesha::{EXPORT, Ganesha};

use crate::image::Image;
use crate::measure::{self, Run};
use crate::target::Target;

/// A way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `gild flash`: flash, read back, commit.
    Gild,
    /// The same by another build of gild.
    Other,
    /// `nfs-cat | zstd -dc | dd oflag=direct`, then all of it read back through `sha256sum`.
    Dd,
    /// `nfs-cat | bmaptool copy`: hashes what it gets, reads nothing back.
    Bmaptool,
}

impl Method {
    /// The first is compared with the others.
    pub const ALL: [Self; 3] = [Self::Gild, Self::Dd, Self::Bmaptool];
    /// Two builds of gild beside each other.
    pub const BUILDS: [Self; 2] = [Self::Gild, Self::Other];

    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gild => "gild flash",
            Self::Other => "gild flash, the other build",
            Self::Dd => "nfs-cat, zstd, dd, then sha256sum",
            Self::Bmaptool => "nfs-cat, bmaptool (no read-back)",
        }
    }

    /// Runs it once.
    pub fn run(
        self,
        image: &Image,
        server: &Ganesha,
        target: &Target,
        other: Option<&Path>,
    ) -> Result<Run> {
        let path = target.path().to_string_lossy();
        let manifest = &image.manifest;
        // libnfs names the ports in its own way.
        let stored = format!(
            "nfs://127.0.0.1{EXPORT}/{}/{}?version=3&nfsport={}&mountport={}",
            manifest.board,
            manifest.stored_file,
            server.port(),
            server.mount_port()
        );
        let shell = |script: &str| {
            let script = script.replace("STORED", &stored).replace("TARGET", &path);
            measure::run(
                target.scratch(),
                "bash",
                &["-eo", "pipefail", "-c", &script],
            )
        };
        match self {
            Self::Gild | Self::Other => {
                let gild = match other {
                    Some(other) if self == Self::Other => other.to_owned(),
                    _ => host_program("gild")?,
                };
                let address = server.url();
                let (share, ports) = address
                    .split_once('?')
                    .context("the address has no ports")?;
                let golden = format!("{share}/{}/golden.json?{ports}", manifest.board);
                let mut arguments =
                    vec!["flash", "--yes", "--manifest", &golden, "--target", &path];
                let key = image.key.to_string_lossy();
                arguments.extend(["--key", &key]);
                if !target.is_device() {
                    arguments.push("--allow-file");
                }
                measure::run(target.scratch(), &gild.to_string_lossy(), &arguments)
            }
            Self::Dd => {
                let blocks = manifest.raw_size / (4 << 20);
                let run = shell(&format!(
                    "nfs-cat 'STORED' | zstd -dc \
                     | dd of=TARGET bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none; \
                     dd if=TARGET bs=4M count={blocks} iflag=direct status=none | sha256sum"
                ))?;
                ensure!(
                    run.output.starts_with(&image.raw_sha256),
                    "what dd wrote is not the image: {}",
                    run.output
                );
                Ok(run)
            }
            Self::Bmaptool => {
                // bmaptool decodes by itself and knows the compression by the name.
                let pipe = target.scratch().join("pipe.img.zst");
                let bmap = image.folder().join(format!("{}.bmap", manifest.image_id));
                shell(
                    &format!(
                        "rm -f PIPE; mkfifo PIPE; nfs-cat 'STORED' > PIPE & \
                     bmaptool --quiet copy --bmap {} PIPE TARGET; wait $!",
                        bmap.display()
                    )
                    .replace("PIPE", &pipe.to_string_lossy()),
                )
            }
        }
    }
}
