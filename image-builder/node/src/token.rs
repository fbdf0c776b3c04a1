//! The cluster's token, which is never shown.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use gild_boards::mac::Mac;

const MAX_LENGTH: usize = 512;
const SECURE: &str = "K10";

/// A k3s token. Its debug output shows its kind and length, never the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    kind: Kind,
}

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has the hash of the cluster's certificate authority, so the node can check the server before it sends the token.
    Secure,
    /// The same, but of the user `server`: anyone who has it is the cluster's administrator.
    SecureServer,
    /// A token that expires.
    Bootstrap,
    /// A bare password. The node cannot check the server that it sends it to.
    Password,
}

/// It is not a token. The reason reveals nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing.
    #[error("is empty; next: write the cluster's agent token there")]
    Empty,
    /// No token is that long.
    #[error(
        "is longer than {MAX_LENGTH} bytes; next: write the cluster's agent token there, and nothing else"
    )]
    TooLong,
    /// Text that does not survive YAML and HTTP headers.
    #[error("has a line break, a control character or a space at an end; next: remove it")]
    Unprintable,
    /// It begins with `K10` but does not go on like a secure token.
    #[error(
        "begins like a secure token, but is not K10<64 hex digits>::<user>:<password>; next: copy the whole token"
    )]
    Malformed,
    /// There is something around the token, such as quotes or a line of a shell.
    #[error(
        "has more than a token in it: K10... is whole from there on; next: leave out what is around it"
    )]
    Within,
    /// It looks like a number in Go's notation, as Matchbox would print it.
    #[error(
        "looks like a number that the metadata server has rounded; next: write it in quotes in the group's metadata"
    )]
    Number,
}

/// How the cluster's server is shown a token. Like k3s' agent, a node shows it as the user `node`, whatever user the token names
/// (`clientaccess.WithUser("node")` in its pkg/agent/run.go).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// The password of basic authentication.
    Password(&'a str),
    /// A bootstrap token, as a bearer token.
    Bearer(&'a str),
}

impl Token {
    /// Reads a token.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(TokenError::TooLong);
        }
        if !is_plain(text) {
            return Err(TokenError::Unprintable);
        }
        if has_secure_within(text) {
            return Err(TokenError::Within);
        }
        if is_go_float(text) {
            return Err(TokenError::Number);
        }
        let kind = match text.strip_prefix(SECURE) {
            Some(rest) => secure(rest).ok_or(TokenError::Malformed)?,
            None if is_bootstrap(text) => Kind::Bootstrap,
            None => Kind::Password,
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The weakness of this kind of token, and what to use instead.
    #[must_use]
    pub fn weakness(&self) -> Option<&'static str> {
        match self.kind {
            Kind::SecureServer => Some(
                "the token is the servers' own: anyone who asks the metadata server for this MAC address can administer the cluster; next: use an \
                 agent token",
            ),
            Kind::Password | Kind::Bootstrap => Some(
                "the token does not say which cluster it is for: a node would believe a false server; next: use K10...",
            ),
            Kind::Secure => None,
        }
    }

    /// The token itself, for the one file that holds it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The hash of the only authority that may have signed the cluster's servers, if the token names one: 64 hex digits.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        let (hash, _) = self.text.strip_prefix(SECURE)?.split_once("::")?;
        Some(hash)
    }

    /// The part of it that lets a node in.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'_> {
        let secure = self.text.strip_prefix(SECURE);
        let Some((_, credentials)) = secure.and_then(|rest| rest.split_once("::")) else {
            return match self.kind {
                Kind::Bootstrap => Credentials::Bearer(&self.text),
                _ => Credentials::Password(&self.text),
            };
        };
        match credentials.split_once(':') {
            Some((_, password)) => Credentials::Password(password),
            None => Credentials::Bearer(credentials),
        }
    }

    /// A password for this node that stays the same after each flash, for as long as the token does. Another node cannot compute it without
    /// the board's number, which the network does not show. If a board has no number, any node can compute its password.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "no length of key makes it panic")]
    pub fn node_password(&self, mac: Mac, board_number: Option<[u8; 16]>) -> String {
        let mut hmac = Hmac::<Sha256>::new_from_slice(self.text.as_bytes())
            .expect("HMAC takes a key of any length");
        hmac.update(format!("node:{mac}").as_bytes());
        if let Some(number) = board_number {
            hmac.update(format!(":{}", hex::encode(number)).as_bytes());
        }
        hex::encode(&hmac.finalize().into_bytes()[..16])
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} token of {} bytes", self.kind, self.text.len())
    }
}

