//! What this start of the board has heard.

use std::time::Duration;

use gild_disk::select::Candidate;
use gild_format::release::GOLDEN;
use gild_orders::{
    Action, Flash, LONGEST_LIFE, Order, OrderId, Refusal, last_signed, must_be_in_time,
};
use log::{info, warn};

use super::NotHeard;
use crate::clock::{self, Knowledge, Setting};
use crate::consent::{self, Decision, Holds, Reason, Signed};
use crate::http::HttpError;

/// What has been heard.
#[derive(Clone, Default)]
pub struct Heard {
    /// The last order to flash.
    flash: Option<Chosen>,
    /// The last order to hold or to identify.
    other: Option<Order>,
    /// Why the last answer does not count, if that should be said.
    trouble: Option<String>,
    /// The server did not answer the last time.
    is_away: bool,
    is_fresh: bool,
    /// Whether the time is known, because orders expire.
    clock: Knowledge,
}

/// An order to flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its id.
    pub id: OrderId,
    /// What it says of image and disk.
    pub flash: Flash,
    expires: u64,
}

impl Chosen {
    /// The name of the manifest that it chooses.
    pub fn manifest(chosen: Option<&Self>) -> String {
        chosen.map_or_else(
            || GOLDEN.to_owned(),
            |chosen| chosen.flash.choice.manifest(),
        )
    }

    fn is_for(&self, serial: &str) -> bool {
        self.flash.disk.as_deref().is_none_or(|disk| disk == serial)
    }
}

impl Heard {
    /// Another attempt begins, so the server is asked again.
    pub fn start_over(&mut self) {
        self.is_fresh = false;
        self.trouble = None;
    }

    /// Whether the server was asked in this attempt.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Takes in an answer. An order that was heard before is signed, so it counts until another answer comes; trouble of the network does
    /// not end it. If the disk's record already names an order to flash, that order has begun, and the agent carries it out whatever the
    /// server says now.
    pub fn takes(
        &mut self,
        answer: Result<Option<Order>, NotHeard>,
        carried_out: &[String],
        now: u64,
    ) -> Result<(), NotHeard> {
        self.is_fresh = true;
        self.trouble = None;
        self.is_away = matches!(&answer, Err(NotHeard::Unreachable(error)) if !is_refusal(error));
        let order = match answer {
            Ok(order) => order,
            Err(error) => {
                let is_expected =
                    matches!(&error, NotHeard::Refused(refusal) if refusal.is_expected());
                self.trouble = (!is_expected).then(|| error.to_string());
                return Err(error);
            }
        };
        self.other = None;
        let has_begun = |chosen: &Chosen| carried_out.contains(&chosen.id.to_string());
        let Some(order) = order else {
            self.flash = self.flash.take().filter(has_begun);
            return Ok(());
        };
        info!("signed order {} is for this node", order.id);
        match order.action {
            Action::Flash(flash) => {
                let is_spent = order.id.is_spent_by(carried_out);
                self.flash = Some(Chosen {
                    id: order.id.clone(),
                    flash,
                    expires: order.expires,
                });
                if is_spent {
                    return Err(Refusal::Spent(order.id).into());
                }
            }
            // A later flash does not end them: only their time does, or another answer.
            Action::Hold | Action::Identify => {
                self.flash = self.flash.take().filter(has_begun);
                self.other = Some(order).filter(|order| order.counts_at(now));
            }
        }
        Ok(())
    }

    /// Whether this disk may have been made blank for an order, or the write because of one was interrupted, and nobody has said yet what it
    /// chooses. The disk notes only the order's id, the latest first, and not whether the order is done.
    pub fn missing(&self, holds: &Holds, now: u64) -> bool {
        let Holds::Blank(Some(record)) = holds else {
            return false;
        };
        let latest = record.orders.first().and_then(|id| OrderId::parse(id));
        latest.is_some_and(|noted| {
            let may_count = now < noted.made_at() + LONGEST_LIFE.as_secs();
            let is_known = self.flash.as_ref().is_some_and(|flash| flash.id >= noted);
            self.is_away && may_count && !is_known
        })
    }

    /// Notes that the clock was set.
    pub fn knows_time_by(&mut self, setting: &Setting) {
        self.clock = self.clock.after(setting);
    }

