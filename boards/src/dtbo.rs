//! Device tree overlays (`.dtbo`): the difference between two device trees of one kernel, in the form that firmware
//! applies.
//!
//! The firmware of the Raspberry Pi 5 loads one device tree for all boards and applies an overlay to it where the
//! processor has a newer stepping. The mainline kernel has a whole tree for each stepping instead and no overlay, so gild
//! makes the overlay from the two trees.
//!
//! Values are copied as they are. A phandle inside a value is a plain number, so both trees must give the same phandle
//! to the same node; trees that do not are refused. An added node must have no phandle, because the firmware renumbers
//! the phandles of an overlay. `__symbols__` is not compared: no kernel reads it, and the base tree keeps its own.

use std::collections::BTreeMap;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::overlay::OverlayApplier;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::overlay::{NODE_FIXUPS, NODE_SYMBOLS, Overlay, PHANDLE_PROPS};
use dtoolkit::{Node, Property, ToPropertyValue};

/// Where a root file system has the device trees of a kernel, with the kernel's version instead of `V`.
pub const TREE_FOLDERS: [&str; 4] = [
    "usr/lib/modules/V/dtb",
    "usr/lib/linux-image-V",
    "boot/dtb-V",
    "boot/dtb",
];

const CONTENT: &str = "__overlay__";
/// The compiler's placeholder for a phandle that is filled in when the overlay is applied.
const UNKNOWN_PHANDLE: u32 = u32::MAX;

/// Why there is no overlay, or why an overlay does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtboError {
    /// Not a device tree.
    #[error("{what} is not a device tree: {why}")]
    NotADeviceTree {
        /// Which of the files.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Two equal trees.
    #[error("the two device trees are the same, so there is nothing for an overlay to change")]
    Same,
    /// What only the base tree has.
    #[error("{0} is in the base tree only, and an overlay cannot remove it")]
    Gone(String),
    /// A difference in a node that an overlay cannot name.
    #[error(
        "{0} differs, and no symbol of the base tree names that node, so no overlay can change it"
    )]
    NoSymbol(String),
    /// Two trees that number their nodes differently.
    #[error(
        "the two device trees have different phandles for {0}, so their values cannot be compared"
    )]
    Phandle(String),
    /// A device tree without fragments.
    #[error("it is a device tree, but not an overlay: it has no fragment with content")]
    NotAnOverlay,
    /// A symbol that the base tree lacks.
    #[error(
        "it needs the symbol `{0}`, which the base tree lacks; the firmware drops such an overlay"
    )]
    MissingSymbol(String),
    /// A fragment that cannot be applied.
    #[error("it cannot be applied to the base tree: {0}")]
    Apply(String),
    /// A result that is not the wanted one.
    #[error("applied to the base tree, it does not give the wanted tree: {0}")]
    OtherResult(String),
    /// Two trees that both describe the same devices.
    #[error("the two device trees have the same devices, so they are not of two steppings")]
    SameDevices,
    /// Two trees in the wrong order.
    #[error(
        "the base tree, which the firmware loads on every board, has `{0}`, which only the newer stepping has: boards \
         with the older one do not start"
    )]
    NewerBase(String),
    /// A second tree of no newer stepping.
    #[error("the other tree lacks `{0}`, which the newer stepping has")]
    NotNewer(String),
    /// A device that the overlay should change.
    #[error(
        "applied to the base tree, it does not make {0} the device that it is in the other tree"
    )]
    OtherDevice(String),
}

/// What one node of the other tree has in addition or in another form.
struct Change {
    path: String,
    content: DeviceTreeNode,
}

/// Makes the overlay that turns the base tree into the other one.
pub fn between(base: &[u8], other: &[u8]) -> Result<Vec<u8>, DtboError> {
    let (base, other) = (read("the base tree", base)?, read("the other tree", other)?);
    let changes = changes(&base, &other)?;
    if changes.is_empty() {
        return Err(DtboError::Same);
    }
    let mut overlay = DeviceTree::new();
    if let Some(processor) = compatible(&base.root).last() {
        overlay
            .root
            .add_property(property("compatible", processor.as_str()));
    }
    let mut fixups = DeviceTreeNode::new_unchecked(NODE_FIXUPS);
    for (index, change) in changes.into_iter().enumerate() {
        let symbol = symbol_of(&base, &change.path).ok_or(DtboError::NoSymbol(change.path))?;
        let name = format!("fragment@{index}");
        fixups.add_property(property(&symbol, format!("/{name}:target:0")));
        let mut fragment = DeviceTreeNode::new_unchecked(name);
        fragment.add_property(property("target", UNKNOWN_PHANDLE));
        fragment.add_child(change.content);
        overlay.root.add_child(fragment);
    }
    overlay.root.add_child(fixups);
    Ok(overlay.to_dtb())
}

