//! Packed files and the kernel of an image.

use std::io::{self, Read};

use gild_inspect::readers::{kernel, packed};

const MOST: u64 = 4 << 20;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    if let Ok(Some(file)) = packed(input) {
        let _ = io::copy(&mut file.take(MOST), &mut io::sink());
    }
    if let Ok(Some(kernel)) = kernel(input) {
        let is_word = |version: &String| !version.contains(char::is_whitespace);
        assert!(kernel.version.as_ref().is_none_or(is_word));
    }
}
