//! Counts on the card how often a disk stopped answering, so that the next start waits before it tries the same disk again.

use std::io;

use gild_disk::select::Candidate;
use gild_faults::{Fault, HasFault};
use log::warn;

use crate::card::folder::Folder;
use crate::failure::{Remedy, StepError};
use crate::node::Node;
use crate::restarts::{self, Tally};

/// The disk stopped answering in starts before this one.
#[derive(Debug, thiserror::Error)]
#[error(
    "{disk} stopped answering in {hangs} start(s) of this board, and it is tried again after a pause"
)]
pub struct HungBefore {
    disk: String,
    hangs: u32,
}

impl HasFault for HungBefore {
    fn fault(&self) -> Fault {
        Fault::TargetFailed
    }
}

impl StepError for HungBefore {
    fn remedy(&self) -> Remedy {
        Remedy::Pause(Some(self.hangs - 1))
    }
}

/// Fails once if this disk hung before, so that the fault is shown. The next attempt tries the disk again. A hang of another disk does not
/// count. If the card does not say which disk hung, it may have been this one. With `None` only such a hang counts, because the search for
/// a disk may hang too.
pub fn show_last(node: &mut Node, target: Option<&Candidate>) -> Result<(), HungBefore> {
    if node.has_shown_hangs {
        return Ok(());
    }
    // One look at the card is enough, because a hang in this start does not count as an earlier one.
    if node.hung_before.is_none()
        && let Some(card) = &node.card
    {
        node.hung_before = Tally::read(card, &node.lasting_id())
            .inspect_err(|error| warn!("whether the disk hung before is not known: {error}"))
            .ok();
    }
    let shown = node
        .hung_before
        .as_ref()
        .map_or(Ok(()), |before| shown(before, target));
    node.has_shown_hangs = shown.is_err();
    shown
}

fn shown(before: &Tally, target: Option<&Candidate>) -> Result<(), HungBefore> {
    match hangs_of(before, target.map(|target| target.serial.as_str())) {
        0 => Ok(()),
        hangs => Err(HungBefore {
            disk: target.map_or_else(|| "the disk".to_owned(), Candidate::to_string),
            hangs,
        }),
    }
}

/// How often this disk hung, or an unknown one.
fn hangs_of(tally: &Tally, serial: Option<&str>) -> u32 {
    if tally.disk.is_empty() || serial == Some(&tally.disk) {
        tally.hangs
    } else {
        0
    }
}

/// A hang that the card has counted.
#[derive(Debug)]
pub struct Counted {
    before: Tally,
    after: Tally,
}

/// Counts a hang on the card, which is another device than the disk. `None` if it cannot be counted.
pub fn count(node: &Node) -> Option<Counted> {
    let serial = node.target.as_ref().map(|target| target.serial.as_str());
    count_on(node.card.as_ref()?, &node.lasting_id(), serial)
        .inspect_err(|error| {
            warn!("the next start does not know how often the disk hung: {error}");
        })
        .ok()
}

/// If it is not known which disk hung, the count of the last disk continues. So these pauses grow too.
fn count_on(card: &dyn Folder, name: &str, serial: Option<&str>) -> io::Result<Counted> {
    let mut before = Tally::default();
    let after = restarts::change(card, name, |tally| {
        before = tally.clone();
        let hangs = serial.map_or(tally.hangs, |serial| hangs_of(&tally, Some(serial)));
        Tally {
            hangs: hangs.saturating_add(1),
            disk: serial.unwrap_or_default().to_owned(),
            ..tally
        }
    })?;
    Ok(Counted { before, after })
}

/// Takes back the count of a hang, because the disk has answered after all.
pub fn take_back(node: &Node, counted: &Counted) {
    if let Some(card) = &node.card
        && let Err(error) = take_back_on(card, &node.lasting_id(), counted)
    {
        warn!("a hang that ended still counts: {error}");
    }
}

