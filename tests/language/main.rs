//! The project's plain English: CONTRIBUTING.md has a table of words that its pages, comments and messages do not use.

mod prose;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_tests::workspace;
use prose::{Passage, of_markdown, of_rust, tokens};

const PAGE: &str = "CONTRIBUTING.md";
const HEAD: &str = "| instead of | write | but these are right |";

/// A row of the table.
struct Rule {
    /// What is not written.
    phrases: Vec<Vec<String>>,
    /// What is written in its place, for people.
    instead: String,
    /// Longer phrases with one of them in it that are plain English.
    right: Vec<Vec<String>>,
}

/// The words of each phrase that stands between backticks.
fn phrases(cell: &str) -> Vec<Vec<String>> {
    let codes = cell.split('`').skip(1).step_by(2);
    let words = |code| tokens(code, 1).into_iter().map(|token| token.text);
    codes.map(|code| words(code).collect()).collect()
}

fn rules(page: &str) -> Result<Vec<Rule>> {
    let rows = page
        .lines()
        .skip_while(|line| *line != HEAD)
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rule = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, phrase, instead, right, _] = cells[..] else {
            return None;
        };
        Some(Rule {
            phrases: phrases(phrase),
            instead: instead.to_owned(),
            right: phrases(right),
        })
    };
    rows.map(|row| rule(row).with_context(|| format!("{PAGE}: {row} should have three columns")))
        .collect()
}

/// Whether the phrase stands in the passage, its word number `within` at `at`.
fn stands(passage: &Passage, phrase: &[String], at: usize, within: usize) -> bool {
    let start = at.checked_sub(within);
    let found = start.and_then(|start| passage.get(start..start + phrase.len()));
    found.is_some_and(|found| {
        found
            .iter()
            .zip(phrase)
            .all(|(token, word)| token.text == *word)
    })
}

/// The lines of a passage with a phrase of this rule, and the phrase.
fn found<'a>(rule: &'a Rule, passage: &'a Passage) -> impl Iterator<Item = (usize, String)> + 'a {
    let is_right = |at: usize| {
        let mut longer = rule.right.iter();
        longer.any(|right| (0..right.len()).any(|within| stands(passage, right, at, within)))
    };
    passage.iter().enumerate().flat_map(move |(at, token)| {
        let hits = rule
            .phrases
            .iter()
            .filter(move |phrase| stands(passage, phrase, at, 0));
        hits.filter(move |_| !is_right(at))
            .map(|phrase| (token.line, phrase.join(" ")))
    })
}

/// What this text of a file should say otherwise.
fn complaints(rules: &[Rule], name: &str, passages: &[Passage]) -> Vec<String> {
    let mut complaints: Vec<(usize, String)> = passages
        .iter()
        .flat_map(|passage| rules.iter().map(move |rule| (rule, passage)))
        .flat_map(|(rule, passage)| {
            found(rule, passage).map(|(line, phrase)| {
                (
                    line,
                    format!("{name}:{line}: `{phrase}`; next: write {}", rule.instead),
                )
            })
        })
        .collect();
    complaints.sort();
    complaints.into_iter().map(|(_, text)| text).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The pages at the top and in docs/.
fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for folder in [root.to_path_buf(), root.join("docs")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

#[test]
fn pages_comments_and_messages_are_plain_english() -> Result<()> {
    let root = workspace::root().canonicalize()?;
    let rules = rules(&read(&root.join(PAGE))?)?;
    assert!(rules.len() >= 8, "{} rules", rules.len());
    let (pages, sources) = (pages(&root)?, workspace::sources()?);
    assert!(pages.len() > 15 && sources.len() > 300, "files are missing");
    let words: fn(&str) -> Vec<Passage> = of_markdown;
    let pages = pages.iter().map(|path| (path, words));
    let sources = sources.iter().map(|path| (path, of_rust as _));
    let mut wrong = Vec::new();
    for (path, words) in pages.chain(sources) {
        let name = path.strip_prefix(&root)?.display().to_string();
        // The words are in this test's own samples.
        if !name.starts_with("tests/language/") {
            wrong.extend(complaints(&rules, &name, &words(&read(path)?)));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} places:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// The lines in which the words of a table with two rows are found.
fn lines(passages: &[Passage]) -> Vec<String> {
    let table = format!(
        "{HEAD}\n| --- | --- | --- |\n| `in vain` | *without success* | |\n| `is no`, `told` | *is not a* | `there is no`, `is no longer` |\n"
    );
    complaints(&rules(&table).expect("two rules"), "x", passages)
}

#[test]
fn a_phrase_is_found_over_the_end_of_a_line_and_not_in_code() {
    let page = "Waits *in\nvain*.\n\n```\nin vain\n```\n`in vain` [in](vain) This is no flash.\n";
    assert_eq!(
        lines(&of_markdown(page)),
        [
            "x:1: `in vain`; next: write *without success*",
            "x:7: `is no`; next: write *is not a*"
        ]
    );
    assert_eq!(
        lines(&of_markdown("There is no flash. It is no longer there.")),
        [""; 0]
    );
}

#[test]
fn of_a_source_comments_and_literals_count() {
    let source = r##"
//! It waits in
//! vain.
fn told(told: &'static str) -> char { // told
    let text = "a \" told {told}"; let raw = r#"x" told"#;
    'told: loop { break 'told; }
    /* in vain */ '"'
}
"##;
    let found: Vec<_> = lines(&of_rust(source))
        .into_iter()
        .map(|line| line[..4].to_owned())
        .collect();
    assert_eq!(found, ["x:2:", "x:4:", "x:5:", "x:5:", "x:7:"]);
}
