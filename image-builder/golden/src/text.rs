//! Text in files that people write: gild reads UTF-8, and some editors and shells write something else.

/// What helps.
pub const NEXT: &str = "save it as plain text in UTF-8";

/// Why bytes are not text that gild reads. As the end of a sentence: "the key site.pub is text in UTF-16".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Notepad and `PowerShell` write it.
    #[error("text in UTF-16")]
    Utf16,
    /// Something else.
    #[error("not text in UTF-8")]
    Other,
}

/// The text that these bytes are.
pub fn of(bytes: Vec<u8>) -> Result<String, NotText> {
    if is_utf_16(&bytes) {
        return Err(NotText::Utf16);
    }
    String::from_utf8(bytes).map_err(|_| NotText::Other)
}

/// Whether it begins as UTF-16 does: with its byte order mark, or with a character of ASCII in two bytes.
fn is_utf_16(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [0, one, ..] | [one, 0, ..] => one.is_ascii_graphic() || one.is_ascii_whitespace(),
        _ => false,
    }
}
