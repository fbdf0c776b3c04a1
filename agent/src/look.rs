//! Step 4, disk: find out what the board's disk holds, and decide what to do with it, before asking any server.

use gild_card_format::Order;
use gild_disk::select::{self, Candidate, System, Wanted};
use gild_disk::{Clock, Target};
use gild_faults::{Fault, HasFault};
use gild_format::record::Record;
use gild_orders::{OrderId, last_signed};
use log::{info, warn};

use crate::consent::{self, Decision, Holds, LookError, Proven};
use crate::failure::{Failure, Remedy, StepError};
use crate::machine::Machine;
use crate::node::Node;
use crate::stall::Watcher;
use crate::{disks, flash, hangs, restarts, trial, waited};

/// A restart may make a record readable. After this many restarts the disk counts as proven.
const RESTARTS: u32 = 2;

/// The disk cannot be read. Its content is unknown, so nothing is written.
#[derive(Debug, thiserror::Error)]
#[error("reading {disk}, which may hold a node's data, failed: {error}")]
pub struct Unreadable {
    disk: String,
    error: LookError,
}

/// The disk has just been written, but it no longer holds what it held a moment ago.
#[derive(Debug, thiserror::Error)]
#[error("looking at {disk}, which was just written: {what}")]
pub struct NotKept {
    disk: String,
    what: String,
}

impl HasFault for NotKept {
    fn fault(&self) -> Fault {
        Fault::TargetFailed
    }
}

impl StepError for NotKept {
    fn remedy(&self) -> Remedy {
        Remedy::Restart
    }
}

impl HasFault for Unreadable {
    fn fault(&self) -> Fault {
        Fault::TargetFailed
    }
}

impl StepError for Unreadable {
    fn remedy(&self) -> Remedy {
        Remedy::Restart
    }
}

/// A disk, its content, and the decision about it.
pub struct Seen {
    /// The disk.
    pub target: Candidate,
    /// Its content.
    pub holds: Holds,
    /// What the agent does with it.
    pub decision: Decision,
}

impl Seen {
    /// The image that it carries, if that is known.
    pub fn image_id(&self) -> Option<String> {
        match &self.decision {
            Decision::Start(proven) => proven.image_id().map(str::to_owned),
            Decision::Try(record) | Decision::Replace(record) => Some(record.image_id.clone()),
            Decision::Write(_) => None,
        }
    }
}

/// Looks once more at a disk that was just written, because the next start acts on what the disk says now.
pub fn again(disk: &dyn Target, seen: Seen) -> Result<Seen, NotKept> {
    let failed = |what: String| NotKept {
        disk: seen.target.to_string(),
        what,
    };
    let holds = Holds::on(disk).map_err(|error| failed(error.to_string()))?;
    let decision = match &holds {
        // An image that was just written gets a start, whatever its count is.
        Holds::Trial(record) => Decision::Try(record.clone()),
        Holds::Proven(proven) => Decision::Start(proven.clone()),
        Holds::Blank(_) | Holds::Foreign => {
            return Err(failed("it does not carry the image".to_owned()));
        }
    };
    Ok(Seen {
        holds,
        decision,
        ..seen
    })
}

/// What to do if the share does not say what to write. An image that has had its starts gets another one after its pause, because power
/// cuts may have kept it from proving itself.
pub fn without_share(
    machine: &Machine,
    node: &mut Node,
    seen: Option<Seen>,
    failure: Failure,
) -> Result<Seen, Failure> {
    let is_share = matches!(
        failure.fault,
        Fault::NoNetwork
            | Fault::ServerUnreachable
            | Fault::ManifestRefused
            | Fault::NoTarget
            | Fault::ImageCorrupt
    );
    match seen {
        Some(Seen {
            target,
            holds,
            decision: Decision::Replace(record),
        }) if is_share
            && trial::may_try_again(
                &record,
                waited::before(node, &target.serial, &record),
                machine.now(),
                machine.hold,
            )
            .is_ok()
            && still_carries(&target, &record) =>
        {
            info!(
                "{}: the image on the disk is started once more",
                failure.message
            );
            Ok(Seen {
                target,
                holds,
                decision: Decision::Try(record),
            })
        }
        // A signed order asks for a write, but a node that can start does not wait for the share. It asks again at its next start.
        Some(seen)
            if is_share
                && matches!(seen.decision, Decision::Start(_))
                && still_holds(&seen.target, &seen.holds) =>
        {
            info!("{}: the disk is started as it is", failure.message);
            node.heard.has_failed(&failure.message);
            Ok(seen)
        }
        _ => Err(failure),
    }
}

