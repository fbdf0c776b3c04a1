//! The gate and files of its form. Accepted input is the same after it is written and read again, and its lines hold nothing
//! that U-Boot would read as something else.

use gild_card_format::Gate;

/// Says what holds of this input.
pub fn check_input(input: &str) {
    let gate = Gate::parse(input);
    let text = gate.to_text();
    assert_eq!(Gate::parse(&text), gate);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-=\n".contains(c);
    assert!(text.chars().all(is_plain));
    for line in text.lines() {
        let (board, image) = line.split_once('=').expect("an assignment");
        assert_eq!(
            gate.get(board).map(ToString::to_string),
            Some(image.to_owned())
        );
        assert_ne!(image, "any");
    }
}
