//! What an image says, on a terminal.

/// What an image says may be meant for the terminal.
pub fn plain(text: &str) -> String {
    text.escape_debug().to_string()
}
