//! Whether the flasher would find the image that an order chooses. The node reads it with the flasher's own code and judges it by the
//! flasher's rules, as far as a node knows them.
//!
//! If the answer is uncertain, the order is refused. A node that made its disk blank for a missing image would be down until somebody
//! publishes it. A node that waits loses nothing, and looks again.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use gild_card_format::{Config, ServerUrl};
use gild_format::fit;
use gild_http::Access;
use gild_orders::Choice;
use gild_proof::card::FlasherCard;
use gild_share::Share;
use gild_source::{Backoff, Options, within};

/// The time for all requests together. It is enough for a server that has to start its disks.
const WHOLE: Duration = Duration::from_mins(1);
/// How often a server that fails is asked.
const ATTEMPTS: u32 = 2;

/// Refuses an image that no server has, that no key of the card has signed, that is for another board, or that is older than the card or
/// this disk allows. It cannot check for which agent the image is made, because the card does not say which agent it has.
pub fn check(card: &FlasherCard, board: &str, choice: &Choice, least_on_disk: u64) -> Result<()> {
    let least = card.least_rollback(board).max(least_on_disk);
    let (config, board, choice) = (card.config.clone(), board.to_owned(), choice.clone());
    let words = choice.to_string();
    let look = within::begin(WHOLE, move || look(&config, &board, &choice, least));
    let late = || {
        anyhow::anyhow!(
            "the servers of images did not answer within {} seconds",
            WHOLE.as_secs()
        )
    };
    let found = look.outcome().unwrap_or_else(|| Err(late()));
    found.with_context(|| format!("{words} is not there for the flasher"))
}

fn look(config: &Config, board: &str, choice: &Choice, least: u64) -> Result<()> {
    let access = Access::new(config.authorities.as_deref(), config.header.as_ref())?;
    let urls: Vec<ServerUrl> = config
        .servers
        .iter()
        .map(|server| server.join(board))
        .collect();
    let options = Options {
        connections: 1,
        answer: config.answer,
        ..Options::default()
    };
    let share = Share::new(
        &urls,
        &access,
        options,
        Arc::new(Backoff::attempts(ATTEMPTS)),
    );
    let keys = config.keys();
    let signed = share.on_one(|place| {
        gild_share::manifest(
            place,
            &choice.manifest(),
            &keys,
            thread::sleep,
            |manifest| {
                fit::check_board(manifest, board)?;
                fit::check_rollback(manifest, least, "the card or this disk asks for at least")?;
                choice.check(&manifest.image_id)
            },
        )
    })?;
    share.open(&signed.manifest.stored_file, signed.manifest.stored_size)?;
    Ok(())
}
