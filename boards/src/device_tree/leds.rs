//! The LEDs of the Raspberry Pi 5, which mainline's device tree lacks.
//!
//! Lines and names come from the vendor's tree (`bcm2712-rpi-5-b.dts`, node `leds`).

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

use super::number;

const ACTIVE_LOW: u32 = 1;
/// Each LED is a separate device: ACT must not wait for the chip behind PCI Express that PWR needs.
const LEDS: [(&str, &str, &str, u32); 2] = [
    ("gild-leds", "ACT", "gio_aon", 9),
    ("gild-leds-rp1", "PWR", "rp1_gpio", 44),
];
const COMPATIBLE: &str = "gpio-leds";

/// Why a device tree gets no LEDs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedsError {
    /// Not a device tree.
    #[error("it is not a device tree: {0}")]
    NotOne(String),
    /// Something that the LEDs need.
    #[error("it has no {0}: this kernel's device tree is not known to gild")]
    Missing(String),
}

/// The bytes of a device tree with the board's LEDs. A tree that has LEDs, as the vendor's has, stays as it is.
pub fn with_leds(dtb: &[u8]) -> Result<Vec<u8>, LedsError> {
    let fdt = Fdt::new(dtb).map_err(|error| LedsError::NotOne(error.to_string()))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    let has_some = tree
        .root
        .children()
        .any(|node| text(node, "compatible") == COMPATIBLE);
    if has_some {
        return Ok(dtb.to_vec());
    }
    add(&mut tree)?;
    Ok(tree.to_dtb())
}

/// Adds the board's LEDs.
pub fn add(tree: &mut DeviceTree) -> Result<(), LedsError> {
    let leds = LEDS
        .iter()
        .map(|(name, label, controller, line)| led(tree, name, label, controller, *line))
        .collect::<Result<Vec<_>, _>>()?;
    for led in leds {
        tree.root.add_child(led);
    }
    Ok(())
}

/// Whether a tree has what [`add`] brings.
#[must_use]
pub fn are_in(tree: &DeviceTree) -> bool {
    LEDS.iter()
        .all(|(name, ..)| tree.find_node(&format!("/{name}")).is_some())
}

/// The first text of a property; empty without one.
fn text(node: &DeviceTreeNode, name: &str) -> String {
    let value = node
        .property(name)
        .map(|property| property.value().to_vec());
    let value = value.unwrap_or_default();
    let first = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

fn led(
    tree: &DeviceTree,
    name: &str,
    label: &str,
    controller: &str,
    line: u32,
) -> Result<DeviceTreeNode, LedsError> {
    let no_controller = || LedsError::Missing(format!("GPIO controller {controller}"));
    let symbols = tree
        .find_node("/__symbols__")
        .ok_or_else(|| LedsError::Missing("node /__symbols__".to_owned()))?;
    let gpio = tree
        .find_node(&text(symbols, controller))
        .ok_or_else(no_controller)?;
    let handle = number(gpio, "phandle").ok_or_else(no_controller)?;
    let mut led = DeviceTreeNode::new_unchecked(format!("led-{}", label.to_ascii_lowercase()));
    led.add_property(DeviceTreeProperty::new_unchecked("label", label));
    led.add_property(DeviceTreeProperty::new_unchecked(
        "gpios",
        [handle, line, ACTIVE_LOW],
    ));
    led.add_property(DeviceTreeProperty::new_unchecked("default-state", "off"));
    let mut leds = DeviceTreeNode::new_unchecked(name);
    leds.add_property(DeviceTreeProperty::new_unchecked("compatible", COMPATIBLE));
    leds.add_child(led);
    Ok(leds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with both GPIO controllers, or with the first one only.
    fn tree(has_rp1: bool) -> DeviceTree {
        let mut tree = DeviceTree::new();
        let mut symbols = DeviceTreeNode::new_unchecked("__symbols__");
        let controllers = [("gio_aon", 3u32), ("rp1_gpio", 4)];
        for (symbol, handle) in &controllers[..=usize::from(has_rp1)] {
            let name = format!("gpio@{handle}");
            symbols.add_property(DeviceTreeProperty::new_unchecked(
                *symbol,
                format!("/{name}"),
            ));
            let mut gpio = DeviceTreeNode::new_unchecked(name);
            gpio.add_property(DeviceTreeProperty::new_unchecked("phandle", *handle));
            tree.root.add_child(gpio);
        }
        tree.root.add_child(symbols);
        tree
    }

    fn read(dtb: &[u8]) -> DeviceTree {
        DeviceTree::from_fdt(&Fdt::new(dtb).expect("a tree"))
    }

    #[test]
    fn the_leds_come_once() {
        let with = with_leds(&tree(true).to_dtb()).expect("a tree");
        assert!(are_in(&read(&with)));
        assert_eq!(with_leds(&with), Ok(with.clone()));
        let gpios = read(&with);
        let act = gpios.find_node("/gild-leds/led-act").expect("ACT");
        let cells = [0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 1];
        assert_eq!(act.property("gpios").expect("its line").value(), cells);
    }

    #[test]
    fn a_tree_that_has_leds_keeps_them() {
        let mut vendors = tree(true);
        let mut leds = DeviceTreeNode::new_unchecked("leds");
        leds.add_property(DeviceTreeProperty::new_unchecked("compatible", COMPATIBLE));
        vendors.root.add_child(leds);
        let vendors = vendors.to_dtb();
        assert_eq!(with_leds(&vendors), Ok(vendors));
    }

    #[test]
    fn an_unknown_tree_gets_no_leds() {
        let missing = with_leds(&tree(false).to_dtb()).expect_err("no controller");
        assert!(missing.to_string().contains("rp1_gpio"), "{missing}");
        assert!(matches!(with_leds(b"no tree"), Err(LedsError::NotOne(_))));
    }
}
