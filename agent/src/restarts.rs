//! Restarts because of faults. They are counted on the card, so that the pauses between them grow.
//!
//! If a restart may help, it is tried again forever, but never in a tight loop. The first restart comes after one hold, each further one
//! after twice as many, up to [`LONGEST`]. docs/failures.md has the rule.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gild_card_format::names::{UNKNOWN, restart_count};
use log::warn;

use crate::card::folder::Folder;
use crate::card::values::value;
use crate::node::Node;

/// The longest pause in holds: an hour, if a hold is a minute.
const LONGEST: u32 = 60;

/// How long a node waits before the next restart, after this many restarts. `None`: they cannot be counted.
pub fn pause(restarts: Option<u32>, hold: Duration) -> Duration {
    let holds = match restarts {
        Some(restarts) => 2_u32.saturating_pow(restarts).min(LONGEST),
        None => LONGEST,
    };
    hold.saturating_mul(holds)
}

/// Where restarts are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// On the card, as long as no write of a count has failed.
    #[default]
    OnCard,
    /// Nowhere, because the card could not be written. Then the number of restarts is unknown.
    Nowhere,
}

/// What is counted for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Restarts because of a fault that a restart may cure, since the node was last finished.
    pub restarts: u32,
    /// Starts in which the disk stopped answering until the watchdog reset the board.
    pub hangs: u32,
    /// The serial number of that disk. Empty if it is not known which disk it was.
    pub disk: String,
    /// How many seconds of a pause had passed when the agent restarted the board.
    pub waited: u64,
    /// Which pause that is.
    pub pause: String,
    /// Discards that were begun and did not end.
    pub discards: u32,
    /// The serial number of the disk that was being discarded.
    pub discarding: String,
}

impl Tally {
    fn parse(text: &str) -> Self {
        let text = |key| value(text, key).unwrap_or_default();
        let number = |key| text(key).parse().unwrap_or(0);
        Self {
            restarts: number("restarts"),
            hangs: number("hangs"),
            disk: text("disk").to_owned(),
            waited: text("waited").parse().unwrap_or(0),
            pause: text("pause").to_owned(),
            discards: number("discards"),
            discarding: text("discarding").to_owned(),
        }
    }

    fn to_text(&self) -> String {
        let Self {
            restarts,
            hangs,
            disk,
            waited,
            pause,
            discards,
            discarding,
        } = self;
        format!(
            "restarts={restarts}\nhangs={hangs}\ndisk={disk}\nwaited={waited}\npause={pause}\ndiscards={discards}\ndiscarding={discarding}\n"
        )
    }

    fn counts_nothing(&self) -> bool {
        self.restarts == 0 && self.hangs == 0 && self.waited == 0 && self.discards == 0
    }

    /// What the card says of this node. Without a card nothing is counted.
    pub fn read(card: &dyn Folder, name: &str) -> io::Result<Self> {
        let text = card.read(&restart_count(name))?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }
}

/// A change reads the count and writes it, and the watcher of stalls changes it too. So only one thread may do that at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Changes the card's counts for this node and returns the new ones. A file without any count is removed.
pub fn change(
    card: &dyn Folder,
    name: &str,
    change: impl FnOnce(Tally) -> Tally,
) -> io::Result<Tally> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Tally::read(card, name)?;
    let after = change(before.clone());
    if after.counts_nothing() {
        if before != Tally::default() {
            card.remove(&restart_count(name))?;
        }
    } else if after != before {
        card.write(&restart_count(name), after.to_text().as_bytes())?;
    }
    Ok(after)
}

/// Counts the coming restart. `None` if it cannot be counted.
pub fn count(node: &mut Node) -> Option<u32> {
    let name = node.lasting_id();
    let card = node.card.as_ref().map(|card| card as &dyn Folder);
    let counted = card.and_then(|card| count_on(card, &name));
    if counted.is_none() {
        node.counting = Counting::Nowhere;
    }
    counted
}

fn count_on(card: &dyn Folder, name: &str) -> Option<u32> {
    let one_more = |tally: Tally| Tally {
        restarts: tally.restarts.saturating_add(1),
        ..tally
    };
    change(card, name, one_more)
        .inspect_err(|error| warn!("restarts are not counted: {error}"))
        .ok()
        .map(|tally| tally.restarts)
}

/// How many restarts came before. `None` if that is unknown.
pub fn before(node: &Node) -> Option<u32> {
    if node.counting == Counting::Nowhere {
        return None;
    }
    let tally = Tally::read(node.card.as_ref()?, &node.lasting_id()).ok()?;
    Some(tally.restarts)
}

