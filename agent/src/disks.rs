//! Remembers the disks that a board had. If one of several is missing, the agent must not take another one for it.

use std::io;

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
        /// The lines of the list.
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
        error: io::Error,
    },
    /// The list is damaged.
    #[error(
        "{file} on the card, which lists the disks of this board, is damaged: {target} could be another one than the disk to write; next: see \
         that all disks of this board are fitted, and then delete {file}; or name the disk to write with target.serial. After that the disk is \
         written, unless an image of gild has proven itself on it"
    )]
    Damaged {
        /// The file.
        file: String,
        /// The disk that is there.
        target: String,
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

/// The NVMe disks that the kernel shows.
pub fn present() -> Vec<Candidate> {
    let any = Wanted {
        size: 0,
        sector_size: None,
        serial: None,
        boot_medium: None,
    };
    let findings = survey(&System::default(), &any).unwrap_or_default();
    findings
        .into_iter()
        .map(|finding| finding.candidate)
        .collect()
}

/// Remembers that this board has several disks, so that the agent will not take one for another.
pub fn remember(card: &dyn Folder, id: &str, present: &[Candidate]) {
    // What cannot be read may name a disk that is missing.
    let Ok(List::Lines(had)) = List::on(card, id) else {
        return;
    };
    let mut lines: Vec<String> = present.iter().map(line).collect();
    lines.sort();
    if present.len() > 1
        && missing(&had, present).is_none()
        && lines != had
        && let Err(error) = card.write(&disk_list(id), (lines.join("\n") + "\n").as_bytes())
    {
        warn!("the disks of this board are not remembered: {error}");
    }
}

/// Fails if this board had several disks and one of them is missing. `named` is the serial number of the disk to write, if somebody gave it:
/// then no other disk can be meant, unless two had this number.
pub fn check(
    card: &dyn Folder,
    id: &str,
    target: &Candidate,
    present: &[Candidate],
    named: Option<&str>,
) -> Result<(), DisksError> {
    let file = disk_list(id);
    let had = match List::on(card, id) {
        Ok(List::Lines(had)) => had,
        _ if named.is_some() => return Ok(()),
        Ok(List::Damaged) => {
            let target = target.to_string();
            return Err(DisksError::Damaged { file, target });
        }
        Err(error) => return Err(DisksError::Unreadable { file, error }),
    };
    let of_this_name = |named: &str| had.iter().filter(|line| *line == named).count();
    if named.is_some_and(|named| of_this_name(named) < 2) {
        return Ok(());
    }
    match missing(&had, present) {
        Some(absent) if had.len() > 1 => Err(DisksError::Missing {
            absent: shown(absent).to_owned(),
            had: had
                .iter()
                .map(|line| shown(line))
                .collect::<Vec<_>>()
                .join(" and "),
            target: target.to_string(),
            file,
        }),
        _ => Ok(()),
    }
}

/// The first line of the list for which no disk is there. Each disk stands for one line, because two disks may have the same serial number.
fn missing<'a>(had: &'a [String], present: &[Candidate]) -> Option<&'a String> {
    let mut left: Vec<&Candidate> = present.iter().collect();
    had.iter().find(|had| {
        let at = left.iter().position(|disk| is_line_of(had, disk));
        at.map(|at| left.remove(at)).is_none()
    })
}

/// How a disk stands in the list: by its serial number, or, if it has none, by its model and size.
fn line(disk: &Candidate) -> String {
    let line = match &*disk.serial {
        "" => format!("(no serial number) {} {} bytes", disk.model, disk.size),
        serial => serial.to_owned(),
    };
    // Such a character would make the list count as damaged.
    line.replace(is_not_text, "?")
}

/// Lists of earlier versions have an empty line for a disk without a serial number.
fn is_line_of(had: &str, disk: &Candidate) -> bool {
    had == line(disk) || (had.is_empty() && disk.serial.is_empty())
}

fn shown(line: &str) -> &str {
    if line.is_empty() {
        "(no serial number)"
    } else {
        line
    }
}

fn is_not_text(c: char) -> bool {
    c.is_control() || c == char::REPLACEMENT_CHARACTER
}

/// The list on the card.
enum List {
    /// Its lines. An absent list has none.
    Lines(Vec<String>),
    /// It is there, but nobody knows what it said.
    Damaged,
}

