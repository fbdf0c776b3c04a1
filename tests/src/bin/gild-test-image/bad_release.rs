//! A bad release of the real image, made from a good one.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::cargo::host_program;
use gild_tests::chain::Chain;
use gild_tests::command::{command, run};
use gild_tests::firmware;
use gild_tests::golden::Golden;
use gild_tests::pi5::Medium;
use gild_tests::share::Share;

use crate::node::ROOT_OFFSET;

/// The name that no kernel looks for.
const OTHER_NAME: &str = "6b61703a-1b16-4c1b-9f4b-0b1a5e2d3c4f";

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The root partition has another name than its kernel looks for.
    Root,
    /// The kernel's first process ends, so the kernel panics.
    Panic,
    /// The kernel's first process waits forever, before a watchdog is open.
    Hang,
}

impl Defect {
    /// By the word that an operator gives.
    pub fn named(word: &str) -> Result<Self> {
        match word {
            "root" => Ok(Self::Root),
            "panic" => Ok(Self::Panic),
            "hang" => Ok(Self::Hang),
            _ => bail!("`{word}` is not a defect; next: give root, panic or hang"),
        }
    }

    /// The last thing that a start with this defect says.
    const fn last_words(self) -> &'static str {
        match self {
            Self::Root => "does not exist.  Dropping to a shell!",
            Self::Panic => "Kernel panic",
            Self::Hang => "MODULES=",
        }
    }

    fn plant(self, product: Product, raw: &Path) -> Result<()> {
        let arguments = match self {
            Self::Root => {
                run(command("sfdisk")
                    .args(["--quiet", "--part-uuid"])
                    .arg(raw)
                    .args(["2", OTHER_NAME]))?;
                return Ok(());
            }
            Self::Panic => "rdinit=/bin/true",
            // It shows a file of the initramfs, and then waits for what a person types on the console.
            Self::Hang => "rdinit=/bin/cat -- /conf/initramfs.conf -",
        };
        firmware::add_kernel_arguments(product, raw, arguments)
    }
}

/// Makes it, and a share that has it.
pub fn made_from(good: &Share, defect: Defect, directory: &Path) -> Result<Share> {
    let product = good.golden.product;
    let raw = directory.join("bad.img");
    run(command("zstd")
        .args(["--decompress", "--quiet", "--force", "-o"])
        .arg(&raw)
        .arg(&good.golden.raw))?;
    defect.plant(product, &raw)?;
    let image_id = format!("{}-000000000bad", product.name());
    rename(&raw, &good.golden.image_id, &image_id)?;
    let share = directory.join("bad-share");
    run(command(&host_program("gild")?.to_string_lossy())
        .args(["image", "pack", "--proves-itself", "--level", "3"])
        .args(["--board", product.name(), "--id", &image_id, "--key"])
        .arg(&good.key)
        .arg("--output")
        .arg(&share)
        .arg(&raw))?;
    fs::remove_file(&raw)?;
    let stored = format!("{}/{image_id}.img.zst", product.name());
    Ok(Share {
        golden: Golden {
            raw: share.join(stored),
            image_id,
            ..good.golden.clone()
        },
        directory: share,
        ..good.clone()
    })
}

/// Renames the image. The boot partition says which image it is, and U-Boot starts only the one that the agent wants.
fn rename(raw: &Path, from: &str, to: &str) -> Result<()> {
    let mut start = Vec::new();
    File::open(raw)?.take(ROOT_OFFSET).read_to_end(&mut start)?;
    let mut places = start.windows(from.len()).enumerate();
    let (place, _) = places
        .find(|(_, bytes)| *bytes == from.as_bytes())
        .context("the boot partition does not say which image it is")?;
    ensure!(from.len() == to.len(), "{to} is not as long as {from}");
    let file = OpenOptions::new().write(true).open(raw)?;
    Ok(file.write_all_at(to.as_bytes(), place as u64)?)
}

/// Each of its three starts fails and leads back to the card. The board returns by itself, or at the next power-on after a hang. Then the
/// agent waits for another image.
pub fn uses_up_its_starts(defect: Defect, chain: &mut Chain) -> Result<()> {
    for _ in 0..3 {
        chain.wait_for("gild: rebooting to start the disk")?;
        chain.restart(Medium::Nvme, |_, _| Ok(()))?;
        chain.wait_for(defect.last_words())?;
        if defect == Defect::Hang {
            chain.power_cycle(Medium::Card)?;
        } else {
            chain.restart(Medium::Card, |_, _| Ok(()))?;
        }
    }
    chain.wait_for("gild: FAULT 8: image ")?;
    chain.tolerate_faults();
    Ok(())
}

/// Publishes the good image, as an operator would after seeing the failure.
pub fn replace(bad: &Path, good: &Share) -> Result<()> {
    let public_key = good.key.with_extension("pub");
    let folder = good.board_directory();
    run(command(&host_program("gild")?.to_string_lossy())
        .args(["image", "publish"])
        .arg(folder)
        .arg("--to")
        .arg(bad)
        .arg("--key")
        .arg(public_key))
    .context("publishing the good image")?;
    Ok(())
}
