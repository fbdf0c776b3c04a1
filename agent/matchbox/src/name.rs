//! The name of a node.

use gild_boards::mac::Mac;

use crate::answer::{MetadataError, Values};

/// No node takes this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is there twice.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// There is none.
    #[error("the group's metadata has no `hostname`")]
    Missing,
    /// It is not a name of a Kubernetes node.
    #[error(
        "`hostname` in the group's metadata is {0:?}: it must be 1 to 63 lower-case letters, digits and hyphens, \
         without a dot, and neither begin nor end with a hyphen"
    )]
    NotAName(String),
    /// It is every machine's name for itself.
    #[error(
        "`hostname` in the group's metadata is \"localhost\", which every machine calls itself"
    )]
    Localhost,
}

const LOCALHOST: &str = "localhost";

/// The host name that the group of a node gives it.
pub fn host_name(values: &Values) -> Result<String, NameError> {
    let text = values.get("HOSTNAME")?.ok_or(NameError::Missing)?;
    if text == LOCALHOST {
        Err(NameError::Localhost)
    } else if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err(NameError::NotAName(text.chars().take(80).collect()))
    }
}

/// One label of RFC 1123, in lower case: Kubernetes takes no other name of a node.
fn is_host_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of a node that Matchbox has not named.
#[must_use]
pub fn fallback_name(mac: Option<Mac>) -> String {
    match mac {
        Some(mac) => format!("k3s-{}", &mac.digits()[6..]),
        None => "k3s-nomac".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);

    fn name(line: &str) -> Result<String, NameError> {
        let body = format!("REQUEST_QUERY_MAC={MAC}\nMAC={MAC}\n{line}\n");
        match Answer::parse(&body, MAC).expect("an answer") {
            Answer::Dedicated(values) => host_name(&values),
            Answer::Default(_) => panic!("the answer is for this node"),
        }
    }

    #[test]
    fn a_name_is_one_lower_case_label() {
        for good in ["a", "node-1", "0", &"a".repeat(63)] {
            assert_eq!(name(&format!("HOSTNAME={good}")).as_deref(), Ok(good));
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "Node",
            "a.b",
            "-a",
            "a-",
            "a b",
            "a\r",
            "a\u{1b}[2J",
            &long,
        ] {
            let error = name(&format!("HOSTNAME={bad}")).expect_err(bad);
            assert_eq!(error, NameError::NotAName(bad.to_owned()));
            assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        }
        assert_eq!(name("OTHER=x"), Err(NameError::Missing));
        let own = name("HOSTNAME=localhost").expect_err("every machine's name");
        assert_eq!(own, NameError::Localhost);
        assert!(!own.to_string().contains("lower-case"), "{own}");
    }

    #[test]
    fn a_node_without_a_name_is_called_by_its_address() {
        assert_eq!(fallback_name(Some(MAC)), "k3s-010203");
        assert_eq!(fallback_name(None), "k3s-nomac");
    }
}
