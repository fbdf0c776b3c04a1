//! Wired network interfaces, as sysfs describes them.
//!
//! A node is known by the MAC addresses that are found here. The agent and the golden image look in the same way, or a
//! node would be another one after its flash.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gild_boards::mac::{Mac, from_cpuid};
use gild_boards::{Board, CpuId};

const NETWORK: &str = "sys/class/net";
const NVMEM: &str = "sys/bus/nvmem/devices";
const DEVICE_TREE: &str = "proc/device-tree";
/// `ARPHRD_ETHER`.
const ETHERNET: &str = "1";
/// `NET_ADDR_RANDOM`: the driver found no address in the chip and made up another one at each start.
const RANDOM: &str = "1";

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    path: PathBuf,
}

impl Interface {
    /// All wired interfaces with hardware behind them, in the order the kernel found them.
    #[must_use]
    pub fn wired(root: &Path) -> Vec<Self> {
        let mut all: Vec<Self> = fs::read_dir(root.join(NETWORK))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::at(entry.path()))
            .filter(Self::is_wired)
            .collect();
        all.sort();
        all
    }

    /// The interface of this name, of whatever kind.
    #[must_use]
    pub fn named(root: &Path, name: &str) -> Option<Self> {
        Self::at(root.join(NETWORK).join(name))
    }

    /// Its present address.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        Mac::parse(&self.attribute("address")?)
    }

    /// Whether its address will be another one after the next start.
    #[must_use]
    pub fn has_random_mac(&self) -> bool {
        self.attribute("addr_assign_type").as_deref() == Some(RANDOM)
    }

    /// Whether a cable connects it to something that is switched on. Unknown while it is down.
    #[must_use]
    pub fn has_carrier(&self) -> bool {
        self.attribute("carrier").as_deref() == Some("1")
    }

    /// How often the carrier came or went.
    #[must_use]
    pub fn carrier_changes(&self) -> Option<u64> {
        self.attribute("carrier_changes")?.parse().ok()
    }

    /// How many packets its driver has sent. It does not grow while the chip does not send them.
    #[must_use]
    pub fn packets_sent(&self) -> Option<u64> {
        self.attribute("statistics/tx_packets")?.parse().ok()
    }

    /// The longest packet that it sends, bytes.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.attribute("mtu")?.parse().ok()
    }

    fn at(path: PathBuf) -> Option<Self> {
        Some(Self {
            index: read(&path.join("ifindex"))?.parse().ok()?,
            name: path.file_name()?.to_str()?.to_owned(),
            path,
        })
    }

    fn is_wired(&self) -> bool {
        self.attribute("type").as_deref() == Some(ETHERNET)
            && self.path.join("device").exists()
            && !self.path.join("wireless").exists()
            && !self.path.join("phy80211").exists()
    }

    fn attribute(&self, name: &str) -> Option<String> {
        read(&self.path.join(name))
    }
}

/// Lasting addresses for the interfaces whose own addresses change at the next start. They are made from the board's unique
/// number, in order, without the addresses that another interface has. An interface with an address in its hardware does not
/// count, so that plugging in an adapter does not make this board another node.
///
/// `None` if the board has no such number, or does not show it yet.
#[must_use]
pub fn lasting_macs<'a>(
    root: &Path,
    board: &Board,
    wired: &'a [Interface],
) -> Option<BTreeMap<&'a Interface, Mac>> {
    Some(macs_of(wired, &unique_number(root, board)?))
}

fn macs_of<'a>(wired: &'a [Interface], cpu_id: &[u8; 16]) -> BTreeMap<&'a Interface, Mac> {
    // Another process may be setting them at this moment: an address counts as taken only if it is not random.
    let (random, others): (Vec<_>, Vec<_>) = wired
        .iter()
        .partition(|interface| interface.has_random_mac());
    let taken: Vec<Mac> = others.into_iter().filter_map(Interface::mac).collect();
    let free = (0..=u8::MAX)
        .map(|number| Mac(from_cpuid(cpu_id, number)))
        .filter(|mac| !taken.contains(mac));
    random.into_iter().zip(free).collect()
}

/// The board's unique number, where it keeps one and shows it already.
#[must_use]
pub fn unique_number(root: &Path, board: &Board) -> Option<[u8; 16]> {
    let place = board.cpu_id.as_ref()?;
    let file = match place {
        CpuId::Memory { .. } => memory(root, place)?,
        CpuId::DeviceTree { property } => root.join(DEVICE_TREE).join(property),
    };
    place.read(&fs::read(file).ok()?)
}

