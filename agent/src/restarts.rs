//! Restarts that faults ask for, counted on the card, so that the pauses between them grow.
//!
//! What a restart may cure is tried again forever, and never in a tight loop: the first restart comes after one hold, each
//! next one after twice as many, up to [`LONGEST`]. docs/failures.md has the rule.

use std::io;
use std::time::Duration;

use log::warn;

use crate::card::folder::Folder;
use crate::node::Node;

/// Holds in the longest pause: an hour, where a hold is a minute.
const LONGEST: u32 = 60;

/// How long a node holds before the restart that follows so many others. `None`: nothing can count them.
pub fn pause(restarts: Option<u32>, hold: Duration) -> Duration {
    let holds = match restarts {
        Some(restarts) => 2_u32.saturating_pow(restarts).min(LONGEST),
        None => LONGEST,
    };
    hold.saturating_mul(holds)
}

/// What is counted for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Restarts because of a fault that a restart may cure, since the node was last finished.
    pub restarts: u32,
    /// Starts in which the disk stopped answering and did not go on before the watchdog reset the board.
    pub hangs: u32,
    /// The serial number of that disk.
    pub disk: String,
}

impl Tally {
    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let number = |key| value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            restarts: number("restarts"),
            hangs: number("hangs"),
            disk: value("disk").unwrap_or_default().to_owned(),
        }
    }

    fn to_text(&self) -> String {
        let Self {
            restarts,
            hangs,
            disk,
        } = self;
        format!("restarts={restarts}\nhangs={hangs}\ndisk={disk}\n")
    }

    /// What the card says of this node. Without a card nothing is counted.
    pub fn read(card: &dyn Folder, id: &str) -> io::Result<Self> {
        let text = card.read(&file(id))?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Writes it to the card.
    pub fn write(&self, card: &dyn Folder, id: &str) -> io::Result<()> {
        card.write(&file(id), self.to_text().as_bytes())
    }
}

/// Counts a restart that is about to come; `None` if nothing can count it.
pub fn count(node: &Node) -> Option<u32> {
    let card = node.card.as_ref()?;
    let counted = Tally::read(card, &node.id()).and_then(|tally| {
        let restarts = tally.restarts.saturating_add(1);
        Tally { restarts, ..tally }.write(card, &node.id())?;
        Ok(restarts)
    });
    counted
        .inspect_err(|error| warn!("restarts are not counted: {error}"))
        .ok()
}

/// How many restarts came before; `None` if nothing can say it.
pub fn before(node: &Node) -> Option<u32> {
    let tally = Tally::read(node.card.as_ref()?, &node.id()).ok()?;
    Some(tally.restarts)
}

/// The node is finished: the next trouble is a new one.
pub fn forget(node: &Node) {
    let Some(card) = &node.card else {
        return;
    };
    let name = file(&node.id());
    let forgotten = Folder::read(card, &name).and_then(|found| match found {
        Some(_) => card.remove(&name),
        None => Ok(()),
    });
    if let Err(error) = forgotten {
        warn!("restarts before this one still count: {error}");
    }
}

fn file(id: &str) -> String {
    format!("gild-{id}.restarts")
}

#[cfg(test)]
mod tests {
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
        };
        tally.write(&card, "a").expect("a card");
        assert_eq!(read(), tally);
        card.write("gild-a.restarts", b"restarts=-1\nhangs")
            .expect("a card");
        assert_eq!(read(), Tally::default());
    }
}
