//! Random cuts. `make campaign` runs this for longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gild_boards_testkit::Campaign;

use super::*;
use crate::boot_order::stand_in::Files;

/// What is on the card, and what the board runs.
#[derive(PartialEq)]
struct Moment {
    files: Files,
    running: Running,
}

type Outcome = Result<BootOrder, BootOrderError>;

/// The moment by its number, and where the power goes.
type Attempt = (usize, Option<u32>);

impl Moment {
    /// A card that has these files in its root as well.
    fn new(root: &[(&str, &[u8])]) -> Self {
        let card = card(&Power::on());
        for (name, content) in root {
            card.put(name, content);
        }
        Self {
            files: card.files(),
            running: factory(),
        }
    }

    /// How many changes stage the update.
    fn changes(&self) -> u32 {
        let power = Power::on();
        let card = MemoryCard::holding(&power, self.files.clone());
        power.cut_after(u32::MAX / 2);
        assert_eq!(set_on(&card, &self.running), Ok(BootOrder::Staged));
        u32::MAX / 2 - power.left().expect("limited")
    }

    /// Returns the moment after the agent's attempt, in which the power may go after this many changes, and after the next power-on. At
    /// every power-on the ROM runs before the agent.
    fn next(&self, cut_after: Option<u32>) -> (Self, Outcome) {
        let power = Power::on();
        let card = MemoryCard::holding(&power, self.files.clone());
        if let Some(changes) = cut_after {
            power.cut_after(changes);
        }
        let outcome = set_on(&card, &self.running);
        power.restore();
        let mut running = self.running.clone();
        rom(&card, &mut running);
        let files = card.files();
        (Self { files, running }, outcome)
    }
}

/// All moments so far, and what followed each.
///
/// Agent and ROM depend only on the card, the running firmware and the place of the cut. They know neither time nor chance. So each case is
/// carried out and checked once, and looked up when another cut leads to it.
struct Known {
    moments: Mutex<Vec<Arc<Moment>>>,
    next: Mutex<HashMap<Attempt, (usize, Outcome)>>,
}

impl Known {
    fn new(starts: impl IntoIterator<Item = Moment>) -> Self {
        Self {
            moments: Mutex::new(starts.into_iter().map(Arc::new).collect()),
            next: Mutex::default(),
        }
    }

    fn moment(&self, number: usize) -> Arc<Moment> {
        Arc::clone(&self.moments.lock().expect("no panic while locked")[number])
    }

    fn next(&self, from: usize, cut_after: Option<u32>) -> (usize, Outcome) {
        let known = || self.next.lock().expect("no panic while locked");
        let found = known().get(&(from, cut_after)).cloned();
        found.unwrap_or_else(|| {
            let (moment, outcome) = self.moment(from).next(cut_after);
            let next = (self.number(moment), outcome);
            known().insert((from, cut_after), next.clone());
            next
        })
    }

    fn number(&self, moment: Moment) -> usize {
        let mut moments = self.moments.lock().expect("no panic while locked");
        let known = moments.iter().position(|known| **known == moment);
        known.unwrap_or_else(|| {
            moments.push(Arc::new(moment));
            moments.len() - 1
        })
    }
}

#[test]
fn no_random_cut_of_the_boot_order_is_unrecoverable() {
    let (upd, sig, _) = update();
    let left: [(&str, &[u8]); 2] = [("recovery.000", b"used"), (UPD, b"another one's")];
    let staged = [
        (UPD, &upd[..]),
        (SIG, sig.as_bytes()),
        (RECOVERY, RECOVERY_BIN),
    ];
    let starts = [&[][..], &left, &staged].map(Moment::new);
    let changes = starts.each_ref().map(Moment::changes);
    let known = Known::new(starts);
    Campaign::from_environment(200).run("the boot order of the Raspberry Pi 5", |random| {
        let start = random.usize(..changes.len());
        let mut at = start;
        for _ in 0..random.u32(1..=4) {
            let (next, outcome) = known.next(at, Some(random.u32(..changes[start])));
            at = next;
            if outcome.is_ok() {
                break;
            }
        }
        let (next, outcome) = known.next(at, None);
        outcome.expect("the next attempt");
        assert_eq!(known.next(next, None).1, Ok(BootOrder::AlreadyRight));
    });
    let moments = known.moments.into_inner().expect("no panic").len();
    println!("on the way card and board were met in {moments} different states");
}
