//! The Raspberry Pi 5's device tree: mainline's, with what else its firmware and the agent need.
//!
//! - Old firmware needs sizes of one cell: see [`gild_boards::device_tree`].
//! - Mainline has no LED. The agent shows its state on `ACT`.
//! - The firmware copies its configuration, the boot order in it, into the memory that the alias `blconfig` leads to.
//!
//! These are edits of the tree itself, so that they do not depend on how old firmware applies overlays. One overlay is
//! still needed: the firmware loads this one tree on every board, and on a board with the D0 stepping it applies
//! `overlays/bcm2712d0.dtbo` to it. [`overlay`] makes that file. The edits are the same in the trees of both steppings,
//! and no property of the overlay is measured in the root's cells, so the overlay fits the edited tree.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};
use gild_boards::device_tree::leds::{self, LedsError};
use gild_boards::device_tree::{NarrowError, RESERVED, narrow, number};
use gild_boards::dtbo::{self, DtboError};

const NVRAM: &str = "nvram@0";

/// Why a device tree cannot be edited.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceTreeError {
    /// Not a device tree.
    #[error("it is not a device tree: {0}")]
    NotOne(String),
    /// A device tree of something else.
    #[error("it is for `{found}`, not for `{wanted}`")]
    OtherBoard {
        /// Its first `compatible`.
        found: String,
        /// The board's.
        wanted: String,
    },
    /// Something that the edits need.
    #[error("it has no {0}: this kernel's device tree is not known to gild")]
    Missing(String),
    /// Its sizes.
    #[error(transparent)]
    Narrow(#[from] NarrowError),
    /// Its LEDs.
    #[error(transparent)]
    Leds(#[from] LedsError),
    /// The overlay for the newer stepping.
    #[error("no overlay for the newer stepping can be made: {0}")]
    Overlay(#[from] DtboError),
}

/// Checks which board a tree is for.
pub fn check(dtb: &[u8], identity: &str) -> Result<(), DeviceTreeError> {
    let compatible = gild_boards::device_tree_compatible(dtb)
        .map_err(|error| DeviceTreeError::NotOne(error.to_string()))?;
    let found = compatible.into_iter().next().unwrap_or_default();
    if found != identity {
        let wanted = identity.to_owned();
        return Err(DeviceTreeError::OtherBoard { found, wanted });
    }
    Ok(())
}

fn read(dtb: &[u8], identity: &str) -> Result<DeviceTree, DeviceTreeError> {
    check(dtb, identity)?;
    let fdt = Fdt::new(dtb).map_err(|error| DeviceTreeError::NotOne(error.to_string()))?;
    Ok(DeviceTree::from_fdt(&fdt))
}

/// The first text of a property; empty without one.
fn text(node: &DeviceTreeNode, name: &str) -> String {
    let value = node
        .property(name)
        .map(|property| property.value().to_vec());
    let first = value
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec();
    String::from_utf8_lossy(&first).into_owned()
}

/// The tree for the card.
pub fn edit(dtb: &[u8], identity: &str) -> Result<Vec<u8>, DeviceTreeError> {
    let mut tree = read(dtb, identity)?;
    narrow(&mut tree)?;
    let reserved = tree
        .find_node_mut(RESERVED)
        .ok_or_else(|| missing(RESERVED))?;
    reserved.add_child(nvram());
    let aliases = tree
        .find_node_mut("/aliases")
        .ok_or_else(|| missing("/aliases"))?;
    aliases.add_property(property("blconfig", format!("{RESERVED}/{NVRAM}")));
    leds::add(&mut tree)?;
    Ok(tree.to_dtb())
}

/// The overlay that turns the first tree into the second one, both as [`edit`] gives them.
pub fn overlay(edited: &[u8], edited_newer: &[u8]) -> Result<Vec<u8>, DeviceTreeError> {
    let overlay = dtbo::between(edited, edited_newer)?;
    dtbo::check_gives(edited, &overlay, edited_newer)?;
    dtbo::check_devices(edited, &overlay, edited_newer)?;
    Ok(overlay)
}

/// Whether a tree has all that [`edit`] brings.
pub fn is_edited(dtb: &[u8], identity: &str) -> Result<bool, DeviceTreeError> {
    let tree = read(dtb, identity)?;
    let size_cells = |path: &str| {
        tree.find_node(path)
            .and_then(|node| number(node, "#size-cells"))
    };
    let aliased = tree
        .find_node("/aliases")
        .map(|node| text(node, "blconfig"));
    Ok(size_cells("/") == Some(1)
        && size_cells(RESERVED) == Some(1)
        && leds::are_in(&tree)
        && aliased.is_some_and(|path| tree.find_node(&path).is_some()))
}

fn missing(what: &str) -> DeviceTreeError {
    DeviceTreeError::Missing(format!("node {what}"))
}

fn property(name: &str, value: impl dtoolkit::ToPropertyValue) -> DeviceTreeProperty {
    DeviceTreeProperty::new_unchecked(name, value)
}

/// The firmware fills in where it is and switches it on.
fn nvram() -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new_unchecked(NVRAM);
    for property in [
        property(
            "compatible",
            b"raspberrypi,bootloader-config\0nvmem-rmem\0".as_slice(),
        ),
        property("#address-cells", 1u32),
        property("#size-cells", 1u32),
        property("reg", [0u32; 3]),
        property("no-map", b"".as_slice()),
        property("status", "disabled"),
    ] {
        node.add_property(property);
    }
    node
}
