//! Remembers how long an image on trial that has had its starts has already waited for another one. The card keeps that across restarts by
//! the agent. Otherwise, if a fault restarts the board before the pause is over, the pause would begin again each time, and a good disk
//! would never be started.
//!
//! A power cut loses the time of the start that it ends. So a pause can get longer, but never shorter.

use std::io;
use std::time::Duration;

use gild_format::record::Record;
use log::warn;

use crate::card::folder::Folder;
use crate::node::Node;
use crate::restarts::{self, Tally};

/// The name of one pause. Another disk has another pause, and so has the same disk after another start.
pub fn pause_of(serial: &str, record: &Record) -> String {
    format!("{} {serial}", record.trial_starts)
}

/// How long this disk waited before this start. Zero if the card does not say.
pub fn before(node: &Node, serial: &str, record: &Record) -> Duration {
    let Some(card) = &node.card else {
        return Duration::ZERO;
    };
    Tally::read(card, &node.lasting_id()).map_or(Duration::ZERO, |tally| {
        of(&tally, &pause_of(serial, record))
    })
}

fn of(tally: &Tally, pause: &str) -> Duration {
    if tally.pause == pause {
        Duration::from_secs(tally.waited)
    } else {
        Duration::ZERO
    }
}

/// Saves the time since the agent's start, right before the agent restarts the board.
pub fn keep(node: &Node, since_start: Duration) {
    if let (Some(card), Some(pause)) = (&node.card, &node.pause)
        && let Err(error) = keep_on(card, &node.lasting_id(), pause, since_start)
    {
        warn!("the pause before the image is started again begins again: {error}");
    }
}

fn keep_on(card: &dyn Folder, name: &str, pause: &str, since_start: Duration) -> io::Result<()> {
    restarts::change(card, name, |tally| Tally {
        waited: of(&tally, pause).saturating_add(since_start).as_secs(),
        pause: pause.to_owned(),
        ..tally
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_order::stand_in::{MemoryCard, Power};

    const MINUTE: Duration = Duration::from_mins(1);

    fn waited(card: &MemoryCard, pause: &str) -> Duration {
        of(&Tally::read(card, "a").expect("a card"), pause)
    }

    #[test]
    fn the_time_of_each_start_that_ends_in_a_restart_adds_up() {
        let card = MemoryCard::new(&Power::on());
        assert_eq!(waited(&card, "3 S1"), Duration::ZERO);
        for minutes in [1, 3, 7] {
            let so_far = waited(&card, "3 S1");
            let since_start = MINUTE * minutes;
            keep_on(&card, "a", "3 S1", since_start).expect("a card");
            assert_eq!(waited(&card, "3 S1"), so_far + since_start);
        }
    }

    #[test]
    fn another_disk_and_another_start_have_a_pause_of_their_own() {
        let card = MemoryCard::new(&Power::on());
        keep_on(&card, "a", "3 S1", MINUTE * 30).expect("a card");
        assert_eq!(waited(&card, "3 S2"), Duration::ZERO);
        assert_eq!(waited(&card, "4 S1"), Duration::ZERO);
        keep_on(&card, "a", "4 S1", MINUTE).expect("a card");
        assert_eq!(waited(&card, "4 S1"), MINUTE);
        assert_eq!(waited(&card, "3 S1"), Duration::ZERO);
    }

    #[test]
    fn a_card_that_does_not_say_how_long_it_was_shortens_no_pause() {
        let card = MemoryCard::new(&Power::on());
        for text in [
            "",
            "waited=3600\n",
            "waited=-1\npause=3 S1\n",
            "pause=3 S1\nwai",
        ] {
            card.put("gild-a.restarts", text.as_bytes());
            assert_eq!(waited(&card, "3 S1"), Duration::ZERO, "{text:?}");
        }
    }
}
