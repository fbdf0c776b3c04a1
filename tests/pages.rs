//! The pages lead somewhere: each link has its page and its heading, each page is in the list, and the README stays short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gild_tests::workspace;

/// Of the README.
const LINES: usize = 120;
const COLUMNS: usize = 120;

fn root() -> PathBuf {
    workspace::root().canonicalize().expect("the checkout")
}

/// The pages at the top and in docs/.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let folders = [root.clone(), root.join("docs")];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    entries
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a page that are not in a block of code, with their numbers.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    page.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((number, line))
    })
}

/// The targets of a line's links and pictures.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        Some(target)
    })
}

/// A heading's anchor, as the usual hosts make it.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len() && text.starts_with(' ')).then(|| anchor(text))
    });
    headings.collect()
}

#[test]
fn each_link_has_its_page_and_its_heading() {
    let mut dead = Vec::new();
    for path in pages() {
        let page = read(&path);
        for (number, line) in prose(&page) {
            for target in targets(line).filter(|target| !target.contains("://")) {
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let named = if file.is_empty() {
                    path.clone()
                } else {
                    path.parent().expect("a folder").join(file)
                };
                let is_there = named.exists()
                    && (heading.is_empty() || anchors(&read(&named)).contains(heading));
                if !is_there {
                    dead.push(format!("{}:{number}: {target}", path.display()));
                }
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn each_page_is_in_the_list_of_pages() {
    let list = read(&root().join("docs/README.md"));
    let listed: BTreeSet<&str> = list.lines().flat_map(targets).collect();
    for path in pages() {
        let docs = root().join("docs");
        let Ok(name) = path.strip_prefix(docs) else {
            continue;
        };
        let name = name.to_str().expect("a name");
        assert!(
            name == "README.md" || listed.contains(name),
            "docs/README.md should list {name}"
        );
    }
}

#[test]
fn the_readme_fits_a_terminal() {
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() < LINES);
    for (line, number) in readme.lines().zip(1..) {
        assert!(
            line.chars().count() <= COLUMNS,
            "README.md:{number} is longer than {COLUMNS} characters"
        );
    }
}

#[test]
fn an_anchor_is_made_as_the_usual_hosts_make_it() {
    assert_eq!(anchor(" Fault 8: the boot order"), "fault-8-the-boot-order");
    assert_eq!(anchor(" k3s' settings"), "k3s-settings");
    assert_eq!(anchor(" A `gild.toml`"), "a-gildtoml");
}
