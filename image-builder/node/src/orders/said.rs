//! What this node has said about its orders, so that it says each thing only once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::{info, warn};

use crate::files;
use crate::report::{self, Outcome, Stage};
use crate::seeding::PROVISIONED;

/// The trouble that was said last. If the line is complete, the desk has it too. The note is lost at the next start.
const NOTE: &str = "run/gild/order-trouble";

/// What has been said.
pub struct Said<'a> {
    root: &'a Path,
    note: PathBuf,
    before: String,
}

impl<'a> Said<'a> {
    /// What the node has said since it started.
    pub fn of(root: &'a Path) -> Self {
        let note = root.join(NOTE);
        Self {
            before: fs::read_to_string(&note).unwrap_or_default(),
            root,
            note,
        }
    }

    /// Says that there is this trouble, or that there is none any more. It says so in the journal, and a member also reports it to the
    /// desk.
    pub fn say(&self, trouble: Option<&str>) -> io::Result<()> {
        let now = trouble.unwrap_or_default().replace('\n', " ");
        let is_news = self.before.trim_end() != now;
        let is_on_desk = self.before.is_empty() || self.before.ends_with('\n');
        if !is_news && is_on_desk {
            return Ok(());
        }
        if is_news {
            match trouble {
                Some(trouble) => warn!("{trouble}"),
                None => info!("nothing is wrong with the orders of this node any more"),
            }
        }
        let end = if self.report(trouble) { "\n" } else { "" };
        files::private_directory(self.note.parent().unwrap_or(self.root))?;
        files::write_private(&self.note, &format!("{now}{end}"))
    }

    /// Whether there is nothing left to report.
    fn report(&self, trouble: Option<&str>) -> bool {
        if !self.root.join(PROVISIONED).exists() {
            return true;
        }
        let texts: Vec<String> = trouble.map(str::to_owned).into_iter().collect();
        match report::report(self.root, Stage::Joined, &texts) {
            Outcome::Taken | Outcome::Nobody => true,
            Outcome::Failed(why) => {
                info!("{why}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_said_once() {
        let root = tempfile::tempdir().expect("a folder");
        let said = |trouble: Option<&str>| {
            Said::of(root.path()).say(trouble).expect("a note");
            fs::read_to_string(root.path().join(NOTE)).unwrap_or_default()
        };
        assert_eq!(said(None), "", "nothing to say");
        assert_eq!(said(Some("a\nb")), "a b\n");
        assert_eq!(said(Some("a\nb")), "a b\n");
        assert_eq!(said(None), "\n");
    }
}
