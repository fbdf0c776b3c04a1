//! A signed order. Without a key nobody gets an order out of it, and an order that was read is the same after it is written and read
//! again.

use gild_orders::{Order, SignedOrder};

/// Says what holds of this input.
pub fn check_input(input: &str) {
    if let Ok(signed) = SignedOrder::parse(input.as_bytes()) {
        assert!(signed.open(&[]).is_err());
        let again = SignedOrder::parse(signed.to_text().as_bytes());
        assert_eq!(again.expect("it was written just now"), signed);
    }
    if let Ok(order) = Order::parse(input) {
        assert!(!order.nodes.is_empty());
        assert!(
            !order.is_for(&[]),
            "an order is never for a node without a name"
        );
        assert_eq!(Order::parse(&order.to_text()), Ok(order));
    }
}
