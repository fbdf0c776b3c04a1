//! Carries out signed orders on a running node. The node asks the server that `order_url` names. That server can withhold an order, but
//! cannot make one.
//!
//! The node checks the card before it changes anything: whether the card flashes, which disk, whose orders it accepts, and whether one of
//! its servers has the image. If an order is not right for this node or cannot be carried out, nothing changes. The journal and the desk
//! say why.

mod attempts;
mod said;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_boards::mac::Mac;
use gild_orders::{Action, Choice, Flash, Listener, Order, OrderId, Refusal, must_be_in_time};
use gild_proof::card::FlasherCard;
use gild_proof::disk::Disk;
use log::{info, warn};
use reqwest::Url;

use crate::client::{Client, FetchError};
use crate::seed::Place;
use crate::settings::{Image, Settings};
use crate::{clock, flasher, interface, led};
use said::Said;

/// How long one answer may take.
const TIME: Duration = Duration::from_secs(10);
/// An order to flash is not begun in the last part of its time: the board may need this long until its flasher asks for it.
const LEAST_TIME: Duration = Duration::from_mins(30);
/// This file says that the LED identifies the board at present.
const IDENTIFIES: &str = "run/gild/identifies";

/// The result of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The image does not say whom to ask.
    Nobody,
    /// The node asked the server, or it was not the time to ask.
    Looked,
}

/// The order that the server has for this node, and the signed bytes.
struct Heard {
    order: Order,
    answer: Vec<u8>,
}

/// Who this node is.
struct Who<'a> {
    root: &'a Path,
    settings: &'a Settings,
    macs: Vec<Mac>,
    now: u64,
}

/// Asks for an order and carries it out. `flash` has this node flashed for the order with this id.
pub fn look(root: &Path, flash: impl FnOnce(&OrderId) -> Result<()>) -> Result<Outcome> {
    let settings = Settings::read(root)?;
    let Some(server) = &settings.order_url else {
        return Ok(Outcome::Nobody);
    };
    // The flasher may write an image on trial again at any start. The trial ends by itself, so the node waits.
    if gild_proof::is_on_trial(root) {
        return Ok(Outcome::Looked);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let who = Who {
        root,
        settings: &settings,
        macs: interface::macs(root),
        now: now.unwrap_or_default().as_secs(),
    };
    let heard = who.hear(server);
    let is_identify = matches!(&heard, Ok(Some(heard)) if heard.order.action == Action::Identify);
    show(root, is_identify)?;
    let done = heard.and_then(|heard| match heard {
        Some(heard) => who.carry_out(&heard, flash),
        None => Ok(()),
    });
    let trouble = match done {
        // A time server may still answer. A desk would stop a rolling order at a board that refuses it.
        Err(error) if is_expected(&error) || (has_no_time(&error) && clock::is_early(root)) => {
            info!("{error:#}");
            None
        }
        Err(error) => Some(format!("{error:#}")),
        Ok(()) => None,
    };
    Said::of(root).say(trouble.as_deref())?;
    Ok(Outcome::Looked)
}

fn is_expected(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Refusal>()
        .is_some_and(Refusal::is_expected)
}

fn has_no_time(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Refusal::NoTime(_)))
}

