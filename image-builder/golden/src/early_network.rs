//! The network starts beside cloud-init's first stage, and not after it.
//!
//! That stage may write the network's configuration, so Debian has the network wait until Python has read all of cloud-init, two
//! seconds on a board. Here the image itself has the configuration (`network: {config: disabled}`), and in these seconds a node's link
//! comes up, and it gets its address.

use crate::tree::{Tree, TreeError};

/// A drop-in cannot take an order back. A newer package of cloud-init brings the unit as it was: then starts are slower, no more.
const UNIT: &str = "usr/lib/systemd/system/cloud-init-local.service";
const ORDER: [&str; 2] = ["Wants=network-pre.target", "Before=network-pre.target"];

/// Takes the order out of cloud-init's unit, if it is there.
pub fn start(tree: &mut Tree) -> Result<(), TreeError> {
    if !tree.contains(UNIT) {
        return Ok(());
    }
    let text = tree.read_text(UNIT)?;
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !ORDER.contains(&line.trim()));
    tree.replace_content(UNIT, lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_init_s_first_stage_is_no_longer_before_the_network_and_keeps_its_other_orders() {
        let mut tree = Tree::default();
        start(&mut tree).expect("an image without cloud-init");
        let text = "[Unit]\nWants=network-pre.target\nBefore=network-pre.target\nBefore=sysinit.target\n[Service]\n";
        tree.insert_file(UNIT, 0o644, text).expect("a file");
        start(&mut tree).expect("the unit");
        let text = tree.read_text(UNIT).expect("the unit");
        assert_eq!(text, "[Unit]\nBefore=sysinit.target\n[Service]\n");
    }
}
