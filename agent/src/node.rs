//! What is known of this node so far, for the receipt and for anyone who reads it.

use std::path::Path;

use gild_boards::Board;
use gild_boards::mac::Mac;
use gild_card_format::names::{UNKNOWN, file_id};
use gild_card_format::{LogServer, Order};
use gild_disk::select::Candidate;
use gild_flash::Report;
use gild_identity::{Interface, lasting_macs};

use crate::board;
use crate::boot_order::BootOrder;
use crate::card::Card;
use crate::discards::Discard;
use crate::dry_run::DryRun;
use crate::network::Network;
use crate::reporter::Destination;
use crate::restarts::{Counting, Tally};
use crate::signed_order::Heard;

/// The node, as far as the story has got.
#[derive(Clone, Default)]
pub struct Node {
    /// Which board it is.
    pub board: Option<&'static Board>,
    /// The flasher card.
    pub card: Option<Card>,
    /// Its place in the network.
    pub network: Option<Network>,
    /// Where reports are posted.
    pub status: Option<Destination>,
    /// Where the lines of the console go.
    pub log_server: Option<LogServer>,
    /// The name that Matchbox has for this node.
    pub hostname: Option<String>,
    /// The image it should carry.
    pub image_id: Option<String>,
    /// The disk to write.
    pub target: Option<Candidate>,
    /// What was done to the disk.
    pub report: Option<Report>,
    /// Whether the disk was discarded before the write.
    pub discard: Discard,
    /// Whether the board restarts to start an image that has not proven itself.
    pub is_on_trial: bool,
    /// The image on the share, if the node keeps another one because nobody ordered a replacement.
    pub offered: Option<String>,
    /// What the server of signed orders has answered.
    pub heard: Heard,
    /// The state of a dry run. If it is set, this start writes nothing.
    pub dry_run: Option<DryRun>,
    /// What keeps the disk from being written, in words: an order, or the dry run with what it would do.
    pub held: Option<String>,
    /// The last signed order that its disk has carried out or is carrying out.
    pub order: Option<String>,
    /// What was done to the boot order.
    pub boot_order: Option<BootOrder>,
    /// What changed on the board with that, in words.
    pub boot_order_changes: Vec<String>,
    /// Receipts of earlier starts that the card keeps because the status URL has not taken them. `None` until they are read.
    pub unsent: Option<Vec<String>>,
    /// What the card said about hangs when this start first looked.
    pub hung_before: Option<Tally>,
    /// Whether this start has already shown that the disk hung before.
    pub has_shown_hangs: bool,
    /// The pause of an image on trial that has had its starts, as [`waited`](crate::waited) names it.
    pub pause: Option<String>,
    /// Where its restarts are counted.
    pub counting: Counting,
    /// Whether the restart that follows this start is in the loop guard's count.
    pub has_counted_restart: bool,
    /// How often this start of the agent has written the disk, in this attempt and earlier ones.
    pub writes: u32,
}

impl Node {
    /// Forgets what the last attempt chose.
    pub fn start_over(&mut self) {
        self.image_id = None;
        self.target = None;
        self.report = None;
        self.discard = Discard::default();
        self.is_on_trial = false;
        self.offered = None;
        self.order = None;
        self.held = None;
        self.heard.start_over();
        self.boot_order = None;
        self.boot_order_changes.clear();
    }

    /// Its identity: the address in use, or else that of the first wired interface.
    pub fn mac(&self) -> Option<Mac> {
        if let Some(network) = &self.network {
            return Some(network.mac);
        }
        let wired = Interface::wired(Path::new("/"));
        let first = wired.first()?;
        self.lasting_mac(&wired, first).or_else(|| first.mac())
    }

    /// The address that the agent gives an interface that has none of its own.
    fn lasting_mac(&self, wired: &[Interface], interface: &Interface) -> Option<Mac> {
        lasting_macs(Path::new("/"), self.board?, wired)?.remove(interface)
    }

    /// Its name in the names of files on the card. It stays the same as long as each start finds the same network interfaces.
    pub fn id(&self) -> String {
        let is_random = |mac| {
            let mut all = Interface::wired(Path::new("/")).into_iter();
            all.any(|interface| interface.has_random_mac() && interface.mac() == Some(mac))
        };
        match self.mac() {
            Some(mac) if !is_random(mac) => mac.digits(),
            _ => file_id(board::serial(), UNKNOWN),
        }
    }

    /// Whether the next start still needs the card in its slot.
    pub fn needs_card(&self) -> bool {
        self.is_on_trial || self.boot_order == Some(BootOrder::Staged)
    }

    /// All its addresses.
    pub fn macs(&self) -> Vec<Mac> {
        let wired = Interface::wired(Path::new("/"));
        let own = wired.iter().filter_map(Interface::mac);
        self.mac().into_iter().chain(own).collect()
    }

    /// Whether an order names this node, by any of its names.
    pub fn is_meant_by(&self, order: &Order) -> bool {
        let macs = self.macs().into_iter().map(|mac| mac.to_string());
        let names: Vec<String> = macs.chain(board::serial()).collect();
        order.is_for(names.iter().map(String::as_str))
    }

    /// Its name in the names of files that must be found again even without a network interface, or before the network is up. It is the
    /// board's serial number, if the firmware passes one on.
    pub fn lasting_id(&self) -> String {
        lasting_id(board::serial(), || self.id())
    }
}

fn lasting_id(serial: Option<String>, id: impl FnOnce() -> String) -> String {
    match file_id(serial, UNKNOWN) {
        name if name == UNKNOWN => id(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lasting_name_does_not_depend_on_the_network_interfaces() {
        let id = |serial: Option<&str>, id: &str| {
            lasting_id(serial.map(str::to_owned), || id.to_owned())
        };
        let serial = Some("10000000abcdef01");
        assert_eq!(id(serial, "d83add123456"), "10000000abcdef01");
        assert_eq!(id(serial, UNKNOWN), "10000000abcdef01");
        assert_eq!(id(None, "d83add123456"), "d83add123456");
        assert_eq!(id(Some("--"), "d83add123456"), "d83add123456");
    }
}
