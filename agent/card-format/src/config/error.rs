//! Why a configuration cannot be used. No message repeats what may be a secret.

/// The configuration cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `gild.toml` is not TOML.
    #[error("gild.toml on the card cannot be read: line {line}: {problem}")]
    Syntax {
        /// Number of the line. Its text may hold a password, and the message leaves the node.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that gild does not know.
    #[error("{origin} has the unknown key `{key}`{meant}")]
    UnknownKey {
        /// `gild.toml` or the kernel command line.
        origin: &'static str,
        /// The key.
        key: String,
        /// The known one that is likely meant, in words.
        meant: String,
    },
    /// A value that is not what its key wants.
    #[error("`{key}` is `{value}`: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that may hold a password, and is left out: the message goes to the receipt's readers.
    #[error("`{key}` cannot be used: {problem}")]
    Hidden {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A value of the wrong TOML type, or a table where a value should be.
    #[error("gild.toml on the card: {0}")]
    Type(String),
    /// A key without which nothing can be done.
    #[error(
        "no `{key}` is configured{}; next: write it into gild.toml on the card, or give the kernel argument gild.{key}=",
        if *.card { "" } else { ", and no card was found (a FAT partition labelled GILD)" }
    )]
    Missing {
        /// The key.
        key: &'static str,
        /// Whether there was a card.
        card: bool,
    },
}
