//! How often this node has begun to carry out an order. Each attempt stops k3s and ends the pods. So an order that cannot succeed must not
//! be tried forever.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gild_orders::OrderId;

use crate::files;

const ATTEMPTS: &str = "var/lib/gild/order-attempts";
const MOST: u32 = 3;

/// Counts an attempt, or refuses it.
pub fn one_more(root: &Path, id: &OrderId) -> Result<()> {
    let path = root.join(ATTEMPTS);
    let so_far = so_far(&path, id);
    if so_far >= MOST {
        bail!(
            "order {id} is given up, because it failed {so_far} times on this node; next: find the cause in `journalctl -u gild-order`, and sign \
             a new order"
        );
    }
    let write = || {
        files::private_directory(path.parent().unwrap_or(Path::new("/")))?;
        files::write_private(&path, &format!("{id} {}\n", so_far + 1))
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn so_far(path: &PathBuf, id: &OrderId) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let count = text
        .split_once(' ')
        .filter(|(of, _)| *of == id.as_str())
        .and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or(0)
}
