//! What an NVMe disk reports about its health.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::sys;

/// NVM Express Base Specification, "Get Log Page": the identifier of "SMART / Health Information".
const IDENTIFIER: u8 = 0x02;

/// What counts of the log page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smart {
    /// The disk's own warnings, a bit each.
    pub critical_warning: u8,
    /// Temperature of the whole disk, kelvin; 0 if it is not reported.
    pub kelvin: u16,
    /// What is left of the spare blocks, percent.
    pub spare: u8,
    /// Below this the disk warns, percent.
    pub spare_threshold: u8,
    /// How much of its life is used, percent; it may be more than all.
    pub used: u8,
}

impl Smart {
    /// Spare blocks are below the threshold.
    pub const SPARE: u8 = 1 << 0;
    /// It is too warm or too cold.
    pub const TEMPERATURE: u8 = 1 << 1;
    /// It is not reliable any more.
    pub const UNRELIABLE: u8 = 1 << 2;
    /// It takes no writes any more.
    pub const READ_ONLY: u8 = 1 << 3;
    /// What protects its memory against a power cut has failed.
    pub const BACKUP: u8 = 1 << 4;

    /// Asks the disk behind a namespace's or a controller's device.
    pub fn read(device: &Path) -> io::Result<Self> {
        let mut log = [0; 512];
        sys::nvme_log(&File::open(device)?, IDENTIFIER, &mut log)?;
        Ok(Self::parse(&log))
    }

    /// Reads the log page.
    #[must_use]
    pub fn parse(log: &[u8; 512]) -> Self {
        Self {
            critical_warning: log[0],
            kelvin: u16::from_le_bytes([log[1], log[2]]),
            spare: log[3],
            spare_threshold: log[4],
            used: log[5],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are laid out as figure "SMART / Health Information Log Page" of the NVM Express Base Specification 2.0 has them.
    #[test]
    fn the_fields_are_where_the_specification_has_them() {
        let mut log = [0xee; 512];
        // Critical Warning; Composite Temperature; Available Spare; Available Spare Threshold; Percentage Used.
        log[..6].copy_from_slice(&[0b0000_1001, 0x43, 0x01, 9, 10, 104]);
        let smart = Smart::parse(&log);
        let expected = Smart {
            critical_warning: Smart::SPARE | Smart::READ_ONLY,
            kelvin: 323,
            spare: 9,
            spare_threshold: 10,
            used: 104,
        };
        assert_eq!(smart, expected);
    }

    #[test]
    fn what_is_not_an_nvme_disk_does_not_answer() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        Smart::read(file.path()).expect_err("a file takes no commands");
    }
}