/// Text that means the same in JSON, in every version of YAML and in an HTTP header, and that looks the same to a person.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    text.trim() == text
        && text.chars().all(|c| {
            c == ' '
                || !(c.is_control()
                    || c.is_whitespace()
                    || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
        })
}

fn secure(rest: &str) -> Option<Kind> {
    let (hash, credentials) = rest.split_once("::")?;
    match credentials.split_once(':') {
        _ if !is_hash(hash) => None,
        Some(("", _) | (_, "")) => None,
        Some(("server", _)) => Some(Kind::SecureServer),
        Some(_) => Some(Kind::Secure),
        None => is_bootstrap(credentials).then_some(Kind::Secure),
    }
}

fn is_bootstrap(text: &str) -> bool {
    let is_part = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split_once('.')
        .is_some_and(|(id, secret)| is_part(id, 6) && is_part(secret, 16))
}

/// Whether a secure token begins somewhere after the beginning of the text.
fn has_secure_within(text: &str) -> bool {
    let begins = |at: usize| {
        let rest = &text[at + SECURE.len()..];
        rest.split_once("::").is_some_and(|(hash, _)| is_hash(hash))
    };
    text.match_indices(SECURE)
        .any(|(at, _)| at > 0 && begins(at))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// As Go writes a large number: 1e+06, 1.234567e+06.
fn is_go_float(text: &str) -> bool {
    text.contains("e+") && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secure_token(credentials: &str) -> String {
        format!("K10{}::{credentials}", "0f".repeat(32))
    }

    #[test]
    fn the_kinds_of_token_are_told_apart() {
        for (text, kind) in [
            (secure_token("node:pass:word"), Kind::Secure),
            (secure_token("server:password"), Kind::SecureServer),
            (secure_token("abcdef.0123456789abcdef"), Kind::Secure),
            ("abcdef.0123456789abcdef".to_owned(), Kind::Bootstrap),
            ("abcdef.0123456789abcde".to_owned(), Kind::Password),
            ("pa\"ss' #w: o=rd\\ü".to_owned(), Kind::Password),
            ("123456".to_owned(), Kind::Password),
        ] {
            assert_eq!(
                Token::parse(&text).map(|token| token.kind()),
                Ok(kind),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for (text, error) in [
            (String::new(), TokenError::Empty),
            ("x".repeat(513), TokenError::TooLong),
            ("a\nb".to_owned(), TokenError::Unprintable),
            ("a\u{2028}b".to_owned(), TokenError::Unprintable),
            ("a\u{7f}b".to_owned(), TokenError::Unprintable),
            ("a\rb".to_owned(), TokenError::Unprintable),
            (" a".to_owned(), TokenError::Unprintable),
            ("1e+06".to_owned(), TokenError::Number),
            ("1.234567e+06".to_owned(), TokenError::Number),
            ("K10abc::node:x".to_owned(), TokenError::Malformed),
            (secure_token(""), TokenError::Malformed),
            (secure_token("node:"), TokenError::Malformed),
            (secure_token("node"), TokenError::Malformed),
            (
                format!("export K3S_TOKEN={}", secure_token("node:x")),
                TokenError::Within,
            ),
            (
                format!("\"{}\"", secure_token("server:x")),
                TokenError::Within,
            ),
            (
                format!("K10K10{}", &secure_token("node:x")[3..]),
                TokenError::Within,
            ),
        ] {
            assert_eq!(Token::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::parse("very-secret").expect("a password");
        assert_eq!(format!("{token:?}"), "Password token of 11 bytes");
    }

    /// `printf node:d8:3a:dd:12:34:56 | openssl dgst -sha256 -hmac very-secret`, the first 32 digits, and the same of
    /// `node:d8:3a:dd:12:34:56:61316232633364346535663630373138`.
    #[test]
    fn the_node_password_is_what_openssl_computes() {
        let token = Token::parse("very-secret").expect("a password");
        let mac = Mac([0xd8, 0x3a, 0xdd, 0x12, 0x34, 0x56]);
        let number = Some(*b"a1b2c3d4e5f60718");
        let without = token.node_password(mac, None);
        assert_eq!(without, "9a2fdc191ce20ec6018772af4d4444ca");
        let with = token.node_password(mac, number);
        assert_eq!(with, "7ed6c24567284eca13cb7faf46fb56b8");
        let other = Mac([0xd8, 0x3a, 0xdd, 0x12, 0x34, 0x57]);
        assert_ne!(with, token.node_password(other, number));
    }
}
