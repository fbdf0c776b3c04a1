//! What was looked at, and what was found.

use std::fmt;

use serde::Serialize;

/// What splits a message from what the operator can do, in every error of gild.
pub const NEXT: &str = "; next: ";

/// A part of the way that a node goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// What `gild.toml` says.
    Configuration,
    /// The names in its addresses.
    Names,
    /// A server of images.
    Server,
    /// A board's image there.
    Image,
    /// Whether the servers have the same one.
    Replicas,
    /// The server that knows the nodes.
    Matchbox,
    /// What it says about one of them.
    Node,
    /// The servers of k3s.
    Cluster,
    /// What time it is.
    Clock,
    /// How long a server's certificate is good.
    Certificate,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A node gets past this.
    Ok,
    /// A node gets past this, and the operator should look at it.
    Warning,
    /// A node does not get past this.
    Error,
    /// Nothing is known.
    NotChecked,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part.
    pub check: Check,
    /// What was looked at. No password, no query of an address.
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What the operator can do, for all levels except [`Level::Ok`].
    pub next: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            check,
            subject: subject.to_string(),
            level: Level::Ok,
            message: message.into(),
            next: None,
        }
    }

    /// The operator should look at it.
    pub fn warning(check: Check, subject: impl fmt::Display, text: &str, next: &str) -> Self {
        Self::of(Level::Warning, check, subject, text, next)
    }

    /// A node does not get past this.
    pub fn error(check: Check, subject: impl fmt::Display, text: &str, next: &str) -> Self {
        Self::of(Level::Error, check, subject, text, next)
    }

    /// Nothing is known.
    pub fn not_checked(check: Check, subject: impl fmt::Display, text: &str, next: &str) -> Self {
        Self::of(Level::NotChecked, check, subject, text, next)
    }

    /// A text may say itself what to do next, as gild's errors do: then that counts.
    fn of(level: Level, check: Check, subject: impl fmt::Display, text: &str, next: &str) -> Self {
        let (message, next) = text.split_once(NEXT).unwrap_or((text, next));
        Self {
            check,
            subject: subject.to_string(),
            level,
            message: message.to_owned(),
            next: Some(next.to_owned()),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::NotChecked => "not checked",
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Configuration => "configuration",
            Self::Names => "names",
            Self::Server => "server",
            Self::Image => "image",
            Self::Replicas => "replicas",
            Self::Matchbox => "matchbox",
            Self::Node => "node",
            Self::Cluster => "cluster",
            Self::Clock => "clock",
            Self::Certificate => "certificate",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            check,
            subject,
            level,
            message,
            next,
        } = self;
        write!(f, "{level:<11}  {check:<13}  {subject}: {message}")?;
        next.iter().try_for_each(|next| write!(f, "{NEXT}{next}"))
    }
}

/// How many findings are of this level.
pub fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_level_the_part_the_subject_and_what_to_do() {
        let well = Finding::ok(Check::Clock, "http://nas", "agrees");
        assert_eq!(
            well.to_string(),
            "ok           clock          http://nas: agrees"
        );
        let bad = Finding::error(Check::Server, "nfs://nas/gild", "it is gone", "look");
        assert_eq!(
            bad.to_string(),
            "error        server         nfs://nas/gild: it is gone; next: look"
        );
    }

    #[test]
    fn what_an_error_says_to_do_counts_more_than_what_is_said_in_general() {
        let found = Finding::error(Check::Server, "a", "it is gone; next: start it", "look");
        assert_eq!(found.message, "it is gone");
        assert_eq!(found.next.as_deref(), Some("start it"));
    }

    #[test]
    fn the_document_has_the_same_words() {
        let found = Finding::not_checked(Check::Names, "nas.lan", "nobody was asked", "ask");
        let json = serde_json::to_string(&found).expect("it is plain");
        assert_eq!(
            json,
            r#"{"check":"names","subject":"nas.lan","level":"not-checked","message":"nobody was asked","next":"ask"}"#
        );
    }
}
