//! Where things lie on the card, and the partition table that says so.
//!
//! | sector | what |
//! | --- | --- |
//! | 0 | MBR with one entry |
//! | 64 | U-Boot for the Rock 5B, if there is one; the Raspberry Pi does not look there |
//! | 32768 | FAT32, labelled `GILD`, for both boards |
//!
//! An MBR and not a GPT: an MBR is known to work with the Raspberry Pi's boot ROM, which reads `recovery.bin`.

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where the one partition begins.
pub const FAT_AT: u64 = FAT_SECTOR as u64 * SECTOR;
/// Length of the partition: room for the packed boot flash backups of some hundred boards.
pub const FAT_LENGTH: u64 = FAT_SECTORS as u64 * SECTOR;
/// Length of the whole card image.
pub const CARD_LENGTH: u64 = FAT_AT + FAT_LENGTH;

const FAT_SECTOR: u32 = 32768;
/// 512 MiB.
const FAT_SECTORS: u32 = 1 << 20;
const ENTRY_AT: usize = 446;
const ENTRY_LENGTH: usize = 16;
const DISK_ID_AT: usize = 440;
const FAT32_LBA: u8 = 0x0c;
const ACTIVE: u8 = 0x80;
/// Cylinder, head and sector of what lies beyond their reach.
const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];

/// The part of a partition table that matters for the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's own number.
    pub disk_id: u32,
    /// First byte of the partition.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Why a sector is not the card's partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No MBR at all.
    #[error("it has no MBR")]
    NoTable,
    /// Other partitions than the card's.
    #[error("its MBR does not have one active FAT32 partition (type 0x0c) and nothing else")]
    OtherPartitions,
}

/// The MBR.
#[must_use]
pub fn table(disk_id: u32) -> [u8; 512] {
    let mut mbr = [0; 512];
    mbr[DISK_ID_AT..DISK_ID_AT + 4].copy_from_slice(&disk_id.to_le_bytes());
    let entry = &mut mbr[ENTRY_AT..ENTRY_AT + ENTRY_LENGTH];
    entry[0] = ACTIVE;
    entry[1..4].copy_from_slice(&NO_CHS);
    entry[4] = FAT32_LBA;
    entry[5..8].copy_from_slice(&NO_CHS);
    entry[8..12].copy_from_slice(&FAT_SECTOR.to_le_bytes());
    entry[12..16].copy_from_slice(&FAT_SECTORS.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// Reads an MBR that has one FAT32 partition, wherever that begins.
pub fn read_table(sector: &[u8; 512]) -> Result<Table, TableError> {
    if sector[510..] != [0x55, 0xaa] {
        return Err(TableError::NoTable);
    }
    let word = |at: usize| {
        u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]])
    };
    let (first, others) = sector[ENTRY_AT..510].split_at(ENTRY_LENGTH);
    let is_one =
        first[0] == ACTIVE && first[4] == FAT32_LBA && others.iter().all(|byte| *byte == 0);
    if !is_one {
        return Err(TableError::OtherPartitions);
    }
    Ok(Table {
        disk_id: word(DISK_ID_AT),
        start: u64::from(word(ENTRY_AT + 8)) * SECTOR,
        length: u64::from(word(ENTRY_AT + 12)) * SECTOR,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_back_and_any_other_is_refused() {
        let mbr = table(0x1234_5678);
        let found = Table {
            disk_id: 0x1234_5678,
            start: FAT_AT,
            length: FAT_LENGTH,
        };
        assert_eq!(read_table(&mbr), Ok(found));
        for (at, byte, error) in [
            (510, 0, TableError::NoTable),
            (ENTRY_AT, 0, TableError::OtherPartitions),
            (ENTRY_AT + 4, 0x83, TableError::OtherPartitions),
            (
                ENTRY_AT + ENTRY_LENGTH + 4,
                0x0c,
                TableError::OtherPartitions,
            ),
        ] {
            let mut other = mbr;
            other[at] = byte;
            assert_eq!(read_table(&other), Err(error), "byte {at}");
        }
    }
}
