//! What the documentation says about the configuration is what the agent takes.

use std::fs;
use std::path::Path;

#[test]
fn the_table_of_keys_in_the_documentation_is_the_one_in_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).expect("docs/configuration.md");
    let table = gild_card_format::markdown();
    assert!(
        page.contains(&format!("\n\n{table}\n")),
        "the table of keys in docs/configuration.md should be:\n{table}"
    );
}
