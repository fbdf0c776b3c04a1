//! `%20` and the like in addresses.

use std::fmt;

const NO_ESCAPE: &str =
    "the path has a % without two hexadecimal digits behind it; next: write %25 for a percent sign";

/// The text with every `%` and its two digits replaced by the byte that they mean.
pub fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let (decoded, behind) = escape(behind).ok_or(NO_ESCAPE)?;
            bytes.push(decoded);
            rest = behind;
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).map_err(|_| "the path is not UTF-8 once it is decoded".to_owned())
}

/// The byte that two digits mean, and what is behind them.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let digits = text.first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let byte = u8::try_from(high? * 16 + low?).ok()?;
    Some((byte, &text[2..]))
}

/// Writes a path so that it is one word, and nothing in it means anything in an address.
pub fn write(f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
    for letter in path.chars() {
        if matches!(letter, '%' | '?') || letter.is_whitespace() || letter.is_control() {
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        } else {
            write!(f, "{letter}")?;
        }
    }
    Ok(())
}
