//! The initramfs of an image: archives one after another, packed ones too.

use std::io::{self, Read};

use gild_inspect::readers::initramfs;

const MOST: u64 = 1 << 20;

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    // Larger content only takes time, and this target does not test that.
    let mut left = MOST;
    let _ = initramfs(input, &mut |path, content| {
        let read = io::copy(&mut content.take(left), &mut io::sink())?;
        left = left.saturating_sub(read + path.len() as u64);
        if left == 0 {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(())
        }
    });
}
