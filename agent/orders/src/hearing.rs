//! How the card's agent and a node ask for an order, and how they judge the answer. Both use this code, so that they agree.

use std::time::Duration;

use gild_boards::mac::Mac;
use gild_format::record::MAX_ORDERS;
use gild_format::signature::PublicKey;
use url::Url;

use crate::id::OrderId;
use crate::order::Order;
use crate::signed::{SignedOrder, SignedOrderError};

/// The first of June 2026, which was already past when this was written: a clock that shows an earlier time has lost it. It is a constant
/// because the build must be reproducible.
pub const FLOOR: Duration = Duration::from_hours(20_605 * 24);

/// How far the clocks of a board and of who makes orders may differ.
const AHEAD: Duration = Duration::from_hours(1);

/// Who listens, and whom they obey.
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    /// The keys that count for orders.
    pub keys: &'a [&'a PublicKey],
    /// The addresses of this node.
    pub macs: &'a [Mac],
    /// The time, seconds since 1970.
    pub now: u64,
}

/// An answer is not an order for this node.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not an order, or nobody whose orders count has signed it.
    #[error(transparent)]
    NotSigned(#[from] SignedOrderError),
    /// It names others.
    #[error("order {0} names other nodes")]
    OtherNodes(OrderId),
    /// Its time is over.
    #[error("order {0} has expired by this board's clock")]
    Expired(OrderId),
    /// Its time may be over.
    #[error(
        "order {0} may have expired long ago, because this board does not know the time: no time server has answered, and it has no clock that \
         runs while it is off; next: let a time server answer this board (UDP port 123)"
    )]
    NoTime(OrderId),
    /// Its time may be over, because the clock is behind.
    #[error(
        "order {0} was made more than an hour after the time that this board's clock shows, so one of two clocks is wrong; next: let a time server \
         answer this board (UDP port 123), and see that the clock of the machine that makes orders is right"
    )]
    Ahead(OrderId),
    /// This disk is done with it.
    #[error("order {0} is spent: the disk has carried out this order or a later one")]
    Spent(OrderId),
    /// It is for another disk.
    #[error(
        "order {id} is for the disk with serial number {wanted}, and this board's disk has {found}"
    )]
    OtherDisk {
        /// The order.
        id: OrderId,
        /// The disk that it names.
        wanted: String,
        /// The one that is there.
        found: String,
    },
}

impl Refusal {
    /// Whether every node of a rack gets this refusal in normal operation: then a line in the log is enough.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::OtherNodes(_) | Self::Spent(_))
    }
}

impl Listener<'_> {
    /// The order in an answer. Whether a disk is done with it is another question: [`Order::unless_spent`].
    pub fn order_in(&self, answer: &[u8]) -> Result<Order, Refusal> {
        let order = SignedOrder::parse(answer)?.open(self.keys)?;
        if !order.is_for(self.macs) {
            return Err(Refusal::OtherNodes(order.id));
        }
        if !order.counts_at(self.now) {
            return Err(Refusal::Expired(order.id));
        }
        Ok(order)
    }
}

impl Order {
    /// The order, unless a disk that has carried out these is done with it.
    pub fn unless_spent(self, carried_out: &[String]) -> Result<Self, Refusal> {
        if self.id.is_spent_by(carried_out) {
            return Err(Refusal::Spent(self.id));
        }
        Ok(self)
    }
}

/// Refuses an order to flash of which nobody knows whether it has expired. This is for a disk that a node may live on: a clock that has
/// stopped makes each order count that ever was. `knows_time` says whether the clock is more than a guess.
pub fn must_be_in_time(id: &OrderId, now: u64, knows_time: bool) -> Result<(), Refusal> {
    if !knows_time {
        return Err(Refusal::NoTime(id.clone()));
    }
    if id.made_at() > now + AHEAD.as_secs() {
        return Err(Refusal::Ahead(id.clone()));
    }
    Ok(())
}

