//! Whether the flasher could write this node again. The node reads the image with the flasher's own code and judges it by the flasher's
//! rules, as far as a node knows them.
//!
//! If the answer is uncertain, the node is not made blank. With a blank disk and no image it would be down until somebody publishes one. A
//! node that waits loses nothing.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use gild_card_format::{Config, ServerUrl};
use gild_format::Manifest;
use gild_format::fit;
use gild_http::Access;
use gild_orders::Choice;
use gild_proof::card::FlasherCard;
use gild_proof::disk::Disk;
use gild_share::Share;
use gild_source::{Backoff, Options, within};

use crate::settings::Image;

/// The time for all requests together. It is enough for a server that has to start its disks.
const WHOLE: Duration = Duration::from_mins(1);
/// How often a server that fails is asked.
const ATTEMPTS: u32 = 2;

/// Stands before the advice in the text of an error.
const NEXT: &str = "; next: ";

/// Refuses if the flasher, without an order, could not write this node again.
pub fn look_for_image(root: &Path) -> Result<()> {
    let disk = Disk::of_root(root)?;
    let card = FlasherCard::find(root)?;
    let floor = gild_proof::next_floor(&disk)?;
    check(root, &card, &disk, &Choice::Current, floor)
}

/// Refuses a card that writes another disk, and an image that the flasher would not take.
pub fn check(
    root: &Path,
    card: &FlasherCard,
    disk: &Disk,
    choice: &Choice,
    least_on_disk: u64,
) -> Result<()> {
    card.check_disk(root, disk)?;
    let board = Image::read(root)?.board;
    check_image(card, &board, choice, least_on_disk).map_err(|error| {
        let reason = format!("{error:#}");
        let next = if reason.contains(NEXT) {
            ""
        } else {
            "; next: publish an image for it, or start the server of images"
        };
        anyhow!("the flasher could not write this node again with {choice}: {reason}{next}")
    })
}

/// Refuses an image that no server has, that no key of the card has signed, that is for another board or for a newer agent than the card
/// says that it has, or that is older than the card or this disk allows.
fn check_image(card: &FlasherCard, board: &str, choice: &Choice, least_on_disk: u64) -> Result<()> {
    let flasher = Flasher {
        board: board.to_owned(),
        agent: card.agent.clone(),
        least: card.least_rollback(board).max(least_on_disk),
        choice: choice.clone(),
    };
    let config = card.config.clone();
    let look = within::begin(WHOLE, move || look(&config, &flasher));
    let late = || {
        anyhow!(
            "the servers of images did not answer within {} seconds",
            WHOLE.as_secs()
        )
    };
    look.outcome().unwrap_or_else(|| Err(late()))
}

/// What the flasher would go by.
struct Flasher {
    board: String,
    agent: Option<String>,
    least: u64,
    choice: Choice,
}

impl Flasher {
    fn takes(&self, manifest: &Manifest) -> Result<(), String> {
        let flasher = fit::Flasher {
            board: &self.board,
            agent: self.agent.as_deref(),
            whose_agent: "the card has",
            least_rollback: self.least,
            who_asks: "the card or this disk asks for at least",
        };
        flasher.takes(manifest)?;
        self.choice.check(&manifest.image_id)
    }
}

fn look(config: &Config, flasher: &Flasher) -> Result<()> {
    let access = Access::new(config.authorities.as_deref(), config.header.as_ref())?;
    let urls: Vec<ServerUrl> = config
        .servers
        .iter()
        .map(|server| server.join(&flasher.board))
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
    let (name, keys) = (flasher.choice.manifest(), config.keys());
    let signed = share.on_one(|place| {
        gild_share::manifest(place, &name, &keys, thread::sleep, |manifest| {
            flasher.takes(manifest)
        })
    })?;
    share.open(&signed.manifest.stored_file, signed.manifest.stored_size)?;
    Ok(())
}