/// Whether the disk still holds this image on trial. It does not if the write has already begun.
fn still_carries(target: &Candidate, record: &Record) -> bool {
    still_holds(target, &Holds::Trial(record.clone()))
}

fn still_holds(target: &Candidate, holds: &Holds) -> bool {
    let found = flash::open(target).map(|disk| Holds::on(&disk));
    matches!(found, Ok(Ok(found)) if found == *holds)
}

/// Looks at the disk. `None` if there are several disks and only the share can say which one to write. If the disk hung in an earlier
/// start, the agent waits before it looks. If the kernel may have lost the disk, that is a failure, which restarts the board.
pub fn at_disk(
    machine: &Machine,
    node: &mut Node,
    serial: Option<&str>,
    order: Option<&Order>,
    watcher: &Watcher,
) -> Result<Option<Seen>, Failure> {
    hangs::show_last(node, None)?;
    let wanted = Wanted {
        size: 0,
        sector_size: None,
        serial: serial.map(str::to_owned),
        boot_medium: node.card.as_ref().map(|card| card.name.clone()),
    };
    let chosen = select::choose(&System::default(), &wanted, machine, machine.patience());
    if let Some(card) = &node.card {
        disks::remember(card, &node.lasting_id(), disks::present());
    }
    match chosen {
        Ok(target) => seen(node, target, serial, order, None, watcher).map(Some),
        Err(error) if error.may_be_hidden => Err(error.into()),
        Err(error) => {
            info!("no disk is looked at yet: {error}");
            Ok(None)
        }
    }
}

/// Looks at this disk. `signed` is a signed order to flash it.
pub fn seen(
    node: &mut Node,
    target: Candidate,
    serial: Option<&str>,
    order: Option<&Order>,
    signed: Option<&OrderId>,
    watcher: &Watcher,
) -> Result<Seen, Failure> {
    node.target = Some(target.clone());
    watcher.knows(node);
    hangs::show_last(node, Some(&target))?;
    let holds = holds(&flash::open(&target)?, &target, || restarts::before(node))?;
    let order = order.filter(|order| node.is_meant_by(order));
    let by_card = order.map(|order| order.id.as_str());
    let decision = consent::decide(holds.clone(), by_card, signed);
    node.order = last_signed(holds.carried_out()).map(|id| id.to_string());
    node.pause = match &decision {
        Decision::Replace(record) => Some(waited::pause_of(&target.serial, record)),
        _ => None,
    };
    // If the configuration names the disk, no other one can be meant.
    if matches!(decision, Decision::Write(_) | Decision::Replace(_))
        && serial.is_none()
        && let Some(card) = &node.card
    {
        disks::check(card, &node.lasting_id(), &target, &disks::present())?;
    }
    say(&target, &decision);
    Ok(Seen {
        target,
        holds,
        decision,
    })
}

/// The content of the disk. If the record cannot be read, a restart may help, and the disk may be on trial. So the board restarts a few
/// times before the disk counts as proven. If restarts cannot be counted, it counts as proven at once.
fn holds(
    disk: &dyn Target,
    target: &Candidate,
    restarts: impl FnOnce() -> Option<u32>,
) -> Result<Holds, Unreadable> {
    let found = match Holds::on(disk) {
        Err(error @ LookError::Record(_))
            if restarts().is_none_or(|restarts| restarts >= RESTARTS) =>
        {
            warn!("reading {} failed: {error}", target.path.display());
            error.lasting()
        }
        found => found,
    };
    found.map_err(|error| Unreadable {
        disk: target.to_string(),
        error,
    })
}

