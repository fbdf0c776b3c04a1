//! The processor's unique number, from which a node without a MAC address makes one.

use serde::Deserialize;

const LENGTH: usize = 16;

/// Where the processor's unique number is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum CpuId {
    /// In memory that was programmed once.
    Memory {
        /// The device under `/sys/bus/nvmem/devices` is called this, followed by a number.
        nvmem: String,
        /// Offset of its 16 bytes there.
        offset: u64,
    },
    /// In the device tree, where the firmware puts it as 16 hex digits: the bytes of this text count.
    DeviceTree {
        /// The property of the root node.
        property: String,
    },
}

impl CpuId {
    /// Whether this entry of `/sys/bus/nvmem/devices` holds it. The kernel gives each device there a number.
    #[must_use]
    pub fn is_in(&self, device: &str) -> bool {
        let Self::Memory { nvmem, .. } = self else {
            return false;
        };
        device
            .strip_prefix(nvmem)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The number, from the content of its place.
    #[must_use]
    pub fn read(&self, content: &[u8]) -> Option<[u8; LENGTH]> {
        let (number, empty) = match self {
            Self::Memory { offset, .. } => {
                let start = usize::try_from(*offset).ok()?;
                (content.get(start..)?.get(..LENGTH)?, [0, 0xff])
            }
            Self::DeviceTree { .. } => {
                let text = content.strip_suffix(b"\0").unwrap_or(content);
                let is_hex = text.iter().all(u8::is_ascii_hexdigit);
                (is_hex.then_some(text)?, [b'0', b'f'])
            }
        };
        let number: [u8; LENGTH] = number.try_into().ok()?;
        // What was never programmed does not identify a board: all such boards would be one node.
        let is_empty = empty.iter().any(|byte| number == [*byte; LENGTH]);
        (!is_empty).then_some(number)
    }

    /// Its place, as messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Memory { nvmem, .. } => format!("/sys/bus/nvmem/devices/{nvmem}*"),
            Self::DeviceTree { property } => format!("/proc/device-tree/{property}"),
        }
    }

    /// The names that board.toml gives it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Memory { nvmem, .. } => nvmem,
            Self::DeviceTree { property } => property,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otp() -> CpuId {
        CpuId::Memory {
            nvmem: "rockchip-otp".to_owned(),
            offset: 7,
        }
    }

    #[test]
    fn the_device_is_known_by_its_name_whatever_its_number() {
        assert!(otp().is_in("rockchip-otp0"));
        assert!(otp().is_in("rockchip-otp12"));
        assert!(!otp().is_in("rockchip-otp-x"));
        assert!(!otp().is_in("rmem0"));
    }

    #[test]
    fn the_number_is_read_at_its_offset() {
        let memory: Vec<u8> = (0..23).collect();
        let number: Vec<u8> = (7..23).collect();
        assert_eq!(otp().read(&memory).map(Vec::from), Some(number));
        assert_eq!(otp().read(&memory[..22]), None, "cut short");
        assert_eq!(otp().read(&[]), None);
    }

    #[test]
    fn memory_that_was_never_programmed_is_no_number() {
        assert_eq!(otp().read(&[0; 64]), None);
        assert_eq!(otp().read(&[0xff; 64]), None);
    }

    #[test]
    fn a_serial_number_of_the_device_tree_is_sixteen_digits_and_not_all_the_same_empty_one() {
        let serial = CpuId::DeviceTree {
            property: "serial-number".to_owned(),
        };
        let number = serial.read(b"a1b2c3d4e5f60718\0").expect("a number");
        assert_eq!(&number, b"a1b2c3d4e5f60718");
        for other in [
            &b"0000000000000000\0"[..],
            b"a1b2c3d4\0",
            b"",
            b"no hex digits at\0",
        ] {
            assert_eq!(serial.read(other), None);
        }
        assert!(!serial.is_in("serial-number0"));
    }
}
