//! The keys that may sign a manifest.

use gild_format::signature::PublicKey;

use super::ConfigError;

/// What `gild.toml` calls the first key.
pub const PUBLIC_KEY: &str = "public_key";
/// What it calls the other one.
pub const NEXT_PUBLIC_KEY: &str = "next_public_key";

/// Both keys. The first may be `given` instead: it is going to be written into the file.
pub fn check(
    first: Option<&str>,
    next: Option<&str>,
    given: Option<&PublicKey>,
    card: bool,
) -> Result<(PublicKey, Option<PublicKey>), ConfigError> {
    let parsed = |key, text: Option<&str>| text.map(|text| public_key(key, text)).transpose();
    let first = parsed(PUBLIC_KEY, first)?
        .or_else(|| given.cloned())
        .ok_or(ConfigError::Missing {
            key: PUBLIC_KEY,
            card,
        })?;
    let next = parsed(NEXT_PUBLIC_KEY, next)?;
    if next.as_ref() == Some(&first) {
        return Err(ConfigError::Hidden {
            key: NEXT_PUBLIC_KEY,
            problem: format!(
                "it is the same key as `{PUBLIC_KEY}`; next: put the new key there, or leave it out"
            ),
        });
    }
    Ok((first, next))
}

/// The key that signs orders alone.
pub fn order_key(text: Option<&str>) -> Result<Option<PublicKey>, ConfigError> {
    text.map(|text| public_key("order_key", text)).transpose()
}

fn public_key(key: &'static str, text: &str) -> Result<PublicKey, ConfigError> {
    PublicKey::parse(text).map_err(|error| ConfigError::Hidden {
        key,
        problem: format!("{error}; next: put the second line of the key's .pub file there"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::testing::{KEY, complaint, minimal, parse};
    use super::*;

    /// Another one.
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";

    #[test]
    fn a_second_key_may_come_from_the_card_or_an_argument_and_has_its_name() {
        let config = parse(&minimal(), "").expect("one key");
        assert_eq!(config.next_public_key, None);
        assert_eq!(config.keys(), [&config.public_key]);
        for (line, argument) in [
            (format!("next_public_key = \"{OTHER}\""), String::new()),
            (String::new(), format!("gild.next_public_key={OTHER}")),
        ] {
            let config = parse(&(minimal() + &line), &argument).expect("two keys");
            let keys: Vec<String> = config.keys().iter().map(ToString::to_string).collect();
            assert_eq!(keys, [KEY, OTHER]);
            let names: Vec<_> = config
                .keys()
                .iter()
                .map(|key| config.name_of(key))
                .collect();
            assert_eq!(names, ["public_key", "next_public_key"]);
        }
    }

    #[test]
    fn a_second_key_that_is_none_is_refused_by_its_name() {
        let said = complaint(&(minimal() + "next_public_key = \"token\""), "");
        assert!(
            said.starts_with("`next_public_key` cannot be used: it is not a minisign public key"),
            "{said}"
        );
        assert!(!said.contains("token"), "{said}");
    }

    #[test]
    fn the_same_key_twice_is_refused() {
        let expected = "`next_public_key` cannot be used: it is the same key as `public_key`; next: put the new key there, or leave it out";
        let twice = format!("next_public_key = \"{KEY}\"");
        assert_eq!(complaint(&(minimal() + &twice), ""), expected);
        let argument = format!("gild.next_public_key={KEY}");
        assert_eq!(complaint(&minimal(), &argument), expected);
        // The key that is going to be written into the file counts, too.
        let key = PublicKey::parse(KEY).expect("a key");
        let file = format!("server = \"nfs://a/b\"\n{twice}");
        let error = Config::parse_with_key(&file, Some(&key)).expect_err("twice");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_operator_s_key_counts_for_orders_alone_and_no_other_beside_it() {
        let config = parse(&minimal(), "").expect("one key");
        assert_eq!(config.order_keys(), config.keys());
        for (line, argument) in [
            (format!("order_key = \"{OTHER}\""), String::new()),
            (String::new(), format!("gild.order_key={OTHER}")),
        ] {
            let config = parse(&(minimal() + &line), &argument).expect("a key for orders");
            let keys = |keys: Vec<&PublicKey>| -> Vec<String> {
                keys.iter().map(ToString::to_string).collect()
            };
            assert_eq!(keys(config.order_keys()), [OTHER]);
            assert_eq!(keys(config.keys()), [KEY], "it signs no image");
        }
        let said = complaint(&(minimal() + "order_key = \"token\""), "");
        assert!(said.starts_with("`order_key` cannot be used"), "{said}");
        assert!(!said.contains("token"), "{said}");
    }

    #[test]
    fn a_second_key_does_not_replace_the_first() {
        let file = format!("server = \"nfs://a/b\"\nnext_public_key = \"{KEY}\"");
        assert!(complaint(&file, "").starts_with("no `public_key` is configured"));
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_where_to_find_one() {
        let said = complaint(&minimal(), "gild.public_key=RWQ...");
        assert!(
            said.starts_with("`public_key` cannot be used: it is not a minisign public key,")
                && said.ends_with("; next: put the second line of the key's .pub file there"),
            "{said}"
        );
    }
}
