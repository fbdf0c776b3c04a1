//! Remembers the disks that a board had. If one of several is missing, the agent must not take another one for it.

use gild_card_format::names::disk_list;
use gild_disk::select::{Candidate, System, Wanted, survey};
use gild_faults::{Fault, HasFault};
use log::warn;

use crate::card::folder::Folder;
use crate::failure::StepError;

/// The disk may be the wrong one.
#[derive(Debug, thiserror::Error)]
pub enum DisksError {
    /// A disk of this board is missing.
    #[error(
        "this board had the disks {had}, by their serial numbers, and {absent} is not there: {target} could be taken for it; the list is in {file} on the card"
    )]
    Missing {
        /// The serial numbers of all of them.
        had: String,
        /// The first one that is missing.
        absent: String,
        /// The one that is.
        target: String,
        /// The file with the list.
        file: String,
    },
    /// The list cannot be read.
    #[error("{file} on the card, which may list the disks of this board, cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the kernel said.
        error: std::io::Error,
    },
}

impl HasFault for DisksError {
    fn fault(&self) -> Fault {
        Fault::NoTarget
    }
}

impl StepError for DisksError {
    fn next_step(&self) -> &'static str {
        "fit the missing disk again; or, if it is gone for good, name the disk to write with target.serial, or delete the list on the card: \
         then the disk that is left is written, unless an image of gild has proven itself on it"
    }
}

/// The serial numbers of the NVMe disks that the kernel shows.
pub fn present() -> Vec<String> {
    let any = Wanted {
        size: 0,
        sector_size: None,
        serial: None,
        boot_medium: None,
    };
    let findings = survey(&System::default(), &any).unwrap_or_default();
    let serials = findings.into_iter().map(|finding| finding.candidate.serial);
    serials.collect()
}

/// Remembers that this board has several disks, so that the agent will not take one for another.
pub fn remember(card: &dyn Folder, id: &str, mut present: Vec<String>) {
    let Ok(had) = on_card(card, id) else {
        return;
    };
    let is_all = had.iter().all(|serial| present.contains(serial));
    present.sort();
    if present.len() > 1
        && is_all
        && present != had
        && let Err(error) = card.write(&disk_list(id), (present.join("\n") + "\n").as_bytes())
    {
        warn!("the disks of this board are not remembered: {error}");
    }
}

/// Fails if this board had several disks and one of them is missing.
pub fn check(
    card: &dyn Folder,
    id: &str,
    target: &Candidate,
    present: &[String],
) -> Result<(), DisksError> {
    let had = on_card(card, id)?;
    let missing = had.iter().find(|serial| !present.contains(serial));
    match missing {
        Some(missing) if had.len() > 1 => Err(DisksError::Missing {
            had: had.join(" and "),
            absent: missing.clone(),
            target: target.to_string(),
            file: disk_list(id),
        }),
        _ => Ok(()),
    }
}

fn on_card(card: &dyn Folder, id: &str) -> Result<Vec<String>, DisksError> {
    let file = disk_list(id);
    let text = match card.read(&file) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => return Err(DisksError::Unreadable { file, error }),
    };
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    fn disk(serial: &str) -> Candidate {
        Candidate {
            path: PathBuf::from("/dev/nvme0n1"),
            model: "Disk".to_owned(),
            serial: serial.to_owned(),
            size: 1,
            sector_size: 512,
        }
    }

    #[test]
    fn where_one_of_two_disks_is_missing_the_other_is_not_written() {
        let card = MemoryCard::new(&Power::on());
        let check = |serial: &str, present: &[&str]| {
            let present: Vec<_> = present.iter().map(|serial| (*serial).to_owned()).collect();
            remember(&card, "1000", present.clone());
            check(&card, "1000", &disk(serial), &present)
        };
        check("A", &["A"]).expect("one disk");
        assert_eq!(card.text("gild-1000.disks"), None, "one may be replaced");
        check("B", &["B", "A"]).expect("both are there");
        assert_eq!(card.text("gild-1000.disks").as_deref(), Some("A\nB\n"));
        let error = check("A", &["A"]).expect_err("B is missing");
        assert!(error.to_string().contains("B is not there"), "{error}");
        check("A", &["A", "C"]).expect_err("another disk does not stand for B");
        check("B", &["A", "B"]).expect("both are there again");
        card.remove("gild-1000.disks").expect("an operator");
        check("A", &["A"]).expect("nobody remembers B");
        check("C", &["C"]).expect("one disk may be replaced by another");
    }
}
