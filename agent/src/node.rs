//! What is known of this node so far, for the receipt and for whoever reads it.

use gild_boards::Board;
use gild_flash::Report;
use gild_flash::select::Candidate;

use crate::card::Card;
use crate::interface::Interface;
use crate::mac::Mac;
use crate::network::Network;

/// The node, as far as the story has got.
#[derive(Default)]
pub struct Node {
    /// Which board it is.
    pub board: Option<&'static Board>,
    /// The flasher card.
    pub card: Option<Card>,
    /// Its place in the network.
    pub network: Option<Network>,
    /// Where the receipt is posted.
    pub status_url: Option<String>,
    /// The image it should carry.
    pub image_id: Option<String>,
    /// The disk to write.
    pub target: Option<Candidate>,
    /// What was done to the disk.
    pub report: Option<Report>,
}

impl Node {
    /// Forgets what the last attempt chose.
    pub fn start_over(&mut self) {
        self.image_id = None;
        self.target = None;
        self.report = None;
    }

    /// Its identity: the address in use, else the one of the first wired interface.
    pub fn mac(&self) -> Option<Mac> {
        match &self.network {
            Some(network) => Some(network.mac),
            None => Interface::all().first()?.mac(),
        }
    }
}
