//! An order to flash: it has nodes written again that a flasher would leave alone.
//!
//! The disk's record keeps the id of the last order that was carried out, so a card that stays in its slot, or that cannot
//! be written, has a node flashed once and not at each start.

use gild_format::record::MAX_ORDER_ID;
use serde::Deserialize;

use crate::config::ConfigError;

/// Stands for all nodes.
const ALL: &str = "all";

/// The digits of a MAC address, and of the serial numbers of boards.
const LENGTHS: [usize; 3] = [12, 16, 32];

/// What a node is ordered to do: be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Names the order. A node carries out each id once.
    pub id: String,
    /// MAC addresses and serial numbers of the nodes that are meant; none if all are.
    nodes: Vec<String>,
}

/// The order cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Its id.
    #[error(
        "`{0}` is not the id of an order; next: write 1 to {MAX_ORDER_ID} letters, digits, dots, dashes or underscores, a date for example"
    )]
    Id(String),
    /// Nobody is meant.
    #[error(
        "order `{0}` names no node; next: name the nodes by MAC address or by the board's serial number, or write `all`"
    )]
    NoNodes(String),
    /// A name that no node can have.
    #[error(
        "`{0}` cannot name a node; next: write a MAC address or the serial number of a board, or `all` and nothing else"
    )]
    Node(String),
}

/// The section `[order]`, as it is written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct OrderSection {
    id: Option<String>,
    nodes: Vec<String>,
}

impl Order {
    /// An order for these nodes, or for [`ALL`]. An order that names no node is incomplete, and must not count as one for all
    /// nodes.
    pub fn new<'a>(id: &str, nodes: impl IntoIterator<Item = &'a str>) -> Result<Self, OrderError> {
        let id = order_id(id)?;
        let nodes: Vec<&str> = nodes.into_iter().collect();
        let nodes = match nodes[..] {
            [] => return Err(OrderError::NoNodes(id)),
            [ALL] => Vec::new(),
            _ => nodes.into_iter().map(name).collect::<Result<_, _>>()?,
        };
        Ok(Self { id, nodes })
    }

    /// The order in a file on the card: the id in the first line, a node in each further one, or `all`. Empty lines and those that
    /// start with `#` do not count. `None` for a file without any other line.
    pub fn in_file(text: &str) -> Result<Option<Self>, OrderError> {
        let mut lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(id) = lines.next() else {
            return Ok(None);
        };
        Self::new(id, lines).map(Some)
    }

    /// Names that are neither a MAC address nor of the form of a board's serial number: 12, 16 or 32 hexadecimal digits.
    pub fn unlikely_names(&self) -> impl Iterator<Item = &String> {
        let is_likely = |name: &String| {
            LENGTHS.contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        self.nodes.iter().filter(move |name| !is_likely(name))
    }

    /// Whether a node with these names is meant.
    pub fn is_for<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let is_meant = |name: &str| self.nodes.contains(&plain(name));
        self.nodes.is_empty() || names.into_iter().any(is_meant)
    }
}

/// This as the id of an order, if it can be one.
pub fn order_id(id: &str) -> Result<String, OrderError> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if id.is_empty() || id.len() > MAX_ORDER_ID || !id.chars().all(is_word) {
        return Err(OrderError::Id(id.to_owned()));
    }
    Ok(id.to_owned())
}

fn name(node: &str) -> Result<String, OrderError> {
    match plain(node) {
        name if name.is_empty() || name == ALL => Err(OrderError::Node(node.to_owned())),
        name => Ok(name),
    }
}

/// `D8:3A:DD:12:34:56`, `d8-3a-dd-12-34-56` and `d83add123456` are one address.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

impl OrderSection {
    /// Makes the order of it.
    pub fn check(self) -> Result<Option<Order>, ConfigError> {
        let Some(id) = self.id else {
            return if self.nodes.is_empty() {
                Ok(None)
            } else {
                Err(ConfigError::Type(
                    "[order] has no `id`: write one, a date for example; a node carries out each id once".to_owned(),
                ))
            };
        };
        let order = Order::new(&id, self.nodes.iter().map(String::as_str));
        Ok(Some(order.map_err(|error| {
            ConfigError::Type(format!("[order]: {error}"))
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "d8:3a:dd:12:34:56";
    const SERIAL: &str = "10000000abcdef01";

    #[test]
    fn an_order_is_for_all_or_for_the_nodes_that_it_names() {
        let is_for = |nodes: &[&str]| {
            let order = Order::new("o-1", nodes.iter().copied()).expect("an order");
            order.is_for([MAC, SERIAL])
        };
        assert!(is_for(&["all"]));
        for name in [
            MAC,
            "D8-3A-DD-12-34-56",
            "d83add123456",
            SERIAL,
            "10000000ABCDEF01",
        ] {
            assert!(is_for(&["02:00:00:00:00:01", name]), "{name}");
        }
        assert!(!is_for(&["d8:3a:dd:12:34:57", "10000000abcdef0"]));
        let named = Order::new("o-1", [MAC]).expect("an order");
        assert!(!named.is_for([]), "a node that does not know its names");
    }

    #[test]
    fn a_name_that_no_board_knows_as_its_own_is_noticed() {
        let order = Order::new("o-1", [MAC, SERIAL, "node-1", "02:00:00:00:00"]).expect("an order");
        let unlikely: Vec<_> = order.unlikely_names().collect();
        assert_eq!(unlikely, ["node1", "0200000000"]);
        let all = Order::new("o-1", [ALL]).expect("an order");
        assert_eq!(all.unlikely_names().count(), 0);
    }

    #[test]
    fn a_file_has_the_id_first_and_then_the_nodes() {
        let text = "\u{feff}# again\r\n\r\n2026-12-01\r\nd8:3a:dd:12:34:56\r\n";
        let order = Order::in_file(text).expect("an order").expect("one");
        assert_eq!(order, Order::new("2026-12-01", [MAC]).expect("an order"));
        assert_eq!(Order::in_file("# nothing\n\n"), Ok(None));
        let all = Order::in_file("2026-12-01\nall\n").expect("an order");
        assert!(all.expect("one").is_for([]));
        let error = Order::in_file("2026-12-01\n# d8:3a:dd:12:34:56\n").expect_err("half a file");
        assert_eq!(error, OrderError::NoNodes("2026-12-01".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for id in ["", "a b", "a/b", "ä", &"x".repeat(MAX_ORDER_ID + 1)] {
            let error = Order::new(id, [ALL]).expect_err(id);
            assert_eq!(error, OrderError::Id(id.to_owned()));
        }
        let error = Order::new("o-1", []).expect_err("half an order");
        assert_eq!(error, OrderError::NoNodes("o-1".to_owned()));
        for (nodes, wrong) in [(&["--"][..], "--"), (&[MAC, ALL], ALL), (&["ALL"], "ALL")] {
            let error = Order::new("o-1", nodes.iter().copied()).expect_err(wrong);
            assert_eq!(error, OrderError::Node(wrong.to_owned()));
        }
    }
}
