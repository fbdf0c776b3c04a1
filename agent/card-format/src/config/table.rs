//! All values of the card's file and of the kernel command line in one table, by keys that gild knows.

use toml::{Table, Value};

use super::ConfigError;
use crate::arguments::Arguments;
use crate::likeliest::likeliest;
use crate::network::{self, Sections};
use crate::reference::{ARGUMENT_KEYS, CARD_KEYS, KEYS, Kind};

const CARD: &str = "gild.toml on the card";
const COMMAND_LINE: &str = "the kernel command line (gild.*)";

/// The table of a file, which arguments override, and apart from it the sections of single boards.
pub fn merged(text: &str, arguments: &Arguments) -> Result<(Table, Sections), ConfigError> {
    let mut table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let mut sections = network::take_sections(&mut table)?;
    let of_boards = sections.iter().flat_map(|(mac, section)| {
        let keys = leaves(section).into_iter();
        keys.map(move |key| (format!("network.{key}"), format!("network.\"{mac}\".{key}")))
    });
    let general = leaves(&table).into_iter().map(|key| (key.clone(), key));
    for (name, key) in general.chain(of_boards) {
        if !KEYS.iter().any(|known| known.name == name) {
            return Err(unknown(CARD, &name, key));
        }
    }
    for (key, value) in arguments.iter() {
        if ARGUMENT_KEYS.contains(&key) {
            continue;
        }
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            return Err(unknown(COMMAND_LINE, key, key.to_owned()));
        };
        let has_query = value.contains("://") && !value.contains("nfs://") && value.contains('?');
        if CARD_KEYS.contains(&key) || (key == "server" && has_query) {
            return Err(ConfigError::Hidden {
                key: known.name,
                problem:
                    "the kernel prints its arguments; next: write it into gild.toml on the card"
                        .to_owned(),
            });
        }
        let value = known.kind.value(known.name, value)?;
        // An argument is for this board, and overrides whichever section is.
        if let Some(key) = known.name.strip_prefix("network.") {
            for (_, section) in &mut sections {
                section.insert(key.to_owned(), value.clone());
            }
        }
        insert(&mut table, known.name, value)?;
    }
    Ok((table, sections))
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let above = before.unwrap_or_default().matches('\n').count();
    let line = text.split('\n').nth(above).unwrap_or_default();
    ConfigError::Syntax {
        line: above + 1,
        // The parser takes a text for a number that is not one.
        problem: if lacks_quotes(line) {
            "a text stands in straight quotes, \"like this\"".to_owned()
        } else {
            error.message().to_owned()
        },
    }
}

/// Whether the value of a line that cannot be read is a text without quotes, or with those of a word processor.
fn lacks_quotes(line: &str) -> bool {
    let Some((_, value)) = line.split_once('=') else {
        return false;
    };
    let value = value.trim_start_matches(|one: char| one == '[' || one.is_whitespace());
    let is_flag = ["true", "false"].iter().any(|flag| value.starts_with(flag));
    let begins_as_text = |one: char| one.is_alphabetic() || "/“”„‘’«»".contains(one);
    let is_address = value.starts_with(|one: char| one.is_ascii_digit())
        && (value.matches('.').count() > 1 || value.contains(':'));
    !is_flag && (value.starts_with(begins_as_text) || is_address)
}

impl Kind {
    fn value(self, key: &'static str, text: &str) -> Result<Value, ConfigError> {
        Ok(match self {
            Self::Text => Value::String(text.to_owned()),
            Self::Number => Value::Integer(text.parse().map_err(|_| ConfigError::Value {
                key,
                value: text.to_owned(),
                problem: "it should be a number".to_owned(),
            })?),
            Self::Flag => Value::Boolean(match text {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => {
                    return Err(ConfigError::Value {
                        key,
                        value: text.to_owned(),
                        problem: "it should be true or false".to_owned(),
                    });
                }
            }),
            Self::List => Value::Array(text.split(',').map(|item| item.trim().into()).collect()),
        })
    }
}

/// The dotted keys of all values.
fn leaves(table: &Table) -> Vec<String> {
    table
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Table(inner) => leaves(inner)
                .into_iter()
                .map(|rest| format!("{key}.{rest}"))
                .collect(),
            _ => vec![key.clone()],
        })
        .collect()
}

fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), ConfigError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .ok_or_else(|| ConfigError::Type(format!("`{section}` should be a section")))?;
            insert(inner, rest, value)
        }
    }
}

/// A key that gild does not know, by its name among [`KEYS`] and as it was written.
fn unknown(origin: &'static str, name: &str, key: String) -> ConfigError {
    let keys = || KEYS.iter().map(|known| known.name);
    // In TOML a line belongs to the section above it; a kernel argument stands in no section.
    let below = name.split_once('.').map(|(_, rest)| rest);
    let below = below.filter(|rest| origin == CARD && keys().any(|known| known == *rest));
    let meant = match below {
        Some(rest) => format!("; next: put `{rest}` before the first [section]"),
        None => likeliest(name, keys().chain(ARGUMENT_KEYS))
            .map_or_else(String::new, |known| format!(": did you mean `{known}`?")),
    };
    ConfigError::UnknownKey { origin, key, meant }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{complaint, minimal};

    #[test]
    fn an_unknown_key_is_refused_with_the_likeliest_one_meant() {
        assert_eq!(
            complaint(&(minimal() + "matchbx = \"http://a\""), ""),
            "gild.toml on the card has the unknown key `matchbx`: did you mean `matchbox`?"
        );
        assert_eq!(
            complaint(&(minimal() + "[target]\nserail = \"x\""), ""),
            "gild.toml on the card has the unknown key `target.serail`: did you mean `target.serial`?"
        );
        assert_eq!(
            complaint(&minimal(), "gild.min_rolback=3"),
            "the kernel command line (gild.*) has the unknown key `min_rolback`: did you mean `min_rollback`?"
        );
        assert_eq!(
            complaint(&(minimal() + "zzz = 1"), ""),
            "gild.toml on the card has the unknown key `zzz`"
        );
    }

    #[test]
    fn a_key_below_a_section_that_it_is_not_of_belongs_above_it() {
        for (text, key, known) in [
            (
                "[network]\nstatus_url = \"http://a\"",
                "network.status_url",
                "status_url",
            ),
            ("[http]\nserver = [\"nfs://a/b\"]", "http.server", "server"),
            (
                "[network.\"2c:cf:67:00:00:01\"]\nca = \"x\"",
                "network.\"2c:cf:67:00:00:01\".ca",
                "ca",
            ),
            (
                "[order]\nnetwork.vlan = 7",
                "order.network.vlan",
                "network.vlan",
            ),
        ] {
            let expected = format!(
                "gild.toml on the card has the unknown key `{key}`; next: put `{known}` before the first [section]"
            );
            assert_eq!(complaint(&(minimal() + text), ""), expected);
        }
        // A kernel argument stands in no section, and these keys are not for the file.
        for said in [
            complaint(&minimal(), "gild.target.ca=x"),
            complaint(&(minimal() + "[target]\nhold_seconds = 5"), ""),
        ] {
            assert!(!said.contains("[section]"), "{said}");
        }
    }

    #[test]
    fn a_line_that_is_no_toml_is_named_by_its_number() {
        let said = complaint(&(minimal() + "status_url = x"), "");
        assert!(said.contains("line 3: "), "{said}");
    }

    #[test]
    fn a_text_without_straight_quotes_is_said_to_lack_them() {
        for value in [
            "nfs://10.0.0.1/gild",
            "“nfs://10.0.0.1/gild”",
            "[nfs://10.0.0.1/gild]",
            "/gild",
            "192.168.1.50/24",
            "d8:3a:dd:01:02:03",
        ] {
            let said = complaint(&(minimal() + "status_url = " + value), "");
            assert!(
                said.contains("line 3: a text stands in straight quotes"),
                "{value}: {said}"
            );
            // It may hold a password.
            assert!(!said.contains("10.0.0.1"), "{said}");
        }
        for value in ["\"http://a", "1x", "truee", "1 2", ""] {
            let said = complaint(&(minimal() + "status_url = " + value), "");
            assert!(
                said.contains("line 3: ") && !said.contains("quotes, "),
                "{value}: {said}"
            );
        }
    }

    #[test]
    fn an_argument_that_is_not_of_its_key_s_kind_is_refused() {
        assert!(complaint(&minimal(), "gild.min_rollback=many").contains("should be a number"));
        for argument in ["gild.boot_order.keep=yes", "gild.target.read_holes=2"] {
            assert!(complaint(&minimal(), argument).contains("true or false"));
        }
    }
}
