//! The kernel arguments `gild.*`.

use std::collections::BTreeMap;

/// The arguments by their key without `gild.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    values: BTreeMap<String, String>,
}

impl Arguments {
    /// Picks the arguments out of a kernel command line. The last of a repeated key counts, as with the kernel's own.
    #[must_use]
    pub fn parse(command_line: &str) -> Self {
        let values = words(command_line)
            .iter()
            .filter_map(|word| {
                let (key, value) = word.strip_prefix("gild.")?.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect();
        Self { values }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Words parted by white space, with the kernel's rule that double quotes keep white space and fall away themselves.
fn words(command_line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command_line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_s_arguments_are_taken() {
        let arguments = Arguments::parse(
            "console=ttyS2,1500000 gild.server=nfs://10.0.2.2/gild panic=10 gild gild.target.serial=A=B quiet\n",
        );
        let all: Vec<_> = arguments.iter().collect();
        assert_eq!(
            all,
            [("server", "nfs://10.0.2.2/gild"), ("target.serial", "A=B")]
        );
    }

    #[test]
    fn quotes_keep_spaces_and_the_last_value_counts() {
        let arguments = Arguments::parse(
            r#"gild.card=1 gild.target.serial="Big Disk 1" gild.card=2 "gild.x=y z""#,
        );
        assert_eq!(arguments.get("card"), Some("2"));
        assert_eq!(arguments.get("target.serial"), Some("Big Disk 1"));
        assert_eq!(arguments.get("x"), Some("y z"));
    }

    #[test]
    fn an_unclosed_quote_takes_the_rest() {
        let arguments = Arguments::parse("gild.server=\"nfs://a b");
        assert_eq!(arguments.get("server"), Some("nfs://a b"));
    }
}
