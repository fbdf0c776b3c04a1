//! `gild firmware inspect`: what a file is, whether it is whole, and for which board.

use std::path::PathBuf;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use super::facts::Facts;
use super::file;
use super::kind::identify;

/// Say what a firmware file is, whether it is whole, and for which board
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Firmware file: EEPROM image or its .sig, recovery.bin, U-Boot for SPI flash or SD card, FIT, environment, boot script
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON: one object with what is shown otherwise
    #[arg(long)]
    json: bool,
}

/// Runs the command. A file that is not whole, or not known, is an error after all has been said.
pub fn run(args: &Args) -> Result<()> {
    let bytes = file::read(&args.file)?;
    let found = identify(&bytes);
    let mut facts = Facts::default();
    facts.add("file", args.file.display().to_string());
    facts.add("size", bytes.len());
    facts.add("sha256", hex::encode(Sha256::digest(&bytes)));
    facts.add("kind", found.kind);
    if found.is_checked {
        facts.add("whole", found.problem.is_none());
    } else {
        facts.add("whole", "unknown: nothing in such a file says so");
    }
    facts.add_if("problem", found.problem.clone());
    facts.add("boards", found.boards);
    for (name, value) in found.details {
        facts.add(name, value);
    }
    facts.print(args.json);
    match found.problem {
        Some(problem) => bail!(
            "{} cannot be used: {problem}; next: give another copy of it, or the file that docs/card.md names (Firmware files)",
            args.file.display()
        ),
        None => Ok(()),
    }
}
