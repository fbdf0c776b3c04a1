//! The partition table: GPT with a copy at the end of the disk and a protective MBR.

use std::fs::File;

use gptman::{GPT, GPTPartitionEntry};
use uuid::{Uuid, uuid};

use super::{Assembly, BOOT_SIZE, BOOT_START, ROOT_START};

/// What the Pi's firmware takes for a FAT partition; with an EFI type some versions do not start.
const BASIC_DATA: Uuid = uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");
/// The discoverable partition type of an arm64 root.
const ROOT_ARM64: Uuid = uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae");
/// U-Boot looks for its configuration on partitions with this attribute.
const LEGACY_BOOT: u64 = 1 << 2;

pub fn write(
    assembly: &Assembly<'_>,
    mut image: &File,
    root_size: u64,
) -> Result<(), gptman::Error> {
    let (identity, sector) = (assembly.identity, u64::from(assembly.sector_size));
    let mut table = GPT::new_from(&mut image, sector, identity.disk.to_bytes_le())?;
    let partition = |kind: Uuid, guid: Uuid, name: &str, start: u64, size: u64| GPTPartitionEntry {
        partition_type_guid: kind.to_bytes_le(),
        unique_partition_guid: guid.to_bytes_le(),
        starting_lba: start / sector,
        ending_lba: (start + size) / sector - 1,
        attribute_bits: 0,
        partition_name: name.into(),
    };
    table[1] = partition(BASIC_DATA, identity.boot, "GILDBOOT", BOOT_START, BOOT_SIZE);
    table[1].attribute_bits = LEGACY_BOOT;
    table[2] = partition(
        ROOT_ARM64,
        identity.root,
        "gild-root",
        ROOT_START,
        root_size,
    );
    GPT::write_protective_mbr_into(&mut image, sector)?;
    table.write_into(&mut image)?;
    Ok(())
}
