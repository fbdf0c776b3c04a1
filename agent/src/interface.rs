//! Network interfaces, as sysfs describes them.

use std::fs;
use std::path::Path;

use gild_boards::CpuId;

use crate::mac::Mac;

const NETWORK: &str = "/sys/class/net";
const NVMEM: &str = "/sys/bus/nvmem/devices";
/// `ARPHRD_ETHER`.
const ETHERNET: &str = "1";
/// `NET_ADDR_RANDOM`: the driver found no address in the chip and made one up, another one at each start.
const RANDOM: &str = "1";

/// A wired interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
}

impl Interface {
    /// All wired interfaces with hardware behind them, in the order the kernel found them.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = fs::read_dir(NETWORK)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| is_wired(&entry.path()))
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let index = read(&entry.path().join("ifindex"))?.parse().ok()?;
                Some(Self { index, name })
            })
            .collect();
        all.sort();
        all
    }

    /// Its present address.
    pub fn mac(&self) -> Option<Mac> {
        Mac::parse(&self.attribute("address")?)
    }

    /// Whether its address will be another one after the next start.
    pub fn has_random_mac(&self) -> bool {
        self.attribute("addr_assign_type").as_deref() == Some(RANDOM)
    }

    /// Whether a cable connects it to something that is switched on. Unknown while it is down.
    pub fn has_carrier(&self) -> bool {
        self.attribute("carrier").as_deref() == Some("1")
    }

    /// How often the carrier came or went.
    pub fn carrier_changes(&self) -> Option<u64> {
        self.attribute("carrier_changes")?.parse().ok()
    }

    fn attribute(&self, name: &str) -> Option<String> {
        read(&Path::new(NETWORK).join(&self.name).join(name))
    }
}

fn is_wired(interface: &Path) -> bool {
    read(&interface.join("type")).as_deref() == Some(ETHERNET)
        && interface.join("device").exists()
        && !interface.join("wireless").exists()
        && !interface.join("phy80211").exists()
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The processor's unique number, where the board keeps one.
pub fn cpu_id(place: &CpuId) -> Option<[u8; 16]> {
    let device = fs::read_dir(NVMEM).ok()?.flatten().find(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| place.is_in(name))
    })?;
    place.read(&fs::read(device.path().join("nvmem")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_bridges_and_radios_are_not_wired_interfaces() {
        let root = tempfile::tempdir().expect("a directory");
        let make = |name: &str, kind: &str, entries: &[&str]| {
            let path = root.path().join(name);
            fs::create_dir(&path).expect("an interface");
            fs::write(path.join("type"), format!("{kind}\n")).expect("its type");
            for entry in entries {
                fs::create_dir(path.join(entry)).expect("an entry");
            }
            path
        };
        assert!(is_wired(&make("eth0", "1", &["device"])));
        assert!(!is_wired(&make("lo", "772", &[])));
        assert!(!is_wired(&make("br0", "1", &[])));
        assert!(!is_wired(&make(
            "wlan0",
            "1",
            &["device", "phy80211", "wireless"]
        )));
    }
}
