//! The one place that touches the `blkid` crate.
//!
//! Its lists and partitions point into memory that the prober owns, and carry no lifetime: they are dangling as soon as
//! the prober is dropped. So each function here makes its prober, copies everything out, and returns owned data only.

use std::{fs::File, io, os::fd::AsRawFd};

use blkid::{
    BlkIdError, SuperblocksFlags,
    part_table::PartitionTableType,
    partition::Partition,
    prober::{ProbeState, Prober},
};

use crate::{Filesystem, PartitionInfo, PartitionTable};

/// libblkid counts in these whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// The bytes to look at.
pub struct Area<'a> {
    pub file: &'a File,
    pub offset: u64,
    pub length: u64,
}

/// Why libblkid gave no answer.
pub enum ReadError {
    Read(io::Error),
    Ambiguous,
}

impl From<BlkIdError> for ReadError {
    fn from(error: BlkIdError) -> Self {
        Self::Read(match error {
            BlkIdError::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}

pub fn partition_table(
    area: &Area,
    sector_size: Option<u32>,
) -> Result<Option<PartitionTable>, ReadError> {
    let Some(prober) = prober(area)? else {
        return Ok(None);
    };
    if let Some(bytes) = sector_size {
        prober.set_sector_size(bytes)?;
    }
    prober.enable_superblocks(false)?;
    prober.enable_partitions(true)?;
    // `part_list` says the same for "no table" and "cannot read"; the probe distinguishes them.
    if !detected(&prober)? {
        return Ok(None);
    }
    let list = prober.part_list()?;
    let Some(table) = list.get_table() else {
        return Ok(None);
    };
    let partitions = list
        .get_partitions()?
        .iter()
        .map(copy_partition)
        .collect::<Result<_, _>>()?;
    Ok(Some(PartitionTable {
        kind: table.get_type().map(table_kind).unwrap_or_default(),
        id: table.get_id().unwrap_or_default().to_lowercase(),
        partitions,
    }))
}

pub fn filesystem(area: &Area) -> Result<Option<Filesystem>, ReadError> {
    let Some(prober) = prober(area)? else {
        return Ok(None);
    };
    prober.set_superblocks_flags(
        SuperblocksFlags::TYPE | SuperblocksFlags::LABEL | SuperblocksFlags::UUID,
    )?;
    if !detected(&prober)? {
        return Ok(None);
    }
    let kind = value(&prober, "TYPE")?;
    if kind.is_empty() {
        return Ok(None);
    }
    Ok(Some(Filesystem {
        kind,
        label: value(&prober, "LABEL")?,
        uuid: value(&prober, "UUID")?,
    }))
}

/// `None` for an empty area: a length of zero means "all of it" to libblkid.
fn prober(area: &Area) -> Result<Option<Prober>, ReadError> {
    if area.length == 0 {
        return Ok(None);
    }
    let signed = |number: u64| {
        i64::try_from(number).map_err(|error| ReadError::Read(io::Error::other(error)))
    };
    let mut prober = Prober::new()?;
    prober.set_device(
        area.file.as_raw_fd(),
        signed(area.offset)?,
        Some(signed(area.length)?),
    )?;
    Ok(Some(prober))
}

fn detected(prober: &Prober) -> Result<bool, ReadError> {
    match prober.do_safe_probe() {
        Ok(ProbeState::Success) => Ok(true),
        Ok(ProbeState::NothingDetected | ProbeState::Done) => Ok(false),
        Ok(ProbeState::Ambivalent) => Err(ReadError::Ambiguous),
        // libblkid 2.41 gives one answer for a failed read and for an ambiguous disk, with a stale errno for the latter.
        Err(_) if signatures(prober)? > 1 => Err(ReadError::Ambiguous),
        Err(error) => Err(error.into()),
    }
}

fn signatures(prober: &Prober) -> Result<usize, ReadError> {
    prober.reset_probe();
    let mut found = 0;
    while prober.do_probe()? == ProbeState::Success {
        found += 1;
    }
    Ok(found)
}

/// Empty when the value is absent or not UTF-8. Asks first: looking up an absent value is an error with a stale errno.
fn value(prober: &Prober, name: &str) -> Result<String, ReadError> {
    if !prober.has_value(name)? {
        return Ok(String::new());
    }
    match prober.lookup_value(name) {
        Err(BlkIdError::Utf8(_)) => Ok(String::new()),
        other => Ok(other?),
    }
}

fn copy_partition(partition: &Partition) -> Result<PartitionInfo, ReadError> {
    let unsigned = |number: i64| {
        u64::try_from(number).map_err(|error| ReadError::Read(io::Error::other(error)))
    };
    let bytes = |sectors: i64| {
        unsigned(sectors)?.checked_mul(SECTOR).ok_or_else(|| {
            ReadError::Read(io::Error::other(
                "the partition table counts beyond 2^64 bytes",
            ))
        })
    };
    Ok(PartitionInfo {
        number: u32::try_from(partition.partno()?)
            .map_err(io::Error::other)
            .map_err(ReadError::Read)?,
        start: bytes(partition.start()?)?,
        length: bytes(partition.size()?)?,
        kind: partition
            .typ_string()
            .unwrap_or_else(|| format!("{:#x}", partition.typ()))
            .to_lowercase(),
        uuid: partition.uuid().unwrap_or_default().to_lowercase(),
        name: partition.name().unwrap_or_default(),
    })
}

fn table_kind(kind: PartitionTableType) -> String {
    match kind {
        PartitionTableType::Unknown(name) => name,
        known => known.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_cannot_be_read_is_an_error_and_not_an_empty_disk() {
        // The read error is made by a handle that is open for writing only: each read fails with EBADF.
        let directory = tempfile::tempdir().expect("a scratch folder");
        let file = File::create(directory.path().join("disk.img")).expect("created");
        file.set_len(1 << 20).expect("sized");
        let area = Area {
            file: &file,
            offset: 0,
            length: 1 << 20,
        };
        for error in [partition_table(&area, None).err(), filesystem(&area).err()] {
            let Some(ReadError::Read(error)) = error else {
                panic!("no read error")
            };
            assert_eq!(
                error.raw_os_error(),
                Some(9),
                "EBADF, not a stale errno: {error}"
            );
        }
    }
}