/// Checks that the overlay turns the base tree into the wanted one.
pub fn check_gives(base: &[u8], overlay: &[u8], wanted: &[u8]) -> Result<(), DtboError> {
    let result = apply(base, overlay)?;
    let wanted = read("the wanted tree", wanted)?;
    match changes(&result, &wanted) {
        Ok(changes) => match changes.first() {
            None => Ok(()),
            Some(change) => Err(DtboError::OtherResult(format!("{} differs", change.path))),
        },
        Err(error) => Err(DtboError::OtherResult(error.to_string())),
    }
}

/// Checks that the overlay can be applied to the base tree, and that each device that is another one in the other tree,
/// by its `compatible`, is that one in the result. Beyond that a vendor's overlay may do more or less.
pub fn check_devices(base: &[u8], overlay: &[u8], other: &[u8]) -> Result<(), DtboError> {
    let result = apply(base, overlay)?;
    let base = read("the base tree", base)?;
    let other = read("the other tree", other)?;
    let (base, other, result) = (devices(&base), devices(&other), devices(&result));
    let mut changed = other
        .into_iter()
        .filter(|(path, device)| base.get(path).is_some_and(|before| before != device))
        .peekable();
    changed.peek().ok_or(DtboError::SameDevices)?;
    match changed.find(|(path, device)| result.get(path) != Some(device)) {
        None => Ok(()),
        Some((path, _)) => Err(DtboError::OtherDevice(path)),
    }
}

/// Checks that the base tree is not the newer stepping's and that the other tree is. `device` is the entry of a
/// `compatible` that the newer one alone has.
pub fn check_order(base: &[u8], other: &[u8], device: &str) -> Result<(), DtboError> {
    let has = |tree: &DeviceTree| {
        let mut devices = devices(tree).into_values().flatten();
        devices.any(|entry| entry == device)
    };
    if has(&read("the base tree", base)?) {
        return Err(DtboError::NewerBase(device.to_owned()));
    }
    if !has(&read("the other tree", other)?) {
        return Err(DtboError::NotNewer(device.to_owned()));
    }
    Ok(())
}

/// Where a root file system has a kernel's own overlay, if the kernel comes with one of this name. A vendor's fits the
/// vendor's trees and may do more or less than turn one into the other.
pub fn places_of_own(version: &str, overlay: &str) -> impl Iterator<Item = String> {
    let file = overlay.rsplit('/').next().unwrap_or(overlay);
    TREE_FOLDERS
        .map(|folder| format!("{}/overlays/{file}", folder.replace('V', version)))
        .into_iter()
}

/// Applies an overlay as firmware does. A symbol that the base tree lacks spoils the whole overlay.
fn apply(base: &[u8], overlay: &[u8]) -> Result<DeviceTree, DtboError> {
    let mut tree = read("the base tree", base)?;
    let overlay = read("the overlay", overlay)?;
    let has_content = Overlay::new(&overlay.root)
        .fragments()
        .any(|fragment| fragment.child(CONTENT).is_some());
    if !has_content {
        return Err(DtboError::NotAnOverlay);
    }
    let fixups = overlay.root.child(NODE_FIXUPS);
    let symbols = fixups.into_iter().flat_map(Node::properties);
    for symbol in symbols {
        let name = symbol.name();
        let path = tree
            .root
            .child(NODE_SYMBOLS)
            .and_then(|symbols| Some(text(symbols.property(name)?.value())));
        // Other programs than this one give a node that has none a new phandle; the firmware does not.
        let has_phandle = path
            .and_then(|path| tree.find_node(&path))
            .is_some_and(has_phandle);
        if !has_phandle {
            return Err(DtboError::MissingSymbol(name.to_owned()));
        }
    }
    OverlayApplier::new(&mut tree)
        .apply_overlay_tree(overlay)
        .map_err(|error| DtboError::Apply(error.to_string()))?;
    Ok(tree)
}

