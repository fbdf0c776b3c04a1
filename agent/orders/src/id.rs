//! The id of a signed order: when it was made, and six digits by chance.

use std::fmt;

/// `20261228T101500Z-1a2b3c`: the time in UTC, then six lower-case hex digits. Later orders have greater ids, so that a disk which
/// has carried out one order is done with every earlier one too, also with those that its record has forgotten.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(String);

/// Where digits, fixed letters and hex digits stand.
const FORM: &str = "ddddddddTddddddZ-hhhhhh";

impl OrderId {
    /// Takes a text that has the form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == FORM.len()
            && text
                .bytes()
                .zip(FORM.bytes())
                .all(|(byte, form)| match form {
                    b'd' => byte.is_ascii_digit(),
                    b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                    fixed => byte == fixed,
                });
        fits.then(|| Self(text.to_owned()))
    }

    /// The id of an order that was made at this time, written as `20261228T101500Z`.
    #[must_use]
    pub fn made(time: &str, chance: [u8; 3]) -> Option<Self> {
        let [a, b, c] = chance;
        Self::parse(&format!("{time}-{a:02x}{b:02x}{c:02x}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a disk whose record has these orders is done with this one: it has carried out this one or a later one.
    #[must_use]
    pub fn is_spent_by(&self, carried_out: &[String]) -> bool {
        let mut signed = carried_out.iter().filter_map(|id| Self::parse(id));
        signed.any(|id| id >= *self)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use gild_format::record::MAX_ORDER_ID;

    use super::*;

    fn id(text: &str) -> OrderId {
        OrderId::parse(text).expect(text)
    }

    #[test]
    fn an_id_has_one_form_that_a_record_can_keep() {
        let made = OrderId::made("20261228T101500Z", [0x1a, 0x2b, 0x3c]);
        assert_eq!(made, Some(id("20261228T101500Z-1a2b3c")));
        const { assert!(FORM.len() <= MAX_ORDER_ID) };
        for wrong in [
            "",
            "2026-12",
            "20261228T101500Z-1A2B3C",
            "20261228T101500Z-1a2b3",
            "20261228T101500Z-1a2b3c0",
            "20261228T10150éZ-1a2b3c",
        ] {
            assert_eq!(OrderId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_disk_is_done_with_an_order_that_it_carried_out_and_with_all_before() {
        let order = id("20261228T101500Z-1a2b3c");
        let is_spent = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            order.is_spent_by(&ids)
        };
        assert!(is_spent(&["20261228T101500Z-1a2b3c"]));
        assert!(is_spent(&["2026-12", "20270101T000000Z-000000"]));
        assert!(!is_spent(&[]));
        assert!(!is_spent(&["20261228T101459Z-ffffff", "zzzz"]));
    }
}
