//! The last question before a disk is destroyed.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use anyhow::{Result, ensure};
use gild_disk::Target;

use super::disk::Disk;

/// Shows what is lost and asks; only a "yes" goes on. Without a person to ask it refuses.
pub fn ask(disk: &Disk, purpose: &str) -> Result<()> {
    ensure!(
        stdin().is_terminal(),
        "nobody to ask whether {} may be destroyed: add --yes; nothing was written",
        disk.description
    );
    let mut out = stdout();
    writeln!(out, "Everything on {} will be destroyed:", disk.description)?;
    match disk.target.partition_table()? {
        None => writeln!(out, "  it has no partition table")?,
        Some(partitions) => {
            for partition in partitions {
                writeln!(
                    out,
                    "  partition {}: {} bytes, {} {}",
                    partition.number, partition.length, partition.kind, partition.name
                )?;
            }
        }
    }
    write!(out, "{purpose} Type yes to go on: ")?;
    out.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    ensure!(answer.trim() == "yes", "not confirmed; nothing was written");
    Ok(())
}