impl Who<'_> {
    fn hear(&self, server: &Url) -> Result<Option<Heard>> {
        let mac = self.macs.first().copied();
        let mac = mac.context("this node has no MAC address to ask for orders with")?;
        let image = Image::read(self.root)?;
        let client = Client::hasty(self.settings.ca.as_deref())?;
        let answer = gild_orders::ask(server, mac, &image.board, |url| {
            match client.get(&url, TIME) {
                Ok(answer) => Ok(Some(answer.into_bytes())),
                Err(FetchError::Status(404)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let answer =
            answer.map_err(|error| anyhow!("signed orders cannot be asked for: {error}"))?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        let keys: Vec<_> = self.settings.order_keys.iter().collect();
        let listener = Listener {
            keys: &keys,
            macs: &self.macs,
            now: self.now,
        };
        let order = listener.order_in(&answer)?;
        Ok(Some(Heard { order, answer }))
    }

    fn carry_out(&self, heard: &Heard, flash: impl FnOnce(&OrderId) -> Result<()>) -> Result<()> {
        let order = &heard.order;
        match &order.action {
            Action::Flash(how) => {
                let disk = Disk::of_root(self.root)?;
                let record = gild_proof::proven_record(&disk)?;
                order.clone().unless_spent(&record.orders)?;
                let id = &order.id;
                must_be_in_time(id, self.now, clock::is_known(self.root, self.now))?;
                self.check(heard, how, &disk, record.next_floor())
                    .with_context(|| format!("order {id} cannot be carried out"))?;
                attempts::one_more(self.root, id)?;
                warn!("order {id}: this node is flashed again with {}", how.choice);
                flash(id).with_context(|| format!("order {id} was not carried out"))
            }
            // Only an order to flash may write the disk of a running node.
            Action::Hold | Action::Identify => Ok(()),
        }
    }

    /// Whether the flasher would carry it out.
    fn check(&self, heard: &Heard, how: &Flash, disk: &Disk, least_rollback: u64) -> Result<()> {
        Place::below(self.root).must_be_of(&self.macs)?;
        ensure!(
            heard.order.counts_at(self.now + LEAST_TIME.as_secs()),
            "it expires within {} minutes, and the flasher might no longer get it; next: make an order that counts longer",
            LEAST_TIME.as_secs() / 60
        );
        if let Some(wanted) = &how.disk {
            let found = disk.serial(self.root).unwrap_or_default();
            if found != *wanted {
                let id = heard.order.id.clone();
                let wanted = wanted.clone();
                return Err(Refusal::OtherDisk { id, wanted, found }.into());
            }
        }
        let card = FlasherCard::find(self.root)?;
        self.must_be_of_this_site(&card)?;
        // A flasher that asks for orders reports only what it believes.
        if card.config.order_url.is_some() || how.choice != Choice::Current || how.erase {
            self.is_believed(heard, &card)?;
        }
        flasher::check(self.root, &card, disk, &how.choice, least_rollback)
    }

    /// Refuses a card of another site. With its own images and its own cluster it would take this node.
    fn must_be_of_this_site(&self, card: &FlasherCard) -> Result<()> {
        let mut keys = card
            .config
            .keys()
            .into_iter()
            .chain(card.config.order_keys());
        ensure!(
            keys.any(|key| self.settings.order_keys.contains(key)),
            "the flasher card trusts no key that this image trusts, so it may be another site's, which would get this node; next: put this site's \
             card in, or write the key that signs orders as `order_key` into gild.toml on the card"
        );
        Ok(())
    }

    /// Whether the flasher would accept the order.
    fn is_believed(&self, heard: &Heard, card: &FlasherCard) -> Result<()> {
        // Without the order the flasher would write the current image and erase nothing.
        if card.config.order_url.is_none() {
            bail!(
                "the flasher card asks for no orders, and would write the current image; next: write `order_url` into gild.toml on the card"
            );
        }
        let flasher = Listener {
            keys: &card.config.order_keys(),
            macs: &self.macs,
            now: self.now,
        };
        flasher.order_in(&heard.answer).context(
            "the flasher card would not believe the order; next: write the key that signs orders as `order_key` into gild.toml on the card",
        )?;
        Ok(())
    }
}

/// Makes the LED identify the board, or show again what it showed before.
fn show(root: &Path, identifies: bool) -> Result<()> {
    let note = root.join(IDENTIFIES);
    if identifies {
        crate::files::private_directory(note.parent().unwrap_or(root))?;
        std::fs::write(&note, "")?;
        return led::identify(root).context("showing on the LED which board this is");
    }
    if note.exists() {
        let standing = gild_proof::standing(root)?;
        led::show(root, Some(&standing)).context("showing on the LED what it showed before")?;
        std::fs::remove_file(&note)?;
    }
    Ok(())
}
