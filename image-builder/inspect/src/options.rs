//! What the operator may say about an inspection.

use globset::GlobSet;

use crate::canary::{Canary, Origin};
use crate::error::InspectError;
use crate::rules::{RULES, globs};

/// What the operator may say about an inspection.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Texts that must not be in the image.
    pub canaries: Vec<Canary>,
    /// Texts of this machine that could not be looked for, as any image may have them.
    pub not_looked_for: Vec<Origin>,
    /// What the operator knows better. Each use of it is in the report.
    pub exemptions: Vec<Exemption>,
}

/// Findings of one rule in some paths that the operator accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The rule's id.
    pub rule: String,
    /// The paths as in the findings; `*` and `**` are patterns.
    pub path: String,
}

impl std::str::FromStr for Exemption {
    type Err = InspectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| InspectError::Exemption {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let (rule, path) = text
            .split_once('=')
            .ok_or_else(|| refuse("there is no ="))?;
        if !RULES.iter().any(|known| known.id == rule) {
            return Err(refuse("there is no such rule"));
        }
        Ok(Self {
            rule: rule.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Options {
    /// Looks for what this machine would leave behind.
    #[must_use]
    pub fn for_this_host() -> Self {
        let (canaries, not_looked_for) = Canary::of_this_host();
        Self {
            canaries,
            not_looked_for,
            exemptions: Vec::new(),
        }
    }

    /// The exemptions as rule and patterns.
    pub(crate) fn exempt(&self) -> Result<Vec<(&str, GlobSet)>, InspectError> {
        self.exemptions
            .iter()
            .map(|one| match globs([one.path.as_str()]) {
                Ok(paths) => Ok((one.rule.as_str(), paths)),
                Err(error) => Err(InspectError::Exemption {
                    text: format!("{}={}", one.rule, one.path),
                    why: error.to_string(),
                }),
            })
            .collect()
    }
}