    /// The order to flash, if it names the disk with this serial number or no disk.
    pub fn order_for(&self, serial: &str, now: u64) -> Option<Signed> {
        let flash = self.flash.as_ref().filter(|flash| now < flash.expires)?;
        flash.is_for(serial).then(|| Signed {
            id: flash.id.clone(),
            is_in_time: self.is_in_time(&flash.id, now).is_ok(),
        })
    }

    fn is_in_time(&self, id: &OrderId, now: u64) -> Result<(), Refusal> {
        must_be_in_time(id, now, self.clock.is_time_known())
    }

    /// Notes why this order does not count for a disk that a node may live on, if it may have expired.
    pub fn doubts(&mut self, id: &OrderId, now: u64) {
        if let Err(refusal) = self.is_in_time(id, now) {
            warn!("{refusal}");
            self.trouble = Some(refusal.to_string());
        }
    }

    /// The same for a disk that was found after the image was chosen. If the order did not choose this image, it does not count:
    /// the flash does not note it in the disk's record.
    pub fn order_by(&self, chosen: Option<&Chosen>, serial: &str, now: u64) -> Option<Signed> {
        let signed = self.order_for(serial, now)?;
        (chosen?.id == signed.id).then_some(signed)
    }

    /// Notes why the order to flash is not for the disk with this serial number, if it names another.
    pub fn meets(&mut self, serial: &str) {
        let Some(flash) = self.flash.as_ref().filter(|flash| !flash.is_for(serial)) else {
            return;
        };
        let refusal = Refusal::OtherDisk {
            id: flash.id.clone(),
            wanted: flash.flash.disk.clone().unwrap_or_default(),
            found: serial.to_owned(),
        };
        warn!("{refusal}");
        self.trouble = Some(refusal.to_string());
    }

    /// The serial number of the disk that the order names, if that disk is present.
    pub fn disk(&self, present: &[Candidate]) -> Option<String> {
        let wanted = self.flash.as_ref()?.flash.disk.as_ref()?;
        let mut present = present.iter();
        let found = present.find(|disk| disk.serial == *wanted)?;
        Some(found.serial.clone())
    }

    /// The order because of which the disk is written, if there is one. It says with which image. If a blank disk's record names the order,
    /// either the disk was made blank for it, or a power cut interrupted the write.
    pub fn chosen(&self, holds: &Holds, serial: &str) -> Option<&Chosen> {
        let chosen = self.flash.as_ref().filter(|chosen| chosen.is_for(serial))?;
        let signed = self.order_for(serial, clock::seconds());
        let is_last = || last_signed(holds.carried_out()).is_none_or(|last| last <= chosen.id);
        let counts = match consent::decide(holds.clone(), None, signed.as_ref()) {
            Decision::Write(Reason::Order(_)) => true,
            _ => matches!(holds, Holds::Blank(_)) && is_last(),
        };
        counts.then_some(chosen)
    }

    /// The order to flash, while the agent does not know yet what the disk holds. `serial`: the serial number of the disk to
    /// write, if one is given.
    pub fn any(&self, serial: Option<&str>) -> Option<&Chosen> {
        let chosen = self.flash.as_ref()?;
        let is_for = match (&chosen.flash.disk, serial) {
            (Some(_), None) => false,
            (_, Some(serial)) => chosen.is_for(serial),
            (None, None) => true,
        };
        is_for.then_some(chosen)
    }

    /// The order that holds this node.
    pub fn hold(&self, now: u64) -> Option<&OrderId> {
        let order = self.other.as_ref()?;
        (order.action == Action::Hold && order.counts_at(now)).then_some(&order.id)
    }

    /// For how long the LED must identify the board.
    pub fn identify(&self, now: u64) -> Option<Duration> {
        let order = self.other.as_ref()?;
        let left = order.expires.saturating_sub(now);
        (order.action == Action::Identify && left > 0).then(|| Duration::from_secs(left))
    }

    /// Why the last answer does not count, for the reports.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Says why an order is not carried out.
    pub fn has_failed(&mut self, why: &str) {
        if let Some(chosen) = &self.flash {
            self.trouble = Some(format!("order {} is not carried out: {why}", chosen.id));
        }
    }
}

/// A server that refuses has answered: a plain web server may do so if the file is missing.
fn is_refusal(error: &HttpError) -> bool {
    matches!(error, HttpError::Status(status) if status.is_client_error())
}
