//! The proof that this image starts, in the record on its disk.
//!
//! A disk that was just flashed is on trial. As long as nothing has proven that its image starts, the flasher may write it again, and a
//! failed start leads back to the card. The proof ends both. So it comes before k3s, and a node must not store anything that it could lose
//! before the proof. It requires what every start of the image must reach by itself: a writable root file system, systemd's basic.target
//! (the unit waits for it), and a wired interface. It never requires what a site may lack: an address, Matchbox, a cluster.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gild_format::record::{Found, RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_identity::Interface;
use log::{info, warn};

use crate::disk::{Disk, has_flasher_card};
use crate::trial;
use crate::trial::{BOOT_SCR, CONFIG_TXT, FOLDER, ON, without_trial};

/// Where the boot partition is mounted.
const BOOT: &str = "boot/firmware";
/// Where the image keeps what it knows about itself.
const STATE: &str = "var/lib/gild";
/// How often [`note_trial`] tries to read the record.
const READS: u32 = 3;
/// This file says that the image of this start is on trial. The units of the deadline look for it by this name.
const NOTE: &str = "run/gild/on-trial";
/// This file says that this node has already restarted once for its boot order.
const VISITED: &str = "var/lib/gild/visited-card";

/// What the disk says about its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The image is proven; this is its record.
    Proven(Record),
    /// The disk has no record that could be proven; the text says why.
    NoRecord(String),
}

/// Proves this image, if that has not been done yet.
pub fn prove(root: &Path) -> Result<Standing> {
    let disk = match Disk::of_root(root) {
        Ok(disk) => disk,
        Err(error) if Disk::is_elsewhere(root) => {
            return Ok(Standing::NoRecord(format!("{error:#}")));
        }
        Err(error) => return Err(error.context("the disk is not found: the image is not proven")),
    };
    let standing = prove_on(root, &disk)?;
    if let Err(error) = remove(&root.join(NOTE)) {
        warn!("the deadline of the trial will restart this node: {error}");
    }
    Ok(standing)
}

/// What the disk says about its image. Changes nothing. An image on trial has no standing yet.
pub fn standing(root: &Path) -> Result<Standing> {
    let disk = Disk::of_root(root)?;
    match found_on(&disk)? {
        Found::Record(record) if record.state == State::Proven => Ok(Standing::Proven(record)),
        _ => Ok(Standing::NoRecord(format!(
            "the record on {} is not that of a proven image",
            disk.device.display()
        ))),
    }
}

fn prove_on(root: &Path, disk: &Disk) -> Result<Standing> {
    let shown = disk.device.display();
    let record = match found_on(disk)? {
        Found::Record(record) => record,
        Found::Version1(_) => {
            return Ok(Standing::NoRecord(format!(
                "the record on {shown} is of an earlier gild, which counts it as proven"
            )));
        }
        Found::Damaged => {
            return Ok(Standing::NoRecord(format!(
                "the record on {shown} is damaged, and the flasher counts it as proven"
            )));
        }
        Found::Nothing => {
            return Ok(Standing::NoRecord(format!(
                "{shown} has no record: it was not written by gild"
            )));
        }
    };
    match record.state {
        State::Proven => Ok(Standing::Proven(record)),
        State::Trial => {
            check(root)?;
            let proven = Record {
                state: State::Proven,
                trial_starts: 0,
                ..record
            };
            disk.replace(RECORD_OFFSET, &proven.to_bytes())
                .with_context(|| format!("writing the proof to the record on {shown}"))?;
            info!("image {} has started: it is proven", proven.image_id);
            Ok(Standing::Proven(proven))
        }
        State::Flashing => {
            bail!("the record on {shown} says that the disk is still being written")
        }
    }
}

/// If the image is certainly on trial, notes that in a file outside the disk. The deadline of this start reads the note and so does not
/// need the disk. A doubtful disk is never a reason to restart, because a node may live on it.
pub fn note_trial(root: &Path) -> Result<()> {
    let Ok(disk) = Disk::of_root(root) else {
        return Ok(());
    };
    let mut found = found_on(&disk);
    for _ in 1..READS {
        if found.is_ok() {
            break;
        }
        found = found_on(&disk);
    }
    if is_trial(&found.context("this start has no deadline")?) {
        note(root)?;
    }
    Ok(())
}

/// Whether the image of this start was on trial and is still not proven.
#[must_use]
pub fn is_on_trial(root: &Path) -> bool {
    root.join(NOTE).exists()
}

fn note(root: &Path) -> Result<()> {
    let note = root.join(NOTE);
    let folder = note.parent().unwrap_or(root);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&note, ""))
        .with_context(|| format!("writing {}: this start has no deadline", note.display()))
}

fn is_trial(found: &Found) -> bool {
    matches!(found, Found::Record(record) if record.state == State::Trial)
}

