//! Matchbox' `/metadata`: one `KEY=value` a line, in any order, nothing quoted.

use std::collections::{BTreeMap, BTreeSet};

use gild_boards::mac::Mac;

/// The answer, and whether it is for this node in particular.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A group selects this MAC address.
    Dedicated(Values),
    /// A group that is not for this node in particular.
    Default(Values),
}

/// The values by key. A key with two values is an error once a caller asks for it.
#[derive(PartialEq, Eq)]
pub struct Values {
    values: BTreeMap<String, String>,
    ambiguous: BTreeSet<String>,
}

/// It is not an answer to this node. No message repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A value with a line break in it, or another server.
    #[error(
        "line {0} of the answer has no `=`: either a value in the group's metadata has a line break, or this is neither a desk nor Matchbox"
    )]
    NotALine(usize),
    /// Matchbox says which MAC it was asked for.
    #[error("the answer is not for {asked}: {reason}")]
    NotForUs {
        /// Who asked.
        asked: String,
        /// What the answer says.
        reason: &'static str,
    },
    /// The same key twice.
    #[error("`{0}` is there twice with different values: look for a line break in another value")]
    Ambiguous(String),
}

impl Answer {
    /// Reads the answer to the question of this MAC address.
    pub fn parse(body: &str, asked: Mac) -> Result<Self, MetadataError> {
        let values = Values::parse(body)?;
        let not_for_us = |reason| MetadataError::NotForUs {
            asked: asked.to_string(),
            reason,
        };
        match values.get("REQUEST_QUERY_MAC")? {
            Some(echo) if is(echo, asked) => (),
            Some(_) => {
                return Err(not_for_us(
                    "its REQUEST_QUERY_MAC is another node's (a cache in between?)",
                ));
            }
            None => {
                return Err(not_for_us(
                    "it has no REQUEST_QUERY_MAC, so the server did not understand the question, or something else has answered",
                ));
            }
        }
        match values.get("MAC")? {
            Some(selector) if is(selector, asked) => Ok(Self::Dedicated(values)),
            Some(_) => Err(not_for_us("its group selects another MAC address")),
            None => Ok(Self::Default(values)),
        }
    }
}

fn is(text: &str, mac: Mac) -> bool {
    text.eq_ignore_ascii_case(&mac.to_string())
}

impl Values {
    fn parse(body: &str) -> Result<Self, MetadataError> {
        let mut values = BTreeMap::new();
        let mut ambiguous = BTreeSet::new();
        for (number, line) in body.split('\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or(MetadataError::NotALine(number + 1))?;
            match values.insert(key.to_owned(), value.to_owned()) {
                Some(before) if before != value => {
                    ambiguous.insert(key.to_owned());
                }
                _ => (),
            }
        }
        Ok(Self { values, ambiguous })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Result<Option<&str>, MetadataError> {
        if self.ambiguous.contains(key) {
            return Err(MetadataError::Ambiguous(key.to_owned()));
        }
        Ok(self.values.get(key).map(String::as_str))
    }

    /// Keys with this prefix and their values, in the order of the keys: how Matchbox shows a nested object.
    pub fn below(&self, prefix: &str) -> Result<Vec<(&str, &str)>, MetadataError> {
        self.values
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| Ok((key.as_str(), self.get(key)?.unwrap_or_default())))
            .collect()
    }
}

/// The keys alone: one of the values is the token.
impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);

    fn answer(lines: &[&str]) -> Result<Answer, MetadataError> {
        Answer::parse(&format!("{}\n", lines.join("\n")), MAC)
    }

    fn values(lines: &[&str]) -> Values {
        match answer(lines) {
            Ok(Answer::Dedicated(values) | Answer::Default(values)) => values,
            Err(error) => panic!("{lines:?}: {error}"),
        }
    }

    const ECHO: &str = "REQUEST_QUERY_MAC=d8:3a:dd:01:02:03";

    #[test]
    fn a_group_that_selects_this_mac_is_dedicated_in_any_order_of_lines() {
        for lines in [
            ["HOSTNAME=a", "MAC=d8:3a:dd:01:02:03", ECHO],
            [ECHO, "MAC=D8:3A:DD:01:02:03", "HOSTNAME=a"],
        ] {
            assert!(
                matches!(answer(&lines), Ok(Answer::Dedicated(_))),
                "{lines:?}"
            );
        }
        assert!(matches!(
            answer(&["HOSTNAME=a", ECHO]),
            Ok(Answer::Default(_))
        ));
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        for lines in [
            &["HOSTNAME=a", "MAC=d8:3a:dd:01:02:03"][..],
            &["REQUEST_QUERY_MAC=d8:3a:dd:01:02:04"],
            &["REQUEST_QUERY_MAC="],
            &[ECHO, "MAC=d8:3a:dd:01:02:04"],
        ] {
            assert!(
                matches!(answer(lines), Err(MetadataError::NotForUs { .. })),
                "{lines:?}"
            );
        }
        assert_eq!(
            answer(&["<html>", "</html>"]),
            Err(MetadataError::NotALine(1))
        );
    }

    #[test]
    fn a_value_goes_from_the_first_equals_sign_to_the_end_of_the_line() {
        let values = values(&[
            ECHO,
            "K3S_TOKEN=a=b# \"c': d",
            "EMPTY=",
            "REQUEST_RAW_QUERY=mac=x",
        ]);
        assert_eq!(values.get("K3S_TOKEN"), Ok(Some("a=b# \"c': d")));
        assert_eq!(values.get("EMPTY"), Ok(Some("")));
        assert_eq!(values.get("NOTHING"), Ok(None));
    }

    #[test]
    fn a_line_break_in_a_value_cannot_forge_another_key() {
        let values = values(&[ECHO, "HOSTNAME=a", "NOTE=x", "HOSTNAME=evil", "A=1", "A=1"]);
        assert_eq!(
            values.get("HOSTNAME"),
            Err(MetadataError::Ambiguous("HOSTNAME".to_owned()))
        );
        assert_eq!(
            values.get("A"),
            Ok(Some("1")),
            "the same value twice is not ambiguous"
        );
        assert_eq!(
            answer(&[ECHO, "K3S_TOKEN=first half", "second half"]),
            Err(MetadataError::NotALine(3))
        );
    }

    #[test]
    fn nested_objects_are_keys_with_a_common_start() {
        let values = values(&[ECHO, "SSH_KEYS_B=2", "SSH_KEYS_A=1", "SSH_KEY=3"]);
        assert_eq!(
            values.below("SSH_KEYS_"),
            Ok(vec![("SSH_KEYS_A", "1"), ("SSH_KEYS_B", "2")])
        );
    }

    #[test]
    fn values_are_not_shown() {
        let shown = format!("{:?}", values(&[ECHO, "K3S_TOKEN=s3cret"]));
        assert!(
            shown.contains("K3S_TOKEN") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
