//! Step 4, disk: find out what the board's disk holds, and decide what to do with it, before asking any server.

use gild_card_format::Order;
use gild_disk::select::{self, Candidate, SelectError, System, Wanted};
use gild_disk::{Clock, Target};
use gild_faults::{Fault, HasFault};
use gild_orders::last_signed;
use log::{info, warn};

use crate::consent::{self, Decision, Holds, LookError, Proven, Signed};
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
    // A disk that is being written has no image on trial any more.
    let holds_now = |target: &Candidate| Holds::on(&flash::open(target).ok()?).ok();
    as_it_is(machine, node, seen, failure, &holds_now)
}

fn as_it_is(
    machine: &Machine,
    node: &mut Node,
    seen: Option<Seen>,
    failure: Failure,
    holds_now: &dyn Fn(&Candidate) -> Option<Holds>,
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
            && holds_now(&target).as_ref() == Some(&holds) =>
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
                && holds_now(&seen.target).as_ref() == Some(&seen.holds) =>
        {
            info!("{}: the disk is started as it is", failure.message);
            node.heard.has_failed(&failure.message);
            Ok(seen)
        }
        _ => Err(failure),
    }
}

/// Looks at the disk. `None` if there are several disks and only the share can say which one to write. If the disk hung in an earlier
/// start, the agent waits before it looks. If the kernel may have lost the disk, that is a failure, which restarts the board.
pub fn at_disk(
    machine: &Machine,
    system: &System,
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
    let chosen = select::choose(system, &wanted, machine, machine.patience());
    if let Some(card) = &node.card {
        disks::remember(card, &node.lasting_id(), &disks::present());
    }
    match chosen {
        Ok(target) => seen(node, target, serial, order, None, watcher).map(Some),
        Err(error) => no_disk_yet(error),
    }
}

fn no_disk_yet(error: SelectError) -> Result<Option<Seen>, Failure> {
    if error.may_be_hidden {
        return Err(error.into());
    }
    info!("no disk is looked at yet: {error}");
    Ok(None)
}

/// Looks at this disk. `signed` is a signed order to flash it.
pub fn seen(
    node: &mut Node,
    target: Candidate,
    serial: Option<&str>,
    order: Option<&Order>,
    signed: Option<&Signed>,
    watcher: &Watcher,
) -> Result<Seen, Failure> {
    node.target = Some(target.clone());
    watcher.knows(node);
    hangs::show_last(node, Some(&target))?;
    let holds = holds(&flash::open(&target)?, &target, || restarts::before(node))?;
    judged(node, target, holds, serial, order, signed)
}

