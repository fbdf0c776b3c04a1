//! Matchbox' group files: which nodes they are for. Matchbox silently skips a file that it cannot read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_boards::mac::Mac;
use gild_desk::metadata::{Group, Question, Scope};
use gild_desk::regular_file;
use serde::de::IgnoredAny;

use super::report::{Check, Finding};
use crate::input::must_exist;

/// What a folder of groups says.
#[derive(Default)]
pub struct Groups {
    /// The addresses that are selected, each once.
    pub macs: Vec<Mac>,
    /// What the desk answers by them, with the token.
    pub answers: BTreeMap<Mac, String>,
    /// What is wrong with its files.
    pub findings: Vec<Finding>,
}

/// Whom a group is for, and what it says. It is not shown: the token is in it.
#[derive(PartialEq, Eq)]
enum Selects {
    /// The node with this address.
    Node(Mac, String),
    /// Nodes by something else, or all.
    Others,
}

/// Reads `groups/*.json` in Matchbox' folder, or the files in the folder of the groups itself.
pub fn read(folder: &Path) -> Result<Groups> {
    const GIVE: &str = "give the folder of the desk or of Matchbox, in which there is `groups`";
    must_exist(folder, "the folder", GIVE)?;
    let inner = folder.join("groups");
    let folder = if inner.is_dir() { &inner } else { folder };
    let shown = folder.display();
    let context = || format!("cannot read the folder {shown}");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|end| end == "json") {
            files.push(path);
        }
    }
    ensure!(
        !files.is_empty(),
        "{shown} has no file of a group (*.json); next: say who your boards are (`gild node add`), or {GIVE}"
    );
    files.sort();
    let mut groups = Groups::default();
    for path in files {
        let name = path.display().to_string();
        let text = regular_file::read_to_string(&path).map_err(|error| error.to_string());
        groups.add(&name, text.and_then(|text| selects(&text)));
    }
    Ok(groups)
}

impl Groups {
    fn add(&mut self, name: &str, selects: Result<Selects, String>) {
        match selects {
            Ok(Selects::Node(mac, _)) if self.macs.contains(&mac) => {
                let text = format!(
                    "another group selects {mac} too, and a desk or Matchbox uses only one of them"
                );
                let next = "delete one of the two";
                let finding = Finding::warning(Check::Node, name, &text, next);
                self.findings.push(finding);
            }
            Ok(Selects::Node(mac, answer)) => {
                self.macs.push(mac);
                self.answers.insert(mac, answer);
            }
            Ok(Selects::Others) => (),
            Err(problem) => {
                let text =
                    format!("{problem}: a desk or Matchbox leaves the group out, without a word");
                let next = "correct the file; docs/first-boot.md has an example";
                let finding = Finding::error(Check::Node, name, &text, next);
                self.findings.push(finding);
            }
        }
    }
}

/// Whom the group in this text is for, as the desk reads it. No message repeats a value: the metadata has the token.
fn selects(text: &str) -> Result<Selects, String> {
    let group = Group::parse(text).ok_or_else(|| {
        let valid = serde_json::from_str::<IgnoredAny>(text);
        valid.map_or_else(
            |error| format!("line {} is not valid JSON", error.line()),
            |_| "it is not a group, or `mac` in its selector is not a MAC address".to_owned(),
        )
    })?;
    let mut selector = group.selector.iter();
    match selector.find(|(key, _)| key.eq_ignore_ascii_case("mac")) {
        None => Ok(Selects::Others),
        Some((_, text)) => Mac::parse(text)
            .map(|mac| {
                let query = format!("mac={mac}");
                let answer = Question::parse(&query).answer(&group, Scope::Whole);
                Selects::Node(mac, answer)
            })
            .ok_or_else(|| "`mac` in its selector is too long for a node".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x2c, 0xcf, 0x67, 0, 0, 1]);

    fn mac(selects: &Selects) -> Option<Mac> {
        match selects {
            Selects::Node(mac, _) => Some(*mac),
            Selects::Others => None,
        }
    }

    fn of(selector: &str) -> Result<Selects, String> {
        selects(&format!("{{\"id\": \"a\", \"selector\": {selector}}}"))
    }

    #[test]
    fn a_mac_address_is_read_in_the_forms_that_matchbox_reads() {
        for text in ["2c:cf:67:00:00:01", "2C-CF-67-00-00-01", "2ccf.6700.0001"] {
            let selector = format!("{{\"mac\": \"{text}\"}}");
            assert_eq!(
                of(&selector).ok().as_ref().and_then(mac),
                Some(MAC),
                "{text}"
            );
        }
        let selected = selects("{\"Selector\": {\"MAC\": \"2c:cf:67:00:00:01\"}}");
        assert_eq!(selected.ok().as_ref().and_then(mac), Some(MAC));
    }

    #[test]
    fn a_group_for_others_is_left_alone() {
        for selector in ["null", "{}", "{\"os\": \"installed\"}"] {
            assert!(matches!(of(selector), Ok(Selects::Others)), "{selector}");
        }
        assert!(matches!(selects("{}"), Ok(Selects::Others)));
    }

    #[test]
    fn what_matchbox_leaves_out_is_an_error_that_repeats_no_value() {
        for text in [
            "{\"metadata\": {\"k3s_token\": \"s3cret\"},}",
            "[\"s3cret\"]",
            "{\"selector\": \"s3cret\"}",
            "{\"selector\": {\"mac\": \"s3cret\"}}",
            "{\"selector\": {\"mac\": \"2ccf67000001\"}}",
            "{\"selector\": {\"mac\": \"2c:cf:67:00:00:0\"}}",
            "{\"selector\": {\"mac\": \"2c:cf-67:00:00:01\"}}",
            "{\"selector\": {\"mac\": 7}}",
        ] {
            let mut groups = Groups::default();
            groups.add("a.json", selects(text));
            assert_eq!(groups.findings.len(), 1, "{text}");
            let said = groups.findings[0].to_string();
            assert!(said.contains("without a word"), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn two_groups_for_one_address_are_a_warning_and_it_is_asked_once() {
        let mut groups = Groups::default();
        for name in ["a.json", "b.json"] {
            groups.add(name, Ok(Selects::Node(MAC, String::new())));
        }
        assert_eq!((groups.macs.len(), groups.findings.len()), (1, 1));
    }
}