/// Forgets the counts, because the node is finished and the next trouble is a new one.
pub fn forget(node: &Node) {
    if let Some(card) = &node.card
        && let Err(error) = forget_on(card, &node.lasting_id())
    {
        warn!("restarts before this one still count: {error}");
    }
}

/// The counts for boards without a name are removed too: they may be from a time when this board had no name.
fn forget_on(card: &dyn Folder, name: &str) -> io::Result<()> {
    change(card, name, |_| Tally::default())?;
    change(card, UNKNOWN, |_| Tally::default())?;
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use std::thread;

    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    #[test]
    fn pauses_double_up_to_an_hour_and_never_end() {
        let minute = Duration::from_mins(1);
        let minutes = |restarts| pause(restarts, minute).as_secs() / 60;
        let first: Vec<_> = (0..8).map(|restarts| minutes(Some(restarts))).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(minutes(Some(u32::MAX)), 60);
        assert_eq!(minutes(None), 60, "restarts that nothing counts are rare");
    }

    #[test]
    fn the_card_keeps_the_counts_and_damage_counts_as_none() {
        let card = MemoryCard::new(&Power::on());
        let read = || Tally::read(&card, "a").expect("a card");
        assert_eq!(read(), Tally::default());
        let tally = Tally {
            restarts: 3,
            hangs: 1,
            disk: "S 1".to_owned(),
            waited: 1800,
            pause: "3 S 1".to_owned(),
            discards: 2,
            discarding: "S 2".to_owned(),
        };
        change(&card, "a", |_| tally.clone()).expect("a card");
        assert_eq!(read(), tally);
        card.write("gild-a.restarts", b"restarts=-1\nhangs")
            .expect("a card");
        assert_eq!(read(), Tally::default());
    }

    #[test]
    fn where_a_restart_was_not_counted_nothing_says_how_many_there_were() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(count_on(&card, "a"), Some(1));
        card.is_read_only.set(true);
        assert_eq!(count_on(&card, "a"), None);
        let mut node = Node::default();
        assert_eq!(count(&mut node), None, "it has no card");
        assert_eq!(node.counting, Counting::Nowhere);
        assert_eq!(before(&node), None);
    }

    #[test]
    fn a_file_that_counts_nothing_is_removed() {
        let card = MemoryCard::new(&Power::on());
        let with = |restarts, hangs, waited, discards| {
            let tally = Tally {
                restarts,
                hangs,
                disk: "S1".to_owned(),
                waited,
                discards,
                ..Tally::default()
            };
            change(&card, "a", |_| tally).expect("a card");
            card.text("gild-a.restarts").is_some()
        };
        assert!(with(1, 1, 1, 1));
        assert!(with(0, 1, 0, 0));
        assert!(with(1, 0, 0, 0));
        assert!(with(0, 0, 1, 0));
        assert!(with(0, 0, 0, 1));
        assert!(!with(0, 0, 0, 0));
    }

    #[test]
    fn a_finished_node_forgets_what_was_counted_while_it_had_no_name() {
        let card = MemoryCard::new(&Power::on());
        let once = |tally| Tally {
            restarts: 1,
            ..tally
        };
        for name in ["a", "b", UNKNOWN] {
            change(&card, name, once).expect("a card");
        }
        forget_on(&card, "a").expect("a card");
        let names = card.names().expect("a card");
        assert_eq!(names, ["gild-b.restarts"], "another board's stays");
    }

    /// A card for several threads. Between any two calls of a thread, another thread always has a turn.
    #[derive(Default)]
    pub struct BusyCard(Mutex<Option<Vec<u8>>>);

    impl Folder for BusyCard {
        fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
            let found = self.0.lock().expect("a card").clone();
            thread::sleep(Duration::from_millis(1));
            Ok(found)
        }

        fn write(&self, _: &str, content: &[u8]) -> io::Result<()> {
            *self.0.lock().expect("a card") = Some(content.to_vec());
            Ok(())
        }

        fn rename(&self, _: &str, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn remove(&self, _: &str) -> io::Result<()> {
            *self.0.lock().expect("a card") = None;
            Ok(())
        }

        fn names(&self) -> io::Result<Vec<String>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn two_threads_that_count_lose_nothing() {
        const TIMES: u32 = 50;
        let card = BusyCard::default();
        let count = |one_more: fn(Tally) -> Tally| {
            for _ in 0..TIMES {
                change(&card, "a", one_more).expect("a card");
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                count(|tally| Tally {
                    restarts: tally.restarts + 1,
                    ..tally
                });
            });
            scope.spawn(|| {
                count(|tally| Tally {
                    hangs: tally.hangs + 1,
                    ..tally
                });
            });
        });
        let tally = Tally::read(&card, "a").expect("a card");
        assert_eq!((tally.restarts, tally.hangs), (TIMES, TIMES));
    }
}
