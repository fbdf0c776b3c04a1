//! The order file. An order is for all nodes where the file says `all` and nothing else. Every other order is for a node that
//! a line names.

use gild_card_format::Order;

/// Says what holds of this input.
pub fn check_input(input: &str) {
    let Ok(Some(order)) = Order::in_file(input) else {
        return;
    };
    let lines: Vec<&str> = input
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let (id, nodes) = lines.split_first().expect("an order has an id");
    assert_eq!(order.id, *id);
    if order.is_for([]) {
        assert_eq!(nodes, ["all"]);
    } else {
        assert!(!nodes.is_empty());
        assert!(nodes.iter().all(|node| order.is_for([*node])));
        assert!(
            !order.is_for([""]),
            "an order is never for a node without a name"
        );
    }
}