/// Only if the card still has this count: a node that is finished has forgotten it.
fn take_back_on(card: &dyn Folder, name: &str, counted: &Counted) -> io::Result<()> {
    let Counted { before, after } = counted;
    restarts::change(card, name, |tally| {
        if (tally.hangs, &tally.disk) != (after.hangs, &after.disk) {
            return tally;
        }
        Tally {
            hangs: before.hangs,
            disk: before.disk.clone(),
            ..tally
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    fn disk(serial: &str) -> Candidate {
        Candidate {
            path: "/dev/nvme0n1".into(),
            model: "Disk".to_owned(),
            serial: serial.to_owned(),
            size: 1 << 30,
            sector_size: 512,
        }
    }

    /// The card of a node whose disks hang.
    struct Scene(MemoryCard);

    impl Scene {
        fn new() -> Self {
            Self(MemoryCard::new(&Power::on()))
        }

        fn hang(&self, serial: Option<&str>) -> Option<Counted> {
            count_on(&self.0, "a", serial).ok()
        }

        fn tally(&self) -> Tally {
            Tally::read(&self.0, "a").expect("a card")
        }

        /// What the next start shows for this disk: the number of holds that it waits, if it waits.
        fn next_start(&self, target: Option<&Candidate>) -> Option<Remedy> {
            let mut node = Node {
                hung_before: Some(self.tally()),
                ..Node::default()
            };
            show_last(&mut node, target)
                .err()
                .map(|error| error.remedy())
        }
    }

    #[test]
    fn the_same_disk_waits_longer_after_each_hang_and_another_one_does_not() {
        let scene = Scene::new();
        assert_eq!(scene.next_start(Some(&disk("S1"))), None);
        for hangs in 0..3 {
            scene.hang(Some("S1"));
            let pause = Some(Remedy::Pause(Some(hangs)));
            assert_eq!(scene.next_start(Some(&disk("S1"))), pause);
            assert_eq!(scene.next_start(Some(&disk("S2"))), None);
            assert_eq!(scene.next_start(None), None, "it may be another one");
        }
        scene.hang(Some("S2"));
        let first = Some(Remedy::Pause(Some(0)));
        assert_eq!(scene.next_start(Some(&disk("S2"))), first);
    }

    #[test]
    fn a_hang_of_a_disk_that_was_not_known_makes_any_disk_wait_and_its_pauses_grow() {
        let scene = Scene::new();
        scene.hang(Some("S1"));
        for hangs in 1..3 {
            scene.hang(None);
            let pause = Some(Remedy::Pause(Some(hangs)));
            for target in [None, Some(&disk("S1")), Some(&disk("S2"))] {
                assert_eq!(scene.next_start(target), pause);
            }
        }
        scene.hang(Some("S1"));
        let pause = Some(Remedy::Pause(Some(3)));
        assert_eq!(scene.next_start(Some(&disk("S1"))), pause);
    }

    #[test]
    fn hangs_are_shown_once_in_each_start_and_those_of_this_start_are_not() {
        let hung = Tally {
            hangs: 1,
            disk: "S1".to_owned(),
            ..Tally::default()
        };
        let mut node = Node {
            hung_before: Some(hung),
            ..Node::default()
        };
        let disk = disk("S1");
        show_last(&mut node, None).expect("no disk yet");
        let error = show_last(&mut node, Some(&disk)).expect_err("it hung");
        assert!(
            error
                .to_string()
                .contains("serial S1, 1073741824 bytes in sectors of 512) stopped answering in 1"),
            "{error}"
        );
        show_last(&mut node, Some(&disk)).expect("shown already");
        let mut node = Node {
            hung_before: Some(Tally::default()),
            ..Node::default()
        };
        show_last(&mut node, None).expect("nothing hung before this start");
        assert_eq!(node.hung_before, Some(Tally::default()), "asked once");
    }

    #[test]
    fn a_hang_that_ends_leaves_what_was_counted_before_it() {
        let scene = Scene::new();
        for (before, now) in [
            (Some("S1"), Some("S1")),
            (Some("S1"), Some("S2")),
            (Some("S1"), None),
            (None, Some("S1")),
        ] {
            scene.hang(before);
            let tally = scene.tally();
            let counted = scene.hang(now).expect("a card");
            assert_ne!(scene.tally(), tally);
            take_back_on(&scene.0, "a", &counted).expect("a card");
            assert_eq!(scene.tally(), tally, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_hang_that_was_not_counted_is_not_taken_back() {
        let scene = Scene::new();
        scene.hang(Some("S1"));
        scene.0.is_read_only.set(true);
        assert!(scene.hang(Some("S1")).is_none());
        scene.0.is_read_only.set(false);
        assert_eq!(scene.tally().hangs, 1, "the earlier start's hang");
    }

    #[test]
    fn a_hang_is_not_taken_back_from_a_node_that_is_finished() {
        let scene = Scene::new();
        scene.hang(Some("S1"));
        let counted = scene.hang(Some("S1")).expect("a card");
        restarts::change(&scene.0, "a", |_| Tally::default()).expect("finished");
        take_back_on(&scene.0, "a", &counted).expect("a card");
        assert_eq!(scene.tally(), Tally::default());
    }
}