/// The least rollback counter of an image that may replace the one on this disk, as far as a record says it.
pub fn next_floor(disk: &Disk) -> Result<u64> {
    Ok(match found_on(disk)? {
        Found::Record(record) => record.next_floor(),
        Found::Version1(_) | Found::Damaged | Found::Nothing => 0,
    })
}

fn found_on(disk: &Disk) -> Result<Found> {
    let bytes = disk.read(RECORD_OFFSET, RECORD_LENGTH).with_context(|| {
        format!(
            "reading the record on {}: the image is not proven",
            disk.device.display()
        )
    })?;
    Ok(Found::in_bytes(&bytes))
}

/// What every start of the image must reach by itself.
fn check(root: &Path) -> Result<()> {
    let probe = || -> io::Result<()> {
        let state = root.join(STATE);
        fs::create_dir_all(&state)?;
        let path = state.join("proof");
        File::create(&path)?.sync_all()?;
        fs::remove_file(path)
    };
    probe().context("the root file system cannot be written, so the image is not proven; next: read what the journal says about the disk")?;
    if Interface::wired(root).is_empty() {
        bail!(
            "no wired interface was found, so the image is not proven; next: check the cable's socket, and that the image has the driver"
        );
    }
    Ok(())
}

/// Removes the way back to the flasher card. This comes after the proof: until then, a start that fails must lead back there. If the
/// removal fails, the node still runs, and tries again at its next start.
pub fn end_trial(root: &Path) -> io::Result<()> {
    let boot = root.join(BOOT);
    if !boot.join(CONFIG_TXT).exists() && !boot.join(BOOT_SCR).exists() {
        return Err(io::Error::other(format!(
            "{} has neither {CONFIG_TXT} nor {BOOT_SCR}: the boot partition is not mounted there",
            boot.display()
        )));
    }
    // `ON` goes first, because the tokens mean nothing without it.
    for name in [ON].iter().chain(&trial::TOKENS) {
        remove(&boot.join(name))?;
    }
    match fs::remove_dir(boot.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let path = boot.join(CONFIG_TXT);
    let config = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        config => config?,
    };
    match without_trial(&config) {
        Some(config) => gild_whole_file::replace(&path, config.as_bytes()),
        None => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => gild_whole_file::sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this node should restart once so that its flasher card can set the boot order. It says yes only once, even if the card leaves
/// the order as it is.
pub fn should_visit_card(root: &Path) -> Result<bool> {
    // An overlay may lose the note of the visit, and then the node would restart forever.
    if Disk::is_below_overlay(root) {
        return Ok(false);
    }
    let Ok(disk) = Disk::of_root(root) else {
        return Ok(false);
    };
    let is_pending = matches!(
        found_on(&disk)?,
        Found::Record(Record {
            state: State::Proven,
            is_boot_order_pending: true,
            ..
        })
    );
    should_visit(root, is_pending)
}

fn should_visit(root: &Path, is_pending: bool) -> Result<bool> {
    if !is_pending {
        return Ok(false);
    }
    if !has_flasher_card(root) {
        warn!(
            "the boot order of this board is still to be changed, and the flasher card is not in its slot: a start with the \
             card in the slot changes it"
        );
        return Ok(false);
    }
    let visited = root.join(VISITED);
    if visited.exists() {
        warn!(
            "the boot order of this board is still to be changed: the flasher card was started once for it, and says why in \
             its gild-*.txt"
        );
        return Ok(false);
    }
    // Noted before the restart: otherwise the node could restart forever.
    fs::create_dir_all(root.join(STATE))
        .and_then(|()| File::create(&visited)?.sync_all())
        .and_then(|()| File::open(root.join(STATE))?.sync_all())
        .with_context(|| format!("writing {}", visited.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, symlink};

    use gild_format::manifest::Sha256Hex;

    use super::*;

    fn record(state: State) -> Record {
        Record {
            state,
            image_id: "rpi5-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 4,
            rollback_floor: 3,
            trial_starts: 2,
            is_discarded: true,
            is_boot_order_pending: true,
            orders: vec!["2026-12".to_owned()],
        }
    }

    /// On a real file system: one in memory may refuse `O_DIRECT`.
    fn disk_with(bytes: &[u8]) -> (tempfile::NamedTempFile, Disk) {
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("a disk");
        file.as_file().set_len(2 << 20).expect("its size");
        file.as_file()
            .write_all_at(bytes, RECORD_OFFSET)
            .expect("a record");
        let disk = Disk {
            device: file.path().to_owned(),
            sector: 512,
        };
        (file, disk)
    }

    fn node(with_interface: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        if with_interface {
            let path = root.path().join("sys/class/net/end0");
            fs::create_dir_all(path.join("device")).expect("an interface");
            for (name, text) in [
                ("type", "1"),
                ("ifindex", "2"),
                ("address", "02:00:00:00:00:01"),
            ] {
                fs::write(path.join(name), format!("{text}\n")).expect("its file");
            }
        }
        root
    }

    #[test]
    fn a_start_that_gets_far_enough_makes_a_trial_proven_and_keeps_all_else() {
        let (_file, disk) = disk_with(&record(State::Trial).to_bytes());
        let root = node(true);
        let proven = Record {
            trial_starts: 0,
            ..record(State::Proven)
        };
        for _ in 0..2 {
            let standing = prove_on(root.path(), &disk).expect("a proof");
            assert_eq!(standing, Standing::Proven(proven.clone()));
            assert_eq!(
                found_on(&disk).expect("a record"),
                Found::Record(proven.clone())
            );
        }
    }

    #[test]
    fn a_start_that_lacks_something_proves_nothing() {
        let trial = record(State::Trial);
        let (_file, disk) = disk_with(&trial.to_bytes());
        let error = prove_on(node(false).path(), &disk).expect_err("no interface");
        assert!(error.to_string().contains("wired interface"), "{error:#}");

        let root = node(true);
        // A file stands where the folder should be, so not even root can write there.
        fs::create_dir_all(root.path().join("var/lib")).expect("a folder");
        fs::write(root.path().join(STATE), "").expect("a file");
        let error = prove_on(root.path(), &disk).expect_err("no place to write");
        assert!(error.to_string().contains("cannot be written"), "{error:#}");
        assert_eq!(found_on(&disk).expect("a record"), Found::Record(trial));
    }

    #[test]
    fn only_an_image_that_is_certainly_on_trial_has_a_deadline() {
        for (state, is_on) in [
            (State::Trial, true),
            (State::Proven, false),
            (State::Flashing, false),
        ] {
            let (_file, disk) = disk_with(&record(state).to_bytes());
            let found = found_on(&disk).expect("a record");
            assert_eq!(is_trial(&found), is_on, "{state:?}");
        }
        let mut damaged = record(State::Trial).to_bytes();
        damaged[30] ^= 1;
        for bytes in [&damaged[..], &[0; RECORD_LENGTH]] {
            let (_file, disk) = disk_with(bytes);
            assert!(!is_trial(&found_on(&disk).expect("bytes")));
        }
    }

    #[test]
    fn what_is_not_on_trial_stays_as_it_is() {
        let mut damaged = record(State::Proven).to_bytes();
        damaged[30] ^= 1;
        for bytes in [&damaged[..], &[0; RECORD_LENGTH], &[0x5a; RECORD_LENGTH]] {
            let (_file, disk) = disk_with(bytes);
            let standing = prove_on(node(true).path(), &disk).expect("a standing");
            assert!(matches!(standing, Standing::NoRecord(_)), "{standing:?}");
            let found = disk.read(RECORD_OFFSET, RECORD_LENGTH).expect("bytes");
            assert_eq!(found, bytes);
        }
        let (_file, disk) = disk_with(&record(State::Flashing).to_bytes());
        prove_on(node(true).path(), &disk).expect_err("half an image");
    }

    #[test]
    fn the_way_back_to_the_card_is_taken_away_and_nothing_else() {
        let root = node(true);
        let root = root.path();
        end_trial(root).expect_err("a boot partition that is not mounted");
        let boot = root.join(BOOT);
        fs::create_dir_all(boot.join(FOLDER)).expect("a folder");
        for name in [ON].iter().chain(&trial::TOKENS[1..]) {
            fs::write(boot.join(name), "").expect("a file");
        }
        let config = "[all]\nkernel=vmlinuz.gz\n";
        fs::write(boot.join(CONFIG_TXT), trial::with_trial(config)).expect("a file");
        fs::write(boot.join(BOOT_SCR), "script").expect("a file");
        for _ in 0..2 {
            end_trial(root).expect("its end");
            assert!(!boot.join(FOLDER).exists());
            let left = fs::read_to_string(boot.join(CONFIG_TXT)).expect("a file");
            assert_eq!(left, config);
            assert!(boot.join(BOOT_SCR).exists());
        }
    }

    #[test]
    fn a_node_visits_its_card_once_and_only_for_an_order_that_is_pending() {
        let root = node(true);
        let root = root.path();
        let visits = |is_pending| should_visit(root, is_pending).expect("an answer");
        assert!(!visits(true), "no card");
        let card = root.join("sys/class/block/mmcblk0/device");
        fs::create_dir_all(&card).expect("a card");
        fs::write(card.join("type"), "SD\n").expect("its kind");
        assert!(!visits(true), "somebody else's card");
        let labels = root.join("dev/disk/by-label");
        fs::create_dir_all(&labels).expect("labels");
        fs::write(root.join("dev/mmcblk0p1"), "").expect("a device");
        symlink("../../mmcblk0p1", labels.join("GILD")).expect("a label");
        assert!(!visits(false), "nothing is pending");
        assert!(visits(true));
        assert!(!visits(true), "once");
    }
}
