//! The id of a signed order: when it was made, and six digits by chance.

use std::fmt;

/// `20261228T101500Z-1a2b3c`: the time in UTC, then six lower-case hex digits. Later orders have greater ids, so that a disk which
/// has carried out one order is done with every earlier one too, also with those that its record has forgotten.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(String);

/// Where digits, fixed letters and hex digits stand.
const FORM: &str = "ddddddddTddddddZ-hhhhhh";
const DAY: u64 = 24 * 60 * 60;
/// Days from the first of March of the year 0 to 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
/// Days of 400 years, after which leap years come again.
const DAYS_OF_400_YEARS: u64 = 146_097;

impl OrderId {
    /// Takes a text that has the form, with a time that there is.
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
        let id = fits.then(|| Self(text.to_owned()))?;
        // A month of 40 days becomes another time, which is written in another way.
        let is_a_time = written(id.made_at()).as_deref() == text.get(..16);
        is_a_time.then_some(id)
    }

    /// The id of an order that is made at this time, seconds since 1970.
    #[must_use]
    pub fn made(at: u64, chance: [u8; 3]) -> Option<Self> {
        let [a, b, c] = chance;
        Self::parse(&format!("{}-{a:02x}{b:02x}{c:02x}", written(at)?))
    }

    /// When the order was made, by its id: seconds since 1970.
    #[must_use]
    pub fn made_at(&self) -> u64 {
        let number = |from: usize, to: usize| {
            let digits = self.0.get(from..to).unwrap_or_default().bytes();
            digits.fold(0, |number, digit| {
                number * 10 + u64::from(digit.wrapping_sub(b'0'))
            })
        };
        let days = days(number(0, 4), number(4, 6), number(6, 8));
        days * DAY + number(9, 11) * 60 * 60 + number(11, 13) * 60 + number(13, 15)
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

/// Days from 1970 to a day. Years begin with March here, so that a leap day is the last one of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day;
    let all = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    all.saturating_sub(DAYS_BEFORE_1970 + 1)
}

/// A time as `20261228T101500Z`, seconds since 1970; none after the year 9999.
fn written(at: u64) -> Option<String> {
    let days = at / DAY + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (at / 3600 % 24, at / 60 % 60, at % 60);
    (year <= 9999).then(|| format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"))
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
        let made = OrderId::made(1_798_452_900, [0x1a, 0x2b, 0x3c]);
        assert_eq!(made, Some(id("20261228T101500Z-1a2b3c")));
        const { assert!(FORM.len() <= MAX_ORDER_ID) };
        for wrong in [
            "",
            "2026-12",
            "20261228T101500Z-1A2B3C",
            "20261228T101500Z-1a2b3",
            "20261228T101500Z-1a2b3c0",
            "20261228T10150éZ-1a2b3c",
            "20260229T101500Z-1a2b3c",
            "20261328T101500Z-1a2b3c",
            "20260028T101500Z-1a2b3c",
            "20261228T241500Z-1a2b3c",
            "19691231T235959Z-1a2b3c",
            "00000000T000000Z-1a2b3c",
        ] {
            assert_eq!(OrderId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_says_when_its_order_was_made() {
        for (text, at) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20000301T000000Z", 951_868_800),
            ("20240229T120000Z", 1_709_208_000),
            ("20261228T101500Z", 1_798_452_900),
            ("21000228T235959Z", 4_107_542_399),
            ("21000301T000000Z", 4_107_542_400),
            ("99991231T235959Z", 253_402_300_799),
        ] {
            let made = OrderId::made(at, [0; 3]).expect(text);
            assert_eq!(made.as_str(), format!("{text}-000000"));
            assert_eq!(made.made_at(), at, "{text}");
        }
        for at in [253_402_300_800, u64::MAX] {
            assert_eq!(OrderId::made(at, [0; 3]), None);
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