fn say(target: &Candidate, decision: &Decision) {
    let disk = target.path.display();
    match decision {
        Decision::Start(proven) => match proven.image_id() {
            Some(image_id) => {
                info!("already done: image {image_id} on {disk} counts as proven");
            }
            None if *proven == Proven::Unreadable => info!(
                "{disk} is not empty, and the place of gild's record on it cannot be read: it counts as proven, so it is started and not written, whatever an order says"
            ),
            None => info!(
                "{disk} has a record of gild's that is damaged or of a later gild: it is not written"
            ),
        },
        Decision::Try(record) => info!(
            "{disk} carries image {}, on trial: start {} of {}",
            record.image_id,
            record.trial_starts + 1,
            consent::TRIAL_STARTS
        ),
        Decision::Replace(record) => info!(
            "{disk} carries image {}, which was started {} times and has not proven that it starts",
            record.image_id, record.trial_starts
        ),
        Decision::Write(reason) => info!("{disk} may be written: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use std::time::Duration;

    use gild_disk::{AlignedBuffer, BlockDevice};
    use gild_format::manifest::Sha256Hex;
    use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, State};

    use super::*;
    use crate::led::Led;

    fn target() -> Candidate {
        Candidate {
            path: PathBuf::from("/dev/nvme0n1"),
            model: "Disk".to_owned(),
            serial: "S1".to_owned(),
            size: 4096,
            sector_size: 512,
        }
    }

    /// A disk that ends before its record, so that reading the record fails.
    fn half_a_disk(first: u8) -> (tempfile::TempDir, BlockDevice) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        std::fs::write(&path, [first; 4096]).expect("a disk");
        let disk = BlockDevice::open_file(&path, 512).expect("the disk");
        (directory, disk)
    }

    fn record(state: State) -> Record {
        Record {
            state,
            image_id: "a-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 1,
            rollback_floor: 0,
            trial_starts: 3,
            is_discarded: false,
            is_boot_order_pending: false,
            orders: Vec::new(),
        }
    }

    fn seen(holds: Holds, decision: Decision) -> Seen {
        Seen {
            target: target(),
            holds,
            decision,
        }
    }

    /// A decision from before the write does not count any more.
    #[test]
    fn a_disk_that_was_just_written_goes_by_what_it_says_now() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        std::fs::write(&path, vec![1; 2 << 20]).expect("a disk");
        let disk = BlockDevice::open_file(&path, 512).expect("the disk");
        let before = || seen(Holds::Blank(None), Decision::Write(consent::Reason::Blank));
        assert!(again(&disk, before()).is_err(), "it carries no image");
        for state in [State::Trial, State::Proven] {
            let mut bytes = AlignedBuffer::new(RECORD_LENGTH);
            bytes.copy_from_slice(&record(state).to_bytes());
            disk.write_at(&bytes, RECORD_OFFSET).expect("a record");
            let seen = again(&disk, before()).expect("an image");
            let (holds, decision) = if state == State::Trial {
                (Holds::Trial(record(state)), Decision::Try(record(state)))
            } else {
                let proven = Proven::Record(record(state));
                (Holds::Proven(proven.clone()), Decision::Start(proven))
            };
            assert_eq!((seen.holds, seen.decision), (holds, decision));
        }
    }

    #[test]
    fn the_image_on_a_disk_that_is_to_be_written_does_not_matter() {
        let trial = || record(State::Trial);
        let proven = Proven::Record(record(State::Proven));
        for (decision, image_id) in [
            (Decision::Start(proven), Some("a-1")),
            (Decision::Start(Proven::Damaged), None),
            (Decision::Try(trial()), Some("a-1")),
            (Decision::Replace(trial()), Some("a-1")),
            (Decision::Write(consent::Reason::Foreign), None),
        ] {
            let seen = seen(Holds::Trial(trial()), decision);
            assert_eq!(seen.image_id().as_deref(), image_id);
        }
    }

    /// The pause is over and the share does not answer, but the disk has disappeared.
    #[test]
    fn an_image_whose_disk_cannot_be_read_any_more_is_not_started_once_more() {
        let machine = Machine::new(Led::start(), Duration::ZERO);
        let trial = record(State::Trial);
        let mut seen = seen(Holds::Trial(trial.clone()), Decision::Replace(trial));
        seen.target.path = PathBuf::from("/dev/no-such-disk");
        let failure = Failure {
            fault: Fault::ServerUnreachable,
            ..Failure::from(Unreadable {
                disk: String::new(),
                error: LookError::Record(std::io::Error::other("gone")),
            })
        };
        let answer = without_share(&machine, &mut Node::default(), Some(seen), failure);
        let failure = answer.err().expect("the failure of the share stays");
        assert_eq!(failure.fault, Fault::ServerUnreachable);
    }

    #[test]
    fn a_disk_that_cannot_be_read_restarts_the_board_and_is_never_written() {
        let (_directory, disk) = half_a_disk(0);
        for restarts in [Some(0), Some(2), Some(9), None] {
            let error = holds(&disk, &target(), || restarts).expect_err("half a disk");
            let failure = Failure::from(error);
            assert_eq!(
                (failure.fault, failure.remedy),
                (Fault::TargetFailed, Remedy::Restart)
            );
            assert!(failure.message.contains("serial S1"), "{}", failure.message);
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_counts_as_proven_after_two_restarts() {
        let (_directory, disk) = half_a_disk(1);
        for restarts in 0..2 {
            let error = holds(&disk, &target(), || Some(restarts)).expect_err("it may pass");
            assert_eq!(Failure::from(error).remedy, Remedy::Restart);
        }
        for restarts in [Some(2), Some(9), None] {
            let holds = holds(&disk, &target(), || restarts).expect("a node may live on it");
            assert_eq!(holds, Holds::Proven(Proven::Unreadable));
        }
    }
}
