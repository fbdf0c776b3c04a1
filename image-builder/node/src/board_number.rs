//! The board's unique number. The driver of the memory that holds it may start late.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gild_boards::Board;
use gild_identity::unique_number;

const COMPATIBLE: &str = "proc/device-tree/compatible";
/// How long to wait for the number.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look for it.
pub const LOOK: Duration = Duration::from_millis(100);

/// The board that this is.
pub fn board(root: &Path) -> Result<&'static Board> {
    let path = root.join(COMPATIBLE);
    let compatible = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(gild_boards::detect(&compatible)?)
}

/// Waits for the number, if this board has one.
#[must_use]
pub fn wait(root: &Path) -> Option<[u8; 16]> {
    // gild does not know any number of a machine that is not one of its boards.
    let board = board(root).ok()?;
    board.cpu_id.as_ref()?;
    let end = Instant::now() + PATIENCE;
    loop {
        let number = unique_number(root, board);
        if number.is_some() || Instant::now() > end {
            return number;
        }
        thread::sleep(LOOK);
    }
}