/// Asks under the node's own name, and if there is nothing, under the board's. `get` gives `None` where the server has no such page.
pub fn ask<E>(
    server: &Url,
    mac: Mac,
    board: &str,
    mut get: impl FnMut(Url) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<Vec<u8>>, E> {
    for name in [mac.digits().as_str(), board] {
        if let Some(answer) = get(below(server, name))? {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

fn below(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    let base = server.path().trim_end_matches('/');
    url.set_path(&format!("{base}/{name}"));
    url
}

/// The orders that a disk has carried out, with this one as the last. If there are more than a record keeps, the latest signed
/// order stays: because of it the disk carries out no order that was signed before.
#[must_use]
pub fn carried_out_with(before: &[String], id: &str) -> Vec<String> {
    let others = before.iter().filter(|before| *before != id).cloned();
    let mut ids: Vec<String> = std::iter::once(id.to_owned()).chain(others).collect();
    let last = last_signed(&ids).map(|last| last.to_string());
    let forgotten = ids.drain(MAX_ORDERS.min(ids.len())..).collect::<Vec<_>>();
    if let (Some(last), Some(end)) = (last, ids.last_mut())
        && forgotten.contains(&last)
    {
        *end = last;
    }
    ids
}

/// The latest signed order among those that a disk has carried out.
#[must_use]
pub fn last_signed(carried_out: &[String]) -> Option<OrderId> {
    let signed = carried_out.iter().filter_map(|id| OrderId::parse(id));
    signed.max()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;
    use crate::order::Action;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ID: &str = "20261228T101500Z-1a2b3c";
    const LATER: &str = "20261229T101500Z-000000";

    fn pair() -> (KeyPair, PublicKey) {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key pair");
        let public = PublicKey::parse(&pair.pk.to_base64()).expect("a key");
        (pair, public)
    }

    #[test]
    fn an_order_counts_for_a_node_s_disk_only_by_a_clock_that_is_known_and_not_behind() {
        let id = OrderId::parse(ID).expect("an id");
        let made = id.made_at();
        must_be_in_time(&id, made - 3600, true).expect("clocks differ a little");
        must_be_in_time(&id, made + 7200, true).expect("in time");
        let behind = must_be_in_time(&id, made - 3601, true);
        assert!(matches!(behind, Err(Refusal::Ahead(_))), "{behind:?}");
        let unknown = must_be_in_time(&id, made + 60, false);
        assert!(matches!(unknown, Err(Refusal::NoTime(_))), "{unknown:?}");
    }

    fn answer(pair: &KeyPair) -> Vec<u8> {
        let order = Order {
            id: OrderId::parse(ID).expect("an id"),
            nodes: vec![MAC],
            expires: 1000,
            action: Action::Hold,
        };
        let text = order.to_text();
        let signature = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&text), None, None)
            .expect("a signature")
            .into_string();
        SignedOrder::new(text, signature).to_text().into_bytes()
    }

    #[test]
    fn an_order_counts_for_its_nodes_until_it_expires_if_a_key_that_counts_signed_it() {
        let ((own, key), (stranger, _)) = (pair(), pair());
        let keys = [&key];
        let heard = |answer: &[u8], macs: &[Mac], now: u64| {
            let keys = &keys;
            Listener { keys, macs, now }.order_in(answer)
        };
        let good = answer(&own);
        assert_eq!(
            heard(&good, &[OTHER, MAC], 999)
                .expect("an order")
                .id
                .as_str(),
            ID
        );
        let refused = |answer: &[u8], macs: &[Mac], now: u64| {
            heard(answer, macs, now).expect_err("no order").to_string()
        };
        assert!(refused(&answer(&stranger), &[MAC], 999).contains("signature"));
        assert!(refused(b"<html>", &[MAC], 999).contains("not a signed order"));
        assert!(refused(&good, &[OTHER], 999).contains("other nodes"));
        assert!(refused(&good, &[MAC], 1000).contains("expired"));
        let order = heard(&good, &[MAC], 999).expect("an order");
        let spent = order.clone().unless_spent(&[ID.to_owned()]);
        assert!(spent.expect_err("done").is_expected());
        order
            .unless_spent(&["2027".to_owned()])
            .expect("it is another's");
    }

    #[test]
    fn a_node_asks_under_its_own_name_and_then_under_its_board_s() {
        let server = Url::parse("http://desk/orders/?site=a").expect("an address");
        let asked = |has: &str| {
            let mut asked = Vec::new();
            let answer = ask(&server, MAC, "rpi5", |url| {
                asked.push(url.to_string());
                Ok::<_, ()>(url.path().ends_with(has).then(|| b"x".to_vec()))
            });
            (asked.len(), answer.expect("answers"), asked)
        };
        let (count, answer, asked_for) = asked("nothing");
        assert_eq!((count, answer), (2, None));
        let expected = [
            "http://desk/orders/d83add010203?site=a",
            "http://desk/orders/rpi5?site=a",
        ];
        assert_eq!(asked_for, expected);
        assert_eq!(asked("d83add010203").0, 1);
        let (count, answer, _) = asked("rpi5");
        assert_eq!((count, answer.as_deref()), (2, Some(&b"x"[..])));
        let failed = ask(&server, MAC, "rpi5", |_| Err("down"));
        assert_eq!(failed, Err("down"), "it is not asked again");
    }

    #[test]
    fn a_disk_never_forgets_the_latest_signed_order() {
        let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
        assert_eq!(carried_out_with(&[], ID), ids(&[ID]));
        let five = ids(&["a", "b", "c", ID, LATER]);
        assert_eq!(
            carried_out_with(&five, "d"),
            ids(&["d", "a", "b", "c", LATER])
        );
        assert_eq!(carried_out_with(&five, "a"), five);
        let plain = ids(&["a", "b", "c", "d", "e"]);
        assert_eq!(carried_out_with(&plain, ID), ids(&[ID, "a", "b", "c", "d"]));
        assert_eq!(last_signed(&five).expect("one").as_str(), LATER);
        assert_eq!(last_signed(&plain), None);
    }
}
