//! The processor's unique number, from which a node without a MAC address makes one.

use serde::Deserialize;

const LENGTH: usize = 16;

/// Where the processor's unique number is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuId {
    /// The device under `/sys/bus/nvmem/devices` is called this, followed by a number.
    pub nvmem: String,
    /// Offset of its 16 bytes there.
    pub offset: u64,
}

impl CpuId {
    /// Whether this entry of `/sys/bus/nvmem/devices` holds it. The kernel gives each device there a number.
    #[must_use]
    pub fn is_in(&self, device: &str) -> bool {
        device
            .strip_prefix(&self.nvmem)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The number, from that device's memory.
    #[must_use]
    pub fn read(&self, memory: &[u8]) -> Option<[u8; LENGTH]> {
        let start = usize::try_from(self.offset).ok()?;
        let number: [u8; LENGTH] = memory.get(start..)?.get(..LENGTH)?.try_into().ok()?;
        // Memory that was never programmed does not identify a board: all such boards would be one node.
        (number != [0; LENGTH] && number != [0xff; LENGTH]).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otp() -> CpuId {
        CpuId {
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
}
