//! Counts on the card the discards of a disk that were begun. Some disks hang or die in a discard. Such a node must be flashed without one,
//! because otherwise each start would begin it again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use log::warn;

use crate::card::folder::Folder;
use crate::node::Node;
use crate::restarts::{self, Tally};

/// After this many discards that began but did not end, the disk is written without one.
const ATTEMPTS: u32 = 2;

/// Whether the disk that was written was discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discard {
    /// The disk was asked to. The engine's report says how much was discarded.
    #[default]
    Asked,
    /// It was not, because earlier discards of this disk did not end.
    LeftOut,
}

/// The discards of the disk that is being flashed. Without a card they are not counted, and none is left out.
pub struct Discards {
    card: Option<Box<dyn Folder + Send + Sync>>,
    name: String,
    serial: String,
    /// Whether the count includes a discard of this flash.
    is_counted: AtomicBool,
}

impl Discards {
    /// The discards of the disk with this serial number.
    pub fn of(node: &Node, serial: &str) -> Self {
        let card = node.card.clone().map(|card| Box::new(card) as _);
        Self::on(card, node.lasting_id(), serial)
    }

    fn on(card: Option<Box<dyn Folder + Send + Sync>>, name: String, serial: &str) -> Self {
        Self {
            card,
            name,
            serial: serial.to_owned(),
            is_counted: AtomicBool::new(false),
        }
    }

    /// Counts the discard that is about to begin. `false` if it must be left out.
    pub fn begin(&self) -> bool {
        let Some(card) = &self.card else {
            return true;
        };
        let begun = begin_on(card.as_ref(), &self.name, &self.serial);
        let is_counted = matches!(begun, Ok(true));
        self.is_counted.store(is_counted, Ordering::Relaxed);
        match begun {
            Ok(true) => (),
            Ok(false) => {
                warn!(
                    "the disk is not discarded, because {ATTEMPTS} discards of it did not end: data of a former owner may be left on it beyond the image"
                );
                return false;
            }
            Err(error) => warn!(
                "the discard is not counted, and the next start begins it again if it does not end: {error}"
            ),
        }
        true
    }

    /// Called when the disk has accepted a write after its discard.
    pub fn end(&self) {
        if self.is_counted.swap(false, Ordering::Relaxed)
            && let Some(card) = &self.card
            && let Err(error) = end_on(card.as_ref(), &self.name)
        {
            warn!("a discard that ended still counts: {error}");
        }
    }

    /// Whether this disk must be written without a discard.
    pub fn are_left_out(&self) -> bool {
        let Some(card) = &self.card else {
            return false;
        };
        Tally::read(card.as_ref(), &self.name)
            .is_ok_and(|tally| begun(&tally, &self.serial) >= ATTEMPTS)
    }
}

fn begun(tally: &Tally, serial: &str) -> u32 {
    if tally.discarding == serial {
        tally.discards
    } else {
        0
    }
}

/// Counts one more discard, or returns `false` if it must not begin.
fn begin_on(card: &dyn Folder, name: &str, serial: &str) -> io::Result<bool> {
    let mut may_begin = false;
    restarts::change(card, name, |tally| {
        let before = begun(&tally, serial);
        may_begin = before < ATTEMPTS;
        if !may_begin {
            return tally;
        }
        Tally {
            discards: before + 1,
            discarding: serial.to_owned(),
            ..tally
        }
    })?;
    Ok(may_begin)
}

fn end_on(card: &dyn Folder, name: &str) -> io::Result<()> {
    restarts::change(card, name, |tally| Tally {
        discards: 0,
        discarding: String::new(),
        ..tally
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gild_flash::{Event, Observer, Stage};

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};
    use crate::led::Led;
    use crate::machine::Machine;
    use crate::progress::Progress;
    use crate::restarts::tests::BusyCard;

    fn begin(card: &MemoryCard, serial: &str) -> bool {
        begin_on(card, "a", serial).expect("a card")
    }

    #[test]
    fn a_discard_that_did_not_end_twice_is_left_out() {
        let card = MemoryCard::new(&Power::on());
        let begun: Vec<_> = (0..5).map(|_| begin(&card, "S1")).collect();
        assert_eq!(begun, [true, true, false, false, false]);
        assert!(begin(&card, "S2"), "another disk");
    }

    #[test]
    fn a_discard_that_ended_does_not_count() {
        let card = MemoryCard::new(&Power::on());
        for _ in 0..3 {
            assert!(begin(&card, "S1"));
            end_on(&card, "a").expect("a card");
            assert_eq!(card.text("gild-a.restarts"), None, "nothing is counted");
        }
    }

    #[test]
    fn a_hang_in_the_discard_and_its_end_leave_each_other_s_count_alone() {
        let card = MemoryCard::new(&Power::on());
        let hang = Tally {
            restarts: 1,
            hangs: 1,
            disk: "S1".to_owned(),
            ..Tally::default()
        };
        restarts::change(&card, "a", |_| hang.clone()).expect("a card");
        begin(&card, "S1");
        end_on(&card, "a").expect("a card");
        assert_eq!(Tally::read(&card, "a").expect("a card"), hang);
    }

    /// Sends the engine's events of a flash that gets this far. Returns whether it was allowed to discard the disk.
    fn flash(discards: &Discards, stages: &[Stage]) -> bool {
        let machine = Machine::new(Led::start(), Duration::from_secs(1));
        let progress = Progress::new(Box::leak(Box::new(machine)), discards);
        progress.event(Event::Stage(Stage::Prepare));
        let may_discard = progress.may_discard();
        for stage in stages {
            progress.event(Event::Stage(*stage));
        }
        may_discard
    }

    #[test]
    fn a_discard_ends_with_the_stage_that_prepares_the_disk() {
        let card = || Some(Box::new(BusyCard::default()) as _);
        let ends = Discards::on(card(), "a".to_owned(), "S1");
        for stage in [Stage::Write, Stage::Scan, Stage::Write] {
            assert!(flash(&ends, &[stage]));
        }
        assert!(!ends.are_left_out());

        let hangs = Discards::on(card(), "a".to_owned(), "S1");
        assert!(flash(&hangs, &[]));
        assert!(!hangs.are_left_out());
        assert!(flash(&hangs, &[]));
        assert!(!flash(&hangs, &[Stage::Write]));
        assert!(hangs.are_left_out());
        assert!(!flash(&hangs, &[Stage::Scan]), "until the node is finished");
    }

    #[test]
    fn without_a_card_nothing_is_counted_and_nothing_left_out() {
        let discards = Discards::of(&Node::default(), "S1");
        assert!((0..5).all(|_| discards.begin()));
        assert!(!discards.are_left_out());
    }
}
