//! The values in the agent's own files on the card: a line `key=value` for each.

/// The value of a key, if the text has one.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "disks=2\ndisk=A=B\ndisk=C\nempty=\n";
        assert_eq!(value(text, "disk"), Some("A=B"));
        assert_eq!(value(text, "empty"), Some(""));
        assert_eq!(value(text, "dis"), None);
    }
}
