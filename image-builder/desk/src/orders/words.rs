//! What an order says, in words: for the operator who signs it, and for the record of what was done.

use gild_boards::mac::Mac;
use gild_orders::{Action, Flash, Order};

/// A text names at most this many nodes, and gives the number of the others.
const NAMED: usize = 3;

/// What its nodes do.
#[must_use]
pub fn acts(action: &Action) -> String {
    match action {
        Action::Hold => "do not write the disk".to_owned(),
        Action::Identify => "show with the LED which board it is".to_owned(),
        Action::Flash(flash) => of_flash(flash),
    }
}

fn of_flash(flash: &Flash) -> String {
    let mut words = format!("write the disk again with {}", flash.choice);
    if let Some(disk) = &flash.disk {
        // Quoted, because the serial number may hold control characters of a terminal.
        words = format!("{words}, only the disk with the serial number {disk:?}");
    }
    if flash.erase {
        words.push_str(", and discard everything on it first");
    }
    if flash.rolling {
        words.push_str(", one node after the other");
    }
    words
}

/// Its first nodes, by name where that is known, and the number of the others.
pub fn nodes(order: &Order, name: impl Fn(Mac) -> Option<String>) -> String {
    let named = |mac: &Mac| name(*mac).unwrap_or_else(|| mac.to_string());
    let first: Vec<String> = order.nodes.iter().take(NAMED).map(named).collect();
    match order.nodes.len() - first.len() {
        0 => first.join(", "),
        1 => format!("{} and 1 other", first.join(", ")),
        more => format!("{} and {more} others", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use gild_orders::{Choice, OrderId};

    use super::*;

    #[test]
    fn words_say_everything_and_no_terminal_obeys_them() {
        let flash = Flash {
            choice: Choice::Current,
            disk: Some("S1\u{1b}[2J".to_owned()),
            erase: true,
            rolling: true,
        };
        assert_eq!(
            acts(&Action::Flash(flash)),
            r#"write the disk again with the current image, only the disk with the serial number "S1\u{1b}[2J", and discard everything on it first, one node after the other"#
        );
    }

    #[test]
    fn many_nodes_are_counted() {
        let order = |count: u8| Order {
            id: OrderId::parse("20261228T101500Z-1a2b3c").expect("an id"),
            nodes: (0..count).map(|last| Mac([2, 0, 0, 0, 0, last])).collect(),
            expires: 0,
            action: Action::Hold,
        };
        let name = |mac: Mac| (mac.0[5] == 0).then(|| "canary".to_owned());
        assert_eq!(nodes(&order(1), name), "canary");
        assert_eq!(
            nodes(&order(5), name),
            "canary, 02:00:00:00:00:01, 02:00:00:00:00:02 and 2 others"
        );
    }
}