/// Decides what is to be done with a disk that holds this.
fn judged(
    node: &mut Node,
    target: Candidate,
    holds: Holds,
    serial: Option<&str>,
    order: Option<&Order>,
    signed: Option<&Signed>,
) -> Result<Seen, Failure> {
    let order = order.filter(|order| node.is_meant_by(order));
    let by_card = order.map(|order| order.id.as_str());
    let decision = consent::decide(holds.clone(), by_card, signed);
    node.order = last_signed(holds.carried_out()).map(|id| id.to_string());
    node.pause = match &decision {
        Decision::Replace(record) => Some(waited::pause_of(&target.serial, record)),
        _ => None,
    };
    if matches!(decision, Decision::Write(_) | Decision::Replace(_))
        && let Some(card) = &node.card
    {
        let present = disks::present();
        disks::check(card, &node.lasting_id(), &target, &present, serial)?;
    }
    info!("{}", line(&target, &decision));
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

/// The decision, as the console says it.
fn line(target: &Candidate, decision: &Decision) -> String {
    let disk = target.path.display();
    match decision {
        Decision::Start(proven) => match proven.image_id() {
            Some(image_id) => {
                format!("already done: image {image_id} on {disk} counts as proven")
            }
            None if *proven == Proven::Unreadable => format!(
                "{disk} is not empty, and the place of gild's record on it cannot be read: it counts as proven, so it is started and not written, whatever an order says"
            ),
            None => format!(
                "{disk} has a record of gild's that is damaged or of a later gild: it is not written"
            ),
        },
        Decision::Try(record) => format!(
            "{disk} carries image {}, on trial: start {} of {}",
            record.image_id,
            record.trial_starts + 1,
            consent::TRIAL_STARTS
        ),
        Decision::Replace(record) => format!(
            "{disk} carries image {}, which was started {} times and has not proven that it starts",
            record.image_id, record.trial_starts
        ),
        Decision::Write(reason) => format!("{disk} may be written: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use std::time::Duration;

    use gild_disk::{AlignedBuffer, BlockDevice};
    use gild_format::manifest::Sha256Hex;
    use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};

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

    fn share_is_silent(fault: Fault) -> Failure {
        Failure {
            fault,
            message: "the share is silent".to_owned(),
            next_step: "".into(),
            remedy: Remedy::LookAgain,
        }
    }

    /// The share does not say what to write, and the disk can be started: it is, if it is still what it was.
    #[test]
    fn a_disk_that_can_be_started_does_not_wait_for_the_share() {
        let on_trial = || Holds::Trial(record(State::Trial));
        let proven = || Proven::Record(record(State::Proven));
        let had_its_starts = || seen(on_trial(), Decision::Replace(record(State::Trial)));
        let node_lives = || seen(Holds::Proven(proven()), Decision::Start(proven()));
        let (over, not_over) = (Duration::ZERO, Duration::from_mins(1));
        let (silent, worn) = (Fault::ServerUnreachable, Fault::TargetFailed);
        let once_more = Decision::Try(record(State::Trial));
        let as_it_is = Decision::Start(proven());
        let node_on_it = || Holds::Proven(proven());
        for (seen, fault, hold, now, expected) in [
            (
                had_its_starts(),
                silent,
                over,
                Some(on_trial()),
                Some(&once_more),
            ),
            (had_its_starts(), silent, not_over, Some(on_trial()), None),
            (had_its_starts(), silent, over, Some(Holds::Foreign), None),
            (had_its_starts(), silent, over, None, None),
            (had_its_starts(), worn, over, Some(on_trial()), None),
            (
                node_lives(),
                silent,
                not_over,
                Some(node_on_it()),
                Some(&as_it_is),
            ),
            (node_lives(), silent, over, Some(Holds::Foreign), None),
            (node_lives(), silent, over, None, None),
            (node_lives(), worn, over, Some(node_on_it()), None),
            (
                seen(Holds::Foreign, Decision::Write(consent::Reason::Foreign)),
                silent,
                over,
                Some(Holds::Foreign),
                None,
            ),
        ] {
            let name = format!("{:?} {fault:?} {hold:?} {now:?}", seen.decision);
            let holds = seen.holds.clone();
            let machine = Machine::new(Led::start(), hold);
            let failure = share_is_silent(fault);
            let mut node = Node::default();
            let answer = super::as_it_is(
                &machine,
                &mut node,
                Some(seen),
                failure.clone(),
                &move |_: &Candidate| now.clone(),
            );
            match (answer, expected) {
                (Ok(found), Some(decision)) => {
                    assert_eq!(
                        (&found.holds, &found.decision),
                        (&holds, decision),
                        "{name}"
                    );
                }
                (Err(found), None) => assert_eq!(found, failure, "{name}"),
                (Ok(found), None) => panic!("{name}: {:?}", found.decision),
                (Err(found), Some(_)) => panic!("{name}: {}", found.message),
            }
        }
    }

    /// Its pause goes on after a restart, and what a signed order did shows in the receipt.
    #[test]
    fn the_node_remembers_what_its_disk_says() {
        let signed = "20261228T101500Z-1a2b3c";
        let of = |trial_starts, orders: &[&str]| {
            let record = Record {
                trial_starts,
                orders: orders.iter().map(|id| (*id).to_owned()).collect(),
                ..record(State::Trial)
            };
            let mut node = Node::default();
            let holds = Holds::Trial(record);
            let seen = judged(&mut node, target(), holds, None, None, None).expect("a disk");
            (seen.decision.is_start(), node.pause, node.order)
        };
        assert_eq!(of(2, &["o-1"]), (true, None, None));
        let pause = Some("3 S1".to_owned());
        assert_eq!(of(3, &["o-1"]), (false, pause.clone(), None));
        let order = Some(signed.to_owned());
        assert_eq!(of(3, &["o-1", signed]), (false, pause, order));
    }

    /// `/sys` of a machine with one NVMe disk, whose device node is not there.
    #[test]
    fn a_disk_that_the_kernel_shows_is_looked_at() {
        let directory = tempfile::tempdir().expect("a directory");
        let put = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        put("proc/self/mountinfo", "");
        for class in [
            "class/block/nvme0n1",
            "class/nvme/nvme0/nvme0n1",
            "block/nvme0n1",
        ] {
            put(&format!("sys/{class}/dev"), "259:0");
            put(&format!("sys/{class}/size"), "8192");
            put(&format!("sys/{class}/queue/logical_block_size"), "512");
            put(&format!("sys/{class}/device/serial"), "S1");
        }
        put("sys/class/nvme/nvme0/state", "live");
        put("sys/bus/pci/devices/0000:01:00.0/class", "0x010802");
        let system = System {
            sys: directory.path().join("sys"),
            proc: directory.path().join("proc"),
            dev: directory.path().join("dev"),
        };
        let machine = Machine::new(Led::start(), Duration::ZERO);
        let mut node = Node::default();
        let seen = at_disk(
            &machine,
            &system,
            &mut node,
            None,
            None,
            &Watcher::default(),
        );
        let failure = seen.err().expect("its device node is not there");
        assert_eq!(failure.fault, Fault::TargetFailed, "{}", failure.message);
        assert_eq!(
            node.target.map(|target| target.serial).as_deref(),
            Some("S1")
        );
    }

    /// A restart may bring such a disk back. With several, only the share can say which one is meant.
    #[test]
    fn only_a_disk_that_may_be_hidden_is_a_failure_before_the_share_is_asked() {
        let of = |may_be_hidden| {
            no_disk_yet(SelectError {
                message: "no disk".to_owned(),
                may_be_hidden,
            })
        };
        assert_eq!(of(true).err().expect("a failure").remedy, Remedy::Restart);
        assert!(of(false).expect("the share is asked").is_none());
    }

    #[test]
    fn the_console_says_what_is_done_with_the_disk_and_why() {
        let trial = || record(State::Trial);
        for (decision, said) in [
            (
                Decision::Start(Proven::Record(record(State::Proven))),
                "already done: image a-1 on /dev/nvme0n1",
            ),
            (Decision::Start(Proven::Unreadable), "cannot be read"),
            (
                Decision::Start(Proven::Damaged),
                "damaged or of a later gild",
            ),
            (
                Decision::Try(Record {
                    trial_starts: 1,
                    ..trial()
                }),
                "on trial: start 2 of 3",
            ),
            (Decision::Replace(trial()), "was started 3 times"),
            (
                Decision::Write(consent::Reason::Foreign),
                "may be written: gild has not written it before",
            ),
        ] {
            let line = line(&target(), &decision);
            assert!(line.contains(said), "{line}");
        }
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
