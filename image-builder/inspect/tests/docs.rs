//! docs/sealed.md says what the rules say.

use std::fs;
use std::path::Path;

use gild_inspect::{KNOWN, RULES};

fn code(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

fn tables() -> String {
    let mut text = String::new();
    for rule in RULES {
        let mut what = rule.what.to_owned();
        let denied = rule.paths().iter().filter(|path| !path.starts_with('!'));
        let denied: Vec<&str> = denied.copied().collect();
        let allowed = rule
            .paths()
            .iter()
            .filter_map(|path| path.strip_prefix('!'));
        let allowed: Vec<&str> = allowed.collect();
        if !denied.is_empty() {
            what = format!("{what}: {}", code(&denied));
        }
        if !allowed.is_empty() {
            what = format!("{what}; allowed: {}", code(&allowed));
        }
        let row = format!("- `{}`: {what}. Why: {}.\n", rule.id, rule.why);
        text.push_str(&row);
    }
    text += "\n## What looks like a secret and is not one\n\n";
    for known in KNOWN {
        let row = format!("- {}: {}.\n", code(known.paths), known.why);
        text.push_str(&row);
    }
    text
}

#[test]
fn the_page_has_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sealed.md");
    let page = fs::read_to_string(&path).expect("docs/sealed.md");
    let (marker, tables) = ("<!-- made from image-builder/inspect -->\n", tables());
    let (head, found) = page.split_once(marker).expect("the marker");
    if found.trim() != tables.trim() {
        let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sealed.md");
        fs::write(&ours, format!("{head}{marker}\n{tables}")).expect("the disk has room");
        panic!(
            "docs/sealed.md is not what the code says: see {}",
            ours.display()
        );
    }
}
