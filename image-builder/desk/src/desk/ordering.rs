//! The desk and the operator's orders: drafts, which node is handed what, and what was done with the login.

use std::net::IpAddr;
use std::sync::Arc;

use gild_boards::mac::Mac;
use gild_orders::{Action, Order, OrderId};
use log::{info, warn};

use super::{Desk, now};
use crate::orders::{
    Keys, Offered, OrderShown, QueueError, Queued, Shelf, ShelfError, Wish, acts, for_node,
    for_page, name, nodes,
};
use crate::rack::{Act, Happened};

/// An order was not queued or taken back.
#[derive(Debug, thiserror::Error)]
pub enum OrderingError {
    /// It was not queued.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The folder cannot be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// There is no such order.
    #[error("there is no order {0}")]
    Unknown(OrderId),
    /// It could not be noted. The desk does nothing that it cannot note.
    #[error("the desk cannot note it: {0}")]
    Noted(std::io::Error),
}

/// The desk cannot say at present which order a board has.
#[derive(Debug, thiserror::Error)]
pub enum HandingError {
    /// The folder cannot be read.
    #[error(transparent)]
    Shelf(#[from] Arc<ShelfError>),
    /// An order to flash that cannot be noted is not handed out.
    #[error("the journal cannot be written: {0}")]
    Noted(std::io::Error),
}

impl Desk {
    /// The orders, at most two seconds old; none while their folder cannot be read.
    #[must_use]
    pub fn orders(&self) -> Arc<Vec<Queued>> {
        self.known_orders.read(&self.folder).unwrap_or_default()
    }

    /// The orders and how far their nodes are, the latest first.
    #[must_use]
    pub fn shown_orders(&self) -> Vec<OrderShown> {
        let (queue, groups) = (self.orders(), self.groups());
        self.look(|rack| for_page(&queue, rack, now(), |mac| name(&groups, mac)))
    }

    /// The signed order for the node with this address. If the order is a flash, the desk notes first that it hands it out: the next node
    /// of a rolling order waits for this one. If the desk cannot note it, it does not hand it out.
    pub fn order_for(&self, mac: Mac) -> Result<Option<String>, HandingError> {
        let queue = self.known_orders.read(&self.folder)?;
        let now = now();
        let mut memory = self.memory();
        let Some((order, text)) = for_node(&queue, &memory.rack, mac, now) else {
            return Ok(None);
        };
        let node = memory.rack.node(mac);
        if node.is_some_and(|node| node.orders.get(&order.id).is_some()) {
            return Ok(Some(text.to_owned()));
        }
        let happened = Happened::Handed {
            at: now,
            mac: mac.to_string(),
            order: order.id.to_string(),
        };
        if let Err(error) = memory.keep(&happened) {
            let error = HandingError::Noted(error);
            warn!("{error}");
            // An order that writes nothing may go out without a note.
            return match order.action {
                Action::Flash(_) => Err(error),
                Action::Hold | Action::Identify => Ok(Some(text.to_owned())),
            };
        }
        info!("{mac} is handed the order {}", order.id);
        self.apply(&mut memory, &happened);
        Ok(Some(text.to_owned()))
    }

    /// The operator queues an order. It is a draft until it is signed.
    pub fn queue(&self, wish: &Wish, from: IpAddr) -> Result<Order, OrderingError> {
        let orders = Shelf::new(self.folder.orders());
        let order = orders.plan(wish, now(), Keys::read(&self.folder).as_ref())?;
        let offered = Offered::read(&self.folder.images());
        self.look(|rack| offered.check(&order, rack))
            .map_err(QueueError::from)?;
        let groups = self.groups();
        let whom = nodes(&order, |mac| name(&groups, mac));
        let what = acts(&order.action);
        self.note_act(
            from,
            &format!("queues the order {}: {whom}: {what}", order.id),
        )
        .map_err(OrderingError::Noted)?;
        orders.put(&order)?;
        if let Some(unseen) = self.look(|rack| offered.unseen(&order, rack)) {
            warn!("{}: {unseen}", order.id);
        }
        self.orders_changed(&order.nodes);
        Ok(order)
    }

    /// The operator takes an order back. A node that has already fetched it keeps it.
    pub fn take_back(&self, id: &OrderId, from: IpAddr) -> Result<(), OrderingError> {
        let orders = Shelf::new(self.folder.orders());
        if !orders.has(id) {
            return Err(OrderingError::Unknown(id.clone()));
        }
        self.note_act(from, &format!("takes back the order {id}"))
            .map_err(OrderingError::Noted)?;
        let known = self.orders();
        orders.remove(id)?;
        let gone = known.iter().find(|queued| queued.id == *id);
        let nodes = gone.and_then(|queued| queued.order.as_ref());
        self.orders_changed(nodes.map_or(&[], |order| &order.nodes));
        Ok(())
    }

    /// Notes what somebody with the login is about to do. If this fails, the caller must not do it.
    pub fn note_act(&self, from: IpAddr, text: &str) -> std::io::Result<()> {
        let act = Act {
            at: now(),
            from: from.to_canonical().to_string(),
            text: text.to_owned(),
        };
        info!("with the login, somebody at {} {}", act.from, act.text);
        let happened = Happened::Acted { act };
        let mut memory = self.memory();
        memory.keep(&happened)?;
        self.apply(&mut memory, &happened);
        Ok(())
    }

    fn orders_changed(&self, nodes: &[Mac]) {
        self.known_orders.forget();
        for mac in nodes {
            self.has_changed(*mac);
        }
    }
}
