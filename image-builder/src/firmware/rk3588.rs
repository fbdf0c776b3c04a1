//! `gild firmware rk3588`: the boot order inside U-Boot.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use gild_boards::fit::Fit;
use gild_boards::rk3588::{IdBlock, Image, Medium};
use sha2::{Digest, Sha256};

use super::facts::Facts;
use super::file::{self, Output};

/// U-Boot for the RK3588
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Change the order in which a U-Boot without a stored environment looks for systems
    SetBootTargets(SetBootTargetsArgs),
}

/// Change the order in which a U-Boot without a stored environment looks for systems
#[derive(Debug, clap::Args)]
pub struct SetBootTargetsArgs {
    /// U-Boot: u-boot-rockchip-spi.bin, or u-boot-rockchip.bin for cards
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Names that come first, in one argument, as in "nvme mmc1 mmc0"; the others that this U-Boot knows follow
    #[arg(value_name = "ORDER")]
    order: String,
    /// New file to write
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Print JSON: one object with what was done
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn set_boot_targets(args: &SetBootTargetsArgs) -> Result<()> {
    let subject = args.file.display();
    let image = read(file::read(&args.file)?)
        .with_context(|| format!("{subject} is not a whole U-Boot for the RK3588"))?;
    let order: Vec<&str> = args.order.split_whitespace().collect();
    if order.is_empty() {
        bail!("an empty boot order: name at least one place, as in \"nvme\"");
    }
    let changed = image
        .with_boot_targets(&order)
        .with_context(|| format!("cannot change the boot order in {subject}"))?;
    Output::stage(&args.out, changed.bytes(), &[&args.file])?.put()?;
    let mut facts = Facts::default();
    facts.add("image", args.out.display().to_string());
    facts.add("sha256", hex::encode(Sha256::digest(changed.bytes())));
    facts.add("compatible", changed.boards());
    facts.add("before", image.boot_targets()?.join(" "));
    facts.add("boot_targets", changed.boot_targets()?.join(" "));
    facts.print(args.json);
    Ok(())
}

/// A file of either kind. The error speaks of the kind that it looks like.
fn read(bytes: Vec<u8>) -> Result<Image> {
    let is_card = IdBlock::begins(&bytes)
        || Fit::begins(bytes.get(Medium::Card.fit_offset()..).unwrap_or_default());
    let medium = if is_card { Medium::Card } else { Medium::Spi };
    Ok(Image::parse(bytes, medium)?)
}
