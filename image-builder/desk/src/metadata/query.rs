//! What Matchbox makes of a request's query: its labels.

use std::collections::BTreeMap;

/// The labels of a query: the first value of each key. A MAC address is normalised; one that does not parse is left
/// out, so that the request then looks like one without it.
#[must_use]
pub fn labels(query: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for pair in query.split('&').filter(|pair| is_well_formed(pair)) {
        for (key, value) in form_urlencoded::parse(pair.as_bytes()) {
            labels
                .entry(key.into_owned())
                .or_insert_with(|| value.into_owned());
        }
    }
    labels.retain(|key, value| {
        if !is_mac_key(key) {
            return true;
        }
        let normalised = normalise_mac(value);
        let is_known = normalised.is_some();
        *value = normalised.unwrap_or_default();
        is_known
    });
    labels
}

/// Whether this key holds a MAC address: the only one that Matchbox knows in any case, and normalises.
#[must_use]
pub fn is_mac_key(key: &str) -> bool {
    key.eq_ignore_ascii_case("mac")
}

/// The lower-case colon form, for what Go's `net.ParseMAC` takes: two digits a byte between colons or hyphens, or
/// four between dots; 6, 8 or 20 bytes.
#[must_use]
pub fn normalise_mac(text: &str) -> Option<String> {
    let separator = text.find([':', '-', '.']).map(|at| &text[at..=at])?;
    let digits = if separator == "." { 4 } else { 2 };
    let mut hex = String::new();
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        hex.push_str(&group.to_ascii_lowercase());
    }
    if ![6, 8, 20].contains(&(hex.len() / 2)) {
        return None;
    }
    let bytes: Vec<_> = (0..hex.len())
        .step_by(2)
        .map(|at| &hex[at..at + 2])
        .collect();
    Some(bytes.join(":"))
}

/// Go leaves out pairs with a semicolon or a broken escape.
fn is_well_formed(pair: &str) -> bool {
    let escapes_are_whole = pair
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()));
    !pair.is_empty() && !pair.contains(';') && escapes_are_whole
}
