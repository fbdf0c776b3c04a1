//! What was found, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::lack::Lack;

/// One thing that breaks a rule. It says where and of what kind, never what the secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a path of the root file system, `boot:` and a path of the boot partition, or a place on the disk.
    pub path: String,
    /// What is wrong there.
    pub what: String,
}

impl Finding {
    pub(crate) fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
        }
    }
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    /// The rule's id.
    pub id: &'static str,
    /// Was nothing found that breaks it?
    pub passed: bool,
    /// What breaks it.
    pub findings: Vec<Finding>,
    /// What would break it without an exemption of the operator.
    pub exempted: Vec<Finding>,
}

/// What was found about one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// SHA-256 of the raw image: what this report is about.
    pub image_sha256: String,
    /// Bytes of the raw image.
    pub image_size: u64,
    /// The board that the image says it is for.
    pub board: Option<String>,
    /// The id that the image says it has.
    pub image_id: Option<String>,
    /// Files of the root file system whose content was read.
    pub files: usize,
    /// The kinds of texts of the build host and of the operator that were looked for.
    pub canaries: Vec<String>,
    /// The kinds of texts of the build host that were not looked for: they are too short, or any image may have them.
    pub not_looked_for: Vec<String>,
    /// What it lacks, though it is sound.
    pub lacks: Vec<Lack>,
    /// Every rule.
    pub rules: Vec<RuleResult>,
}

impl Report {
    /// Did every rule pass?
    #[must_use]
    pub fn passed(&self) -> bool {
        self.rules.iter().all(|rule| rule.passed)
    }

    /// The rules that failed.
    pub fn failed(&self) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(|rule| !rule.passed)
    }
}

/// The most lines for one rule; the JSON has all findings.
const LINES: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        writeln!(
            f,
            "image {} for {}, {} bytes, SHA-256 {}",
            known(&self.image_id),
            known(&self.board),
            self.image_size,
            self.image_sha256
        )?;
        for rule in &self.rules {
            for finding in &rule.exempted {
                writeln!(
                    f,
                    "exempted {}: {}: {}",
                    rule.id, finding.path, finding.what
                )?;
            }
        }
        for rule in self.failed() {
            writeln!(f, "FAILED {}", rule.id)?;
            for finding in rule.findings.iter().take(LINES) {
                writeln!(f, "  {}: {}", finding.path, finding.what)?;
            }
            if let Some(more @ 1..) = rule.findings.len().checked_sub(LINES) {
                writeln!(f, "  and {more} more")?;
            }
        }
        let failed = self.failed().count();
        let rules = self.rules.len();
        if self.canaries.is_empty() {
            writeln!(f, "no texts of the build host were looked for")?;
        }
        if !self.not_looked_for.is_empty() {
            let kinds = self.not_looked_for.join(", ");
            writeln!(
                f,
                "not looked for, because too short or too common: {kinds}"
            )?;
        }
        for lack in &self.lacks {
            writeln!(f, "{lack}")?;
        }
        write!(
            f,
            "{} of {rules} rules passed; {} files read",
            rules - failed,
            self.files
        )
    }
}