impl List {
    fn on(card: &dyn Folder, id: &str) -> io::Result<Self> {
        let Some(bytes) = card.read(&disk_list(id))? else {
            return Ok(Self::Lines(Vec::new()));
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // The agent never writes an empty list.
        let is_damaged = lines.is_empty() || lines.iter().any(|line| line.contains(is_not_text));
        Ok(if is_damaged {
            Self::Damaged
        } else {
            Self::Lines(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    const LIST: &str = "gild-1000.disks";

    fn disk(serial: &str) -> Candidate {
        Candidate {
            path: PathBuf::from("/dev/nvme0n1"),
            model: "Disk".to_owned(),
            serial: serial.to_owned(),
            size: 1,
            sector_size: 512,
        }
    }

    /// A start of a board that shows these disks, the first of which is to be written. `named`: by its serial number.
    fn start(card: &MemoryCard, present: &[Candidate], named: bool) -> Result<(), DisksError> {
        remember(card, "1000", present);
        let target = &present[0];
        let named = named.then_some(&*target.serial);
        check(card, "1000", target, present, named)
    }

    #[test]
    fn where_one_of_two_disks_is_missing_the_other_is_not_written() {
        let card = MemoryCard::new(&Power::on());
        let check = |present: &[&str]| {
            let present: Vec<_> = present.iter().map(|serial| disk(serial)).collect();
            start(&card, &present, false)
        };
        check(&["A"]).expect("one disk");
        assert_eq!(card.text(LIST), None, "one may be replaced");
        check(&["B", "A"]).expect("both are there");
        assert_eq!(card.text(LIST).as_deref(), Some("A\nB\n"));
        let error = check(&["A"]).expect_err("B is missing");
        assert!(error.to_string().contains("B is not there"), "{error}");
        check(&["A", "C"]).expect_err("another disk does not stand for B");
        check(&["A", "B"]).expect("both are there again");
        start(&card, &[disk("A")], true).expect("the configuration names it");
        card.remove(LIST).expect("an operator");
        check(&["A"]).expect("nobody remembers B");
        check(&["C"]).expect("one disk may be replaced by another");
    }

    #[test]
    fn two_disks_with_one_serial_number_or_none_are_two_disks() {
        let other = Candidate {
            size: 2,
            ..disk("")
        };
        let strange = || disk("S\u{1}");
        for (one, two, list) in [
            (disk("S"), disk("S"), "S\nS\n"),
            (
                disk(""),
                disk(""),
                "(no serial number) Disk 1 bytes\n(no serial number) Disk 1 bytes\n",
            ),
            (
                disk(""),
                other,
                "(no serial number) Disk 1 bytes\n(no serial number) Disk 2 bytes\n",
            ),
            (disk("A"), disk(""), "(no serial number) Disk 1 bytes\nA\n"),
            (strange(), strange(), "S?\nS?\n"),
        ] {
            let card = MemoryCard::new(&Power::on());
            start(&card, &[one.clone(), two.clone()], false).expect("both are there");
            assert_eq!(card.text(LIST).as_deref(), Some(list));
            for left in [one, two] {
                start(&card, &[left], false).expect_err(list);
            }
        }
        let card = MemoryCard::new(&Power::on());
        start(&card, &[disk("S"), disk("S")], true).expect("both are there");
        start(&card, &[disk("S")], true).expect_err("the name does not say which of the two");
    }

    #[test]
    fn a_damaged_list_of_disks_does_not_count_as_one_disk() {
        for list in ["", "\0\0\0\0\0\0\0\0", "A\n\0\0\0", "A\n\u{fffd}\n"] {
            let card = MemoryCard::new(&Power::on());
            card.write(LIST, list.as_bytes()).expect("a card");
            let error = start(&card, &[disk("A")], false).expect_err("nobody knows");
            assert!(
                error.to_string().contains("delete gild-1000.disks"),
                "{error}"
            );
            start(&card, &[disk("A")], true).expect("the configuration names it");
            start(&card, &[disk("A"), disk("B")], false).expect_err("there may be a third one");
            assert_eq!(card.text(LIST).as_deref(), Some(list), "it stays");
            card.remove(LIST).expect("an operator");
            start(&card, &[disk("A")], false).expect("no list");
        }
    }

    #[test]
    fn a_list_of_an_earlier_version_still_counts() {
        let card = MemoryCard::new(&Power::on());
        // One of the two disks has no serial number.
        card.write(LIST, b"\nA\n").expect("a card");
        start(&card, &[disk("A")], false).expect_err("the one without a number is missing");
        start(&card, &[disk("")], false).expect_err("A is missing");
        start(&card, &[disk("A"), disk("")], false).expect("both are there");
        let list = card.text(LIST);
        assert_eq!(
            list.as_deref(),
            Some("(no serial number) Disk 1 bytes\nA\n")
        );
        // Somebody has taken the line of a disk out that is gone for good.
        card.write(LIST, b"A\n").expect("a card");
        start(&card, &[disk("A")], false).expect("one disk");
    }
}
