//! A serial console shows what the programs print, and some of that comes from the network.

use std::process::Command;

#[test]
fn nothing_that_is_said_steers_the_terminal_that_shows_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_gild-seed"))
        .args(["check", "/none/\u{1b}[2J\u{9b}31m\r"])
        .output()
        .expect("gild-seed");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains(r"/none/\u{1b}[2J\u{9b}31m\r"), "{said:?}");
    assert!(!said.trim_end().contains(char::is_control), "{said:?}");
}
