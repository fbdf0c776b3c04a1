//! MAC addresses: a node's identity depends on them.

use std::fmt;

use sha2::{Digest, Sha256};

/// A MAC address, shown with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads the form with colons, as in sysfs.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        hex::decode_to_slice(text.trim().replace(':', ""), &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads what a person writes: as boxes, switches and other systems show it, with hyphens too.
    #[must_use]
    pub fn of_person(text: &str) -> Option<Self> {
        Self::parse(&text.replace('-', ":"))
    }

    /// Whether an interface can have it: it is not a group's, as broadcast is, and not all zero.
    #[must_use]
    pub fn is_of_one_interface(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// The twelve digits without separators, for file names.
    #[must_use]
    pub fn digits(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// A stable address for a node whose Ethernet chip has none, for the given interface (0 is the first). It is made from the
/// processor's unique number.
///
/// It is the rule U-Boot follows on Rockchip processors, so that U-Boot, the agent and the golden image agree on who
/// the node is: the first six bytes of the SHA-256 of the number's lower-case hex digits, marked as locally
/// administered and unicast, the interface's index in the last byte.
#[must_use]
pub fn from_cpuid(cpu_id: &[u8; 16], interface_index: u8) -> [u8; 6] {
    let digest = Sha256::digest(hex::encode(cpu_id));
    let mut mac = [0; 6];
    mac.copy_from_slice(&digest[..6]);
    mac[0] = (mac[0] & 0xfe) | 0x02;
    mac[5] ^= interface_index;
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU_ID: [u8; 16] = *b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";

    #[test]
    fn what_sysfs_says_is_read_and_shown() {
        let mac = Mac::parse("d8:3a:dd:12:34:56\n").expect("an address");
        assert_eq!(mac.to_string(), "d8:3a:dd:12:34:56");
        assert_eq!(mac.digits(), "d83add123456");
        assert_eq!(Mac::parse("d8:3a:dd:12:34"), None);
        assert_eq!(Mac::parse(""), None);
    }

    #[test]
    fn a_person_may_write_hyphens_and_a_program_may_not() {
        let mac = Mac::parse("d8:3a:dd:12:34:56");
        for text in ["d8:3a:dd:12:34:56", "D8-3A-DD-12-34-56", "d83add123456"] {
            assert_eq!(Mac::of_person(text), mac, "{text}");
        }
        assert_eq!(Mac::of_person("d8-3a-dd-12-34"), None);
        assert_eq!(Mac::parse("d8-3a-dd-12-34-56"), None);
    }

    #[test]
    fn an_interface_has_no_address_of_a_group() {
        let is = |text| Mac::parse(text).expect("an address").is_of_one_interface();
        assert!(is("d8:3a:dd:12:34:56") && is("02:00:00:00:00:01"));
        for text in [
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn the_address_is_the_one_u_boot_would_give() {
        assert_eq!(from_cpuid(&CPU_ID, 0), [0x3e, 0x30, 0x52, 0xfe, 0x83, 0x1a]);
        assert_eq!(from_cpuid(&CPU_ID, 1), [0x3e, 0x30, 0x52, 0xfe, 0x83, 0x1b]);
    }

    #[test]
    fn every_address_is_local_and_unicast() {
        for first in 0..=255 {
            let mut cpu_id = CPU_ID;
            cpu_id[0] = first;
            assert_eq!(from_cpuid(&cpu_id, 0)[0] & 0x03, 0x02, "{first}");
        }
    }
}