fn memory(root: &Path, place: &CpuId) -> Option<PathBuf> {
    let mut devices = fs::read_dir(root.join(NVMEM)).ok()?.flatten();
    let device = devices.find(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| place.is_in(name))
    })?;
    Some(device.path().join("nvmem"))
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, name: &str, files: &[(&str, &str)], directories: &[&str]) {
        let path = root.join(NETWORK).join(name);
        fs::create_dir_all(&path).expect("an interface");
        for (file, content) in files {
            fs::write(path.join(file), format!("{content}\n")).expect("its file");
        }
        for directory in directories {
            fs::create_dir(path.join(directory)).expect("its directory");
        }
    }

    #[test]
    fn hardware_with_a_cable_is_wired_and_comes_in_the_kernel_s_order() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        make(
            root,
            "eth0",
            &[("ifindex", "10"), ("type", "1")],
            &["device"],
        );
        make(
            root,
            "eth1",
            &[("ifindex", "9"), ("type", "1")],
            &["device"],
        );
        make(root, "lo", &[("ifindex", "1"), ("type", "772")], &[]);
        make(root, "br0", &[("ifindex", "2"), ("type", "1")], &[]);
        let radio = ["device", "phy80211", "wireless"];
        make(root, "wlan0", &[("ifindex", "3"), ("type", "1")], &radio);
        let names: Vec<String> = Interface::wired(root)
            .into_iter()
            .map(|interface| interface.name)
            .collect();
        assert_eq!(names, ["eth1", "eth0"]);
        assert!(Interface::named(root, "br0").is_some());
        assert_eq!(Interface::named(root, "eth7"), None);
    }

    #[test]
    fn its_attributes_are_read() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let files = [
            ("ifindex", "2"),
            ("address", "d8:3a:dd:12:34:56"),
            ("addr_assign_type", "1"),
            ("carrier", "1"),
            ("carrier_changes", "5"),
        ];
        make(root, "eth0", &files, &[]);
        make(
            root,
            "eth1",
            &[("ifindex", "3"), ("addr_assign_type", "3")],
            &[],
        );
        let eth0 = Interface::named(root, "eth0").expect("an interface");
        assert_eq!(eth0.mac(), Mac::parse("d8:3a:dd:12:34:56"));
        assert!(eth0.has_random_mac() && eth0.has_carrier());
        assert_eq!(eth0.carrier_changes(), Some(5));
        let eth1 = Interface::named(root, "eth1").expect("an interface");
        assert_eq!(eth1.mac(), None);
        assert!(!eth1.has_random_mac() && !eth1.has_carrier());
    }

    #[test]
    fn only_interfaces_without_an_address_of_their_own_are_counted() {
        const NUMBER: [u8; 16] = [7; 16];
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let ethernet = |name: &str, index: &str, mac: &str, assigned: &str| {
            let files = [
                ("ifindex", index),
                ("type", "1"),
                ("address", mac),
                ("addr_assign_type", assigned),
            ];
            make(root, name, &files, &["device"]);
        };
        let lasting = || -> Vec<(String, Mac)> {
            macs_of(&Interface::wired(root), &NUMBER)
                .into_iter()
                .map(|(interface, mac)| (interface.name.clone(), mac))
                .collect()
        };
        let [first, second] = [0, 1].map(|number| Mac(from_cpuid(&NUMBER, number)));
        // An adapter that was found before the board's own chips.
        ethernet("usb0", "2", "00:e0:4c:00:00:01", "0");
        ethernet("eth0", "3", "02:00:00:00:00:01", RANDOM);
        ethernet("eth1", "4", "02:00:00:00:00:02", RANDOM);
        let both = [("eth0".to_owned(), first), ("eth1".to_owned(), second)];
        assert_eq!(lasting(), both);
        // Another process is just giving the first its address.
        fs::write(root.join(NETWORK).join("eth0/address"), first.to_string()).expect("its address");
        assert_eq!(lasting(), both);
        // The second was found after the first had got its address, or the first has it from U-Boot.
        fs::remove_dir_all(root.join(NETWORK).join("eth0")).expect("an interface");
        ethernet("eth0", "3", &first.to_string(), "3");
        assert_eq!(lasting(), both[1..]);
    }

    #[test]
    fn only_a_board_that_shows_its_number_gives_addresses_that_last() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let files = [
            ("ifindex", "2"),
            ("type", "1"),
            ("addr_assign_type", RANDOM),
        ];
        make(root, "eth0", &files, &["device"]);
        let wired = Interface::wired(root);
        let macs = |board: &str| {
            let board = gild_boards::by_name(board).expect("a board");
            lasting_macs(root, board, &wired).map(|macs| macs.into_values().collect::<Vec<_>>())
        };
        assert_eq!(macs("rock5b"), None, "its driver is not there yet");
        let device = root.join(NVMEM).join("rockchip-otp0");
        fs::create_dir_all(&device).expect("a device");
        fs::write(device.join("nvmem"), [7; 64]).expect("its memory");
        assert_eq!(macs("rock5b"), Some(vec![Mac(from_cpuid(&[7; 16], 0))]));
        assert_eq!(macs("rpi5"), None, "the firmware gave it none");
        let tree = root.join(DEVICE_TREE);
        fs::create_dir_all(&tree).expect("a device tree");
        fs::write(tree.join("serial-number"), "a1b2c3d4e5f60718\0").expect("its number");
        let mac = Mac(from_cpuid(b"a1b2c3d4e5f60718", 0));
        assert_eq!(macs("rpi5"), Some(vec![mac]));
    }

    #[test]
    fn the_processor_s_number_is_read_where_the_board_keeps_it() {
        let root = tempfile::tempdir().expect("a directory");
        let device = root.path().join(NVMEM).join("rockchip-otp3");
        fs::create_dir_all(&device).expect("a device");
        fs::write(device.join("nvmem"), (0..64).collect::<Vec<u8>>()).expect("its memory");
        let number = |nvmem: &str| {
            let place = CpuId::Memory {
                nvmem: nvmem.to_owned(),
                offset: 7,
            };
            let board = Board {
                cpu_id: Some(place),
                ..gild_boards::by_name("rock5b").expect("a board").clone()
            };
            unique_number(root.path(), &board).map(Vec::from)
        };
        assert_eq!(number("rockchip-otp"), Some((7..23).collect()));
        assert_eq!(number("rmem"), None, "no such memory");
    }
}
