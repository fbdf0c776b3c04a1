//! Edits of the mainline device tree of the Raspberry Pi 5: sizes that its firmware understands, and its LEDs ([`leds`]).
//!
//! Firmware from before February 2025 damages memory nodes if the root's `#size-cells` is 2, as mainline has it, and then
//! no kernel starts. With 1 it works with all of them, and no size in the tree needs more.

pub mod leds;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

/// The node whose sizes are measured as the root's are.
pub const RESERVED: &str = "/reserved-memory";

/// Why the sizes of a device tree cannot be made one cell wide.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// Not a device tree.
    #[error("it is not a device tree: {0}")]
    NotOne(String),
    /// Something that the edit needs.
    #[error("it has no {0}: this kernel's device tree is not known to gild")]
    Missing(String),
    /// A size of 4 GiB or more.
    #[error("{node} has a size that does not fit into one cell")]
    TooLarge {
        /// Name of the node.
        node: String,
    },
}

/// The bytes of a device tree with one cell for the sizes below its root.
pub fn one_size_cell(dtb: &[u8]) -> Result<Vec<u8>, NarrowError> {
    let fdt = Fdt::new(dtb).map_err(|error| NarrowError::NotOne(error.to_string()))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    narrow(&mut tree)?;
    Ok(tree.to_dtb())
}

/// Makes the sizes below the root and in the reserved memory one cell wide.
pub fn narrow(tree: &mut DeviceTree) -> Result<(), NarrowError> {
    narrow_children(&mut tree.root, "/")?;
    let reserved = tree
        .find_node_mut(RESERVED)
        .ok_or_else(|| NarrowError::Missing(format!("node {RESERVED}")))?;
    narrow_children(reserved, RESERVED)
}

/// The number in a property of one cell.
#[must_use]
pub fn number(node: &DeviceTreeNode, name: &str) -> Option<u32> {
    Some(u32::from_be_bytes(
        node.property(name)?.value().try_into().ok()?,
    ))
}

/// Makes the sizes of a node's children one cell wide. A node's own `ranges` is written in its own cells for sizes.
fn narrow_children(node: &mut DeviceTreeNode, path: &str) -> Result<(), NarrowError> {
    if number(node, "#size-cells") == Some(1) {
        return Ok(());
    }
    if (number(node, "#address-cells"), number(node, "#size-cells")) != (Some(2), Some(2)) {
        return Err(NarrowError::Missing(format!(
            "#address-cells and #size-cells of 2 in {path}"
        )));
    }
    node.add_property(DeviceTreeProperty::new_unchecked("#size-cells", 1u32));
    for child in node.children_mut() {
        let name = child.name().to_owned();
        for (name_of, address_cells) in [("reg", 2), ("size", 0), ("alloc-ranges", 2)] {
            let Some(value) = child.property_mut(name_of) else {
                continue;
            };
            let narrowed = without_high_cells((&*value).value(), address_cells)
                .ok_or_else(|| NarrowError::TooLarge { node: name.clone() })?;
            value.set_value(narrowed);
        }
    }
    Ok(())
}

/// Pairs of an address and a size of two cells each, with sizes of one cell.
fn without_high_cells(value: &[u8], address_cells: usize) -> Option<Vec<u8>> {
    let (address, pair) = (address_cells * 4, address_cells * 4 + 8);
    if !value.len().is_multiple_of(pair) {
        return None;
    }
    let mut narrowed = Vec::new();
    for pair in value.chunks(pair) {
        if pair[address..address + 4] != [0; 4] {
            return None;
        }
        narrowed.extend_from_slice(&pair[..address]);
        narrowed.extend_from_slice(&pair[address + 4..]);
    }
    Some(narrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with memory of this size, and reserved memory.
    fn tree(cells: u32, size: &[u32]) -> DeviceTree {
        let number = |name, value: u32| DeviceTreeProperty::new_unchecked(name, value);
        let mut tree = DeviceTree::new();
        let mut reserved = DeviceTreeNode::new_unchecked("reserved-memory");
        for node in [&mut tree.root, &mut reserved] {
            node.add_property(number("#address-cells", 2));
            node.add_property(number("#size-cells", cells));
        }
        let mut memory = DeviceTreeNode::new_unchecked("memory@0");
        let reg: Vec<u8> = [0, 0]
            .iter()
            .chain(size)
            .flat_map(|cell| cell.to_be_bytes())
            .collect();
        memory.add_property(DeviceTreeProperty::new_unchecked("reg", reg));
        tree.root.add_child(memory);
        tree.root.add_child(reserved);
        tree
    }

    #[test]
    fn sizes_lose_their_high_cell_once() {
        let narrow = one_size_cell(&tree(2, &[0, 0x2800_0000]).to_dtb()).expect("a small size");
        let expected = tree(1, &[0x2800_0000]);
        assert_eq!(narrow, expected.to_dtb());
        assert_eq!(one_size_cell(&narrow), Ok(narrow.clone()));
    }

    #[test]
    fn what_does_not_fit_or_is_not_known_is_refused() {
        assert_eq!(
            one_size_cell(&tree(2, &[1, 0]).to_dtb()),
            Err(NarrowError::TooLarge {
                node: "memory@0".to_owned()
            })
        );
        for dtb in [tree(3, &[0, 0, 1]).to_dtb(), DeviceTree::new().to_dtb()] {
            let refused = one_size_cell(&dtb);
            assert!(
                matches!(refused, Err(NarrowError::Missing(_))),
                "{refused:?}"
            );
        }
        let refused = one_size_cell(b"no device tree");
        assert!(
            matches!(refused, Err(NarrowError::NotOne(_))),
            "{refused:?}"
        );
    }
}
