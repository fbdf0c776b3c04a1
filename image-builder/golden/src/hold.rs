//! Packages that a node's apt does not update.

use crate::tree::{Tree, TreeError};

const STATUS: &str = "var/lib/dpkg/status";

/// How the names of packages begin that bring kernels, or write to the boot partition or to a boot loader's place. A new
/// kernel from apt would not reach the boot partition, and its modules would replace the modules of the present kernel.
const HELD: [&str; 9] = [
    "linux-image-",
    "linux-base-",
    "linux-binary-",
    "linux-modules-",
    "linux-dtb-",
    "linux-u-boot-",
    "raspberrypi-kernel",
    "raspi-firmware",
    "armbian-bsp-",
];

/// Puts the kernel's packages, and those that write where it starts from, on hold: new ones come with a new image.
pub fn hold(tree: &mut Tree) -> Result<(), TreeError> {
    if !tree.contains(STATUS) {
        return Ok(());
    }
    let text = tree.read_text(STATUS)?;
    let stanzas: Vec<String> = text.split("\n\n").map(held).collect();
    let changed = stanzas.join("\n\n");
    if changed == text {
        return Ok(());
    }
    tree.replace_content(STATUS, changed)
}

fn held(stanza: &str) -> String {
    let is_held = stanza
        .lines()
        .find_map(|line| line.strip_prefix("Package: "))
        .is_some_and(|name| HELD.iter().any(|start| name.starts_with(start)));
    if is_held {
        stanza.replacen("\nStatus: install ok ", "\nStatus: hold ok ", 1)
    } else {
        stanza.to_owned()
    }
}
