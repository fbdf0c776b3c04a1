//! docs/golden-image.md says what the seal does. Its table is the seal's own.

use std::fs;
use std::path::Path;

use gild_golden::seal::list_markdown;

const START: &str = "<!-- seal table -->\n";
const END: &str = "<!-- end -->";

#[test]
fn the_page_has_the_seal_s_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/golden-image.md");
    let text = fs::read_to_string(&page).expect("the page");
    let (before, rest) = text.split_once(START).expect("the table's start");
    let (found, after) = rest.split_once(END).expect("the table's end");
    let table = list_markdown();
    if std::env::var_os("GILD_WRITE_DOCS").is_some() {
        fs::write(&page, format!("{before}{START}{table}{END}{after}")).expect("the page");
        return;
    }
    assert!(
        found == table,
        "the table in {} is not the seal's; next: GILD_WRITE_DOCS=1 cargo test -p gild-golden --test docs",
        page.display()
    );
}
