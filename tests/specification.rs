//! The tests that SPECIFICATION.md names exist, and each promise has at least one. A person must judge whether a test holds its promise.
//! CONTRIBUTING.md names the tests that `make test` leaves out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gild_tests::workspace;

const PAGE: &str = "SPECIFICATION.md";
/// The title of the last section, where nothing is numbered.
const UNHELD: &str = "## Held by no test";

/// A numbered sentence, and the tests below it.
struct Promise {
    number: usize,
    tests: Vec<Named>,
}

/// A test as the page names it.
struct Named {
    /// The folder of its crate.
    folder: String,
    test: String,
    /// The line on the page.
    line: usize,
}

/// The number at the beginning of a promise.
fn number(line: &str) -> Option<usize> {
    line.split_once(". ")?.0.parse().ok()
}

/// The crate's folder and the test in a line like "- `agent/disk: a_test`".
fn named(line: &str) -> Option<(&str, &str)> {
    let code = line.trim_start().strip_prefix("- `")?.strip_suffix('`')?;
    code.split_once(": ")
}

/// All promises of the page. The last section has none.
fn promises(page: &str) -> Result<Vec<Promise>> {
    let (held, unheld) = page
        .split_once(&format!("\n{UNHELD}\n"))
        .with_context(|| format!("{PAGE} has no section `{UNHELD}`"))?;
    ensure!(
        !unheld
            .lines()
            .any(|line| line.starts_with("## ") || number(line).is_some()),
        "{PAGE}: the section `{UNHELD}` must be the last one, without numbered promises"
    );
    let mut promises: Vec<Promise> = Vec::new();
    for (line, text) in (1..).zip(held.lines()) {
        if let Some(number) = number(text) {
            let next = promises.len() + 1;
            ensure!(
                number == next,
                "{PAGE}:{line}: promise {number} should have the number {next}"
            );
            let tests = Vec::new();
            promises.push(Promise { number, tests });
        } else if text.trim_start().starts_with("- ") {
            let (Some(promise), Some((folder, test))) = (promises.last_mut(), named(text)) else {
                bail!("{PAGE}:{line} should be: - `folder of the crate: test`");
            };
            promise.tests.push(Named {
                folder: folder.to_owned(),
                test: test.to_owned(),
                line,
            });
        }
    }
    Ok(promises)
}

/// The names of the tests in a source file.
fn tests_in(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if line == "#[test]" {
            is_test = true;
        }
        let name = line.strip_prefix("fn ")?.split('(').next()?;
        std::mem::take(&mut is_test).then_some(name)
    })
}

/// All tests of the project, with the folders of their crates.
fn tests() -> Result<BTreeSet<(String, String)>> {
    let root = workspace::root().canonicalize()?;
    let mut tests = BTreeSet::new();
    for file in workspace::sources()? {
        let folder = workspace::crate_of(&file).context("a crate")?;
        let folder = folder.strip_prefix(&root)?.display().to_string();
        let source = read(&file)?;
        tests.extend(tests_in(&source).map(|test| (folder.clone(), test.to_owned())));
    }
    Ok(tests)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[test]
fn each_promise_names_tests_that_exist() -> Result<()> {
    let promises = promises(&read(&workspace::root().join(PAGE))?)?;
    assert!(promises.len() > 30, "{} promises", promises.len());
    let tests = tests()?;
    assert!(tests.len() > 700, "{} tests", tests.len());
    for Promise {
        number,
        tests: named,
    } in promises
    {
        ensure!(
            !named.is_empty(),
            "{PAGE}: promise {number} names no test; next: name one, or move the promise to `{UNHELD}`"
        );
        for Named { folder, test, line } in named {
            ensure!(
                tests.contains(&(folder.clone(), test.clone())),
                "{PAGE}:{line}: the crate in {folder} has no test {test}; next: correct the name, or move promise {number} to `{UNHELD}`"
            );
        }
    }
    Ok(())
}

#[test]
fn each_case_that_only_make_campaign_runs_is_named() -> Result<()> {
    let page = read(&workspace::root().join("CONTRIBUTING.md"))?;
    let named: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"))
        .map(|(test, _)| test)
        .collect();
    let mut left_out = BTreeSet::new();
    for file in workspace::sources()? {
        let source = read(&file)?;
        let module = source.split_once("\nmod campaign {\n");
        if !file.components().any(|part| part.as_os_str() == "cases") {
            continue;
        }
        let stem = file.file_stem().context("a name")?.to_string_lossy();
        let tests = module.into_iter().flat_map(|(_, tests)| tests_in(tests));
        left_out.extend(tests.map(|test| format!("{stem}: {test}")));
    }
    assert!(!left_out.is_empty());
    assert_eq!(named, left_out.iter().map(String::as_str).collect());
    Ok(())
}

#[test]
fn only_functions_that_are_tests_count() {
    let source = "#[test]\n#[ignore = \"slow\"]\nfn one() {}\n\nfn two() {}\n    #[test]\n    fn three() -> Result<()> {\n";
    assert_eq!(tests_in(source).collect::<Vec<_>>(), ["one", "three"]);
}

#[test]
fn a_page_that_cannot_be_followed_is_refused() {
    let page = |held: &str, unheld: &str| promises(&format!("# x\n{held}\n{UNHELD}\n{unheld}"));
    let good = page("1. One.\n   - `a/b: c`\n2. Two.\n", "- nothing\n").expect("two promises");
    let tests: Vec<_> = good.iter().map(|promise| promise.tests.len()).collect();
    assert_eq!(tests, [1, 0]);
    for (held, unheld) in [
        ("2. One.\n", ""),
        ("1. One.\n- a/b: c\n", ""),
        ("- `a/b: c`\n", ""),
        ("1. One.\n", "1. Two.\n"),
        ("1. One.\n", "## Another\n"),
    ] {
        assert!(page(held, unheld).is_err(), "{held}{unheld}");
    }
    assert!(promises("1. One.\n").is_err(), "no last section");
}
