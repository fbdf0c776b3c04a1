//! `gild.toml` for the card: checked by the agent's own rules, and without a secret in it.

use gild_card_format::{Arguments, Config};
use gild_format::signature::{PublicKey, SECRET_KEYS};

/// Why a configuration does not go on the card.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The agent would refuse it.
    #[error(transparent)]
    Agent(#[from] gild_card_format::ConfigError),
    /// Something that the holder of the card must not know. The message does not say more about it.
    #[error(
        "line {line} holds {what}, which everyone who has the card can read; next: take it out"
    )]
    Secret {
        /// Number of the line.
        line: usize,
        /// What it looks like.
        what: &'static str,
    },
    /// A password in an address.
    #[error(
        "`{0}` holds a user or a password, which everyone who has the card can read; next: use an address that needs none"
    )]
    Password(&'static str),
    /// What looks like a secret behind an address.
    #[error(
        "`{0}` has a parameter that is called like a secret, which everyone who has the card can read; next: use an address that needs none"
    )]
    Parameter(&'static str),
    /// Two keys.
    #[error(
        "its `public_key` differs from the key that was given separately; next: leave one of them out"
    )]
    TwoKeys,
}

/// How a line gives away that it holds a secret.
const SECRETS: [(&str, &str); 4] = [
    ("PRIVATE KEY", "a private key"),
    (SECRET_KEYS[0], "a minisign secret key"),
    (SECRET_KEYS[1], "a minisign secret key"),
    ("::server:", "a k3s token"),
];

fn secret(text: &str) -> Option<(usize, &'static str)> {
    text.lines().zip(1..).find_map(|(line, number)| {
        let found = SECRETS
            .iter()
            .find(|(mark, _)| line.contains(mark))
            .map(|(_, what)| *what);
        found
            .or_else(|| is_k3s_token(line).then_some("a k3s token"))
            .map(|what| (number, what))
    })
}

/// `K10`, the digest of the cluster's certificate in hex digits, and what follows it.
fn is_k3s_token(line: &str) -> bool {
    line.match_indices("K10").any(|(at, _)| {
        let digest = line[at + 3..].bytes().take(64);
        digest.filter(u8::is_ascii_hexdigit).count() == 64
    })
}

/// The text for the card: as it is, with the public key's line of base64 in its first line if that was given separately.
pub fn prepare(text: &str, public_key: Option<&PublicKey>) -> Result<String, ConfigError> {
    if let Some((line, what)) = secret(text) {
        return Err(ConfigError::Secret { line, what });
    }
    let config = Config::parse_with_key(text, public_key)?;
    if public_key.is_some_and(|key| config.public_key != *key) {
        return Err(ConfigError::TwoKeys);
    }
    for (key, address) in [
        ("matchbox", &config.matchbox),
        ("status_url", &config.status_url),
        ("order_url", &config.order_url),
    ] {
        let Some(url) = address else { continue };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::Password(key));
        }
        if url
            .query_pairs()
            .any(|(name, _)| is_called_like_a_secret(&name))
        {
            return Err(ConfigError::Parameter(key));
        }
    }
    // Now it can only lack its key.
    match Config::parse(Some(text), &Arguments::default()) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Ok(format!("public_key = \"{}\"\n{text}", config.public_key)),
    }
}

fn is_called_like_a_secret(parameter: &str) -> bool {
    let name = parameter.to_ascii_lowercase();
    ["token", "secret", "passw", "key", "auth"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key in the documentation of minisign.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SERVER: &str = "server = \"nfs://10.0.2.2/gild\"\n";

    fn key(text: &str) -> PublicKey {
        PublicKey::parse(text).expect("a public key")
    }

    #[test]
    fn the_key_is_put_in_where_it_is_missing() {
        let text = prepare(
            &format!("{SERVER}[target]\nserial = \"S1\"\n"),
            Some(&key(KEY)),
        )
        .expect("a configuration");
        assert_eq!(
            text.lines().next(),
            Some(format!("public_key = \"{KEY}\"").as_str())
        );
        assert_eq!(prepare(&text, Some(&key(KEY))), Ok(text.clone()));
        assert_eq!(prepare(&text, None), Ok(text.clone()));
        let other = KEY.replace("GFO3", "GFO4");
        assert_eq!(
            prepare(&text, Some(&key(&other))),
            Err(ConfigError::TwoKeys)
        );
    }

    #[test]
    fn the_next_key_stays_and_does_not_count_as_the_first() {
        let other = KEY.replace("GFO3", "GFO4");
        let next = format!("{SERVER}next_public_key = \"{other}\"\n");
        let text = prepare(&next, Some(&key(KEY))).expect("two keys");
        assert_eq!(text, format!("public_key = \"{KEY}\"\n{next}"));
        assert_eq!(prepare(&text, None), Ok(text.clone()));
        assert!(prepare(&next, None).is_err(), "there is no first key");
        let error = prepare(&next, Some(&key(&other))).expect_err("the same key twice");
        assert!(error.to_string().contains("the same key as"), "{error}");
        assert_eq!(
            prepare(&text, Some(&key(&other))),
            Err(ConfigError::TwoKeys)
        );
    }

    #[test]
    fn what_the_agent_refuses_is_refused_in_its_words() {
        let error = prepare(
            &format!("{SERVER}matchbx = \"http://a\"\n"),
            Some(&key(KEY)),
        )
        .expect_err("a wrong key");
        assert_eq!(
            error.to_string(),
            "gild.toml on the card has the unknown key `matchbx`: did you mean `matchbox`?"
        );
        let error = prepare(SERVER, None).expect_err("no key");
        assert!(
            error
                .to_string()
                .starts_with("no `public_key` is configured"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        let good = format!("public_key = \"{KEY}\"\n{SERVER}");
        let token = format!("K10{}::node:deadbeef", "0123456789abcdef".repeat(4));
        for line in [
            format!("# the token is {token}"),
            "# K3S_TOKEN=x::server:deadbeef".to_owned(),
            "# RWRTY0IyAAAAdeadbeef".to_owned(),
            "# RWQAAEIyAAAAdeadbeef".to_owned(),
            "# -----BEGIN OPENSSH PRIVATE KEY----- deadbeef".to_owned(),
        ] {
            let error = prepare(&format!("{good}{line}\n"), None).expect_err(&line);
            assert!(
                matches!(error, ConfigError::Secret { line: 3, .. }),
                "{error}"
            );
            assert!(!error.to_string().contains("deadbeef"), "{error}");
        }
        for url in ["http://user:deadbeef@host/x", "http://deadbeef@host/x"] {
            let error = prepare(&format!("{good}status_url = \"{url}\"\n"), None).expect_err(url);
            assert_eq!(error, ConfigError::Password("status_url"));
        }
        for parameter in [
            "token",
            "api_key",
            "Password",
            "access-token",
            "client_secret",
            "Authorization",
        ] {
            let line = format!("matchbox = \"http://host/x?a=1&{parameter}=deadbeef\"");
            let error = prepare(&format!("{good}{line}\n"), None).expect_err(parameter);
            assert_eq!(error, ConfigError::Parameter("matchbox"));
        }
        let harmless = format!("{good}status_url = \"http://host/x?site=a\"\n");
        assert_eq!(prepare(&harmless, None), Ok(harmless.clone()));
    }
}