fn changes(base: &DeviceTree, other: &DeviceTree) -> Result<Vec<Change>, DtboError> {
    let mut changes = Vec::new();
    compare(&base.root, &other.root, "", &mut changes)?;
    Ok(changes)
}

fn compare(
    base: &DeviceTreeNode,
    other: &DeviceTreeNode,
    path: &str,
    changes: &mut Vec<Change>,
) -> Result<(), DtboError> {
    let shown = if path.is_empty() { "/" } else { path };
    let value = |node: &DeviceTreeNode, name: &str| {
        let property = node.property(name);
        property.map(|property| property.value().to_vec())
    };
    for name in PHANDLE_PROPS {
        if value(base, name) != value(other, name) {
            return Err(DtboError::Phandle(shown.to_owned()));
        }
    }
    if let Some(gone) = base
        .properties()
        .find(|property| other.property(property.name()).is_none())
    {
        let name = gone.name();
        return Err(DtboError::Gone(format!("property {name} of {shown}")));
    }
    let mut content = DeviceTreeNode::new_unchecked(CONTENT);
    for property in other.properties() {
        if value(base, property.name()).as_deref() != Some(property.value()) {
            content.add_property(property.clone());
        }
    }
    for child in base.children().filter(|child| is_compared(child, path)) {
        let path = format!("{path}/{}", child.name());
        let Some(counterpart) = other.child(child.name()) else {
            return Err(DtboError::Gone(format!("node {path}")));
        };
        compare(child, counterpart, &path, changes)?;
    }
    for child in other.children().filter(|child| is_compared(child, path)) {
        if base.child(child.name()).is_none() {
            if has_phandle_within(child) {
                return Err(DtboError::Phandle(format!("{path}/{}", child.name())));
            }
            content.add_child(child.clone());
        }
    }
    if content.properties().next().is_some() || content.children().next().is_some() {
        changes.push(Change {
            path: shown.to_owned(),
            content,
        });
    }
    Ok(())
}

fn is_compared(child: &DeviceTreeNode, path_of_parent: &str) -> bool {
    !(path_of_parent.is_empty() && child.name() == NODE_SYMBOLS)
}

/// The base tree's name for a node to which a phandle leads.
fn symbol_of(base: &DeviceTree, path: &str) -> Option<String> {
    base.find_node(path).filter(|node| has_phandle(node))?;
    let symbols = base.root.child(NODE_SYMBOLS)?;
    let mut symbols = symbols.properties();
    let symbol = symbols.find(|symbol| text(symbol.value()) == path)?;
    Some(symbol.name().to_owned())
}

fn has_phandle(node: &DeviceTreeNode) -> bool {
    PHANDLE_PROPS
        .iter()
        .any(|name| node.property(name).is_some())
}

fn has_phandle_within(node: &DeviceTreeNode) -> bool {
    has_phandle(node) || node.children().any(has_phandle_within)
}

/// The paths of all nodes that have a `compatible`, with it.
fn devices(tree: &DeviceTree) -> BTreeMap<String, Vec<String>> {
    fn collect(node: &DeviceTreeNode, path: &str, devices: &mut BTreeMap<String, Vec<String>>) {
        let entries = compatible(node);
        if !entries.is_empty() {
            devices.insert(path.to_owned(), entries);
        }
        for child in node.children() {
            collect(child, &format!("{path}/{}", child.name()), devices);
        }
    }
    let mut devices = BTreeMap::new();
    collect(&tree.root, "", &mut devices);
    devices
}

/// The entries of a node's `compatible`.
fn compatible(node: &DeviceTreeNode) -> Vec<String> {
    let value = node
        .property("compatible")
        .map(|property| property.value().to_vec());
    let value = value.unwrap_or_default();
    let entries = value.split(|byte| *byte == 0);
    entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8_lossy(entry).into_owned())
        .collect()
}

/// A value that is one string.
fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

fn property(name: &str, value: impl ToPropertyValue) -> DeviceTreeProperty {
    DeviceTreeProperty::new_unchecked(name, value)
}

fn read(what: &'static str, bytes: &[u8]) -> Result<DeviceTree, DtboError> {
    let fdt = Fdt::new(bytes).map_err(|error| DtboError::NotADeviceTree {
        what,
        why: error.to_string(),
    })?;
    Ok(DeviceTree::from_fdt(&fdt))
}
