//! The NVMe disks of a running board: plugged in, broken, slowed down and watched.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Nvme, VirtualBoard};

/// A sector in the root file system's data, 96 MiB into the image.
const SECTOR: u64 = 96 * 2048;

/// An error of a disk, as an element of blkdebug's `inject-error`. Every request of this kind, `read` or `write`, that touches one sector
/// of the image fails.
#[must_use]
pub fn failing(kind: &str) -> Value {
    json!({ "event": "none", "iotype": kind, "errno": 5, "sector": SECTOR, "once": false })
}

/// Bytes a disk has taken and given, as QEMU counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCounters {
    /// Bytes the guest read.
    pub read: u64,
    /// Bytes the guest wrote, zeroing by write requests included.
    pub written: u64,
    /// Bytes the guest discarded.
    pub discarded: u64,
}

impl VirtualBoard {
    /// Gives an NVMe these errors (elements of blkdebug's `inject-error`), from now on.
    pub fn break_disk(&mut self, index: usize, errors: &[Value]) -> Result<()> {
        let debug = json!({
            "driver": "blkdebug", "node-name": format!("nvme{index}-broken"), "image": format!("nvme{index}-file"),
            "inject-error": errors,
        });
        self.qmp.execute("blockdev-add", debug)?;
        self.rewire(index, &format!("nvme{index}-broken"))
    }

    /// Takes the errors of [`VirtualBoard::break_disk`] away again.
    pub fn heal_disk(&mut self, index: usize) -> Result<()> {
        self.rewire(index, &format!("nvme{index}-file"))?;
        self.qmp.execute(
            "blockdev-del",
            json!({ "node-name": format!("nvme{index}-broken") }),
        )?;
        Ok(())
    }

    /// Makes an NVMe stop answering, with data or with errors.
    pub fn freeze_disk(&mut self, index: usize) -> Result<()> {
        self.slow_disk_down(index, 1)
    }

    /// Limits an NVMe to this many bytes a second, from now on.
    pub fn slow_disk_down(&mut self, index: usize, bytes_per_second: u64) -> Result<()> {
        let mut limits = json!({ "id": format!("nvme{index}-slot"), "bps": bytes_per_second });
        for unlimited in ["bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
            limits[unlimited] = json!(0);
        }
        self.qmp.execute("block_set_io_throttle", limits)?;
        Ok(())
    }

    /// Takes away the limit that an NVMe has had from the start.
    pub fn let_disk_run(&mut self, index: usize) -> Result<()> {
        let group = format!("/objects/nvme{index}-limit");
        let limits = json!({ "path": group, "property": "limits", "value": { "bps-total": 0 } });
        self.qmp.execute("qom-set", limits)?;
        Ok(())
    }

    fn rewire(&mut self, index: usize, below: &str) -> Result<()> {
        let raw = json!({ "driver": "raw", "node-name": format!("nvme{index}"), "file": below, "discard": "unmap" });
        self.qmp
            .execute("blockdev-reopen", json!({ "options": [raw] }))?;
        Ok(())
    }

    /// Plugs in an NVMe disk while the board runs.
    pub fn plug_nvme(&mut self, index: usize, nvme: &Nvme) -> Result<()> {
        let node = format!("nvme{index}");
        let file = json!({
            "driver": "file", "node-name": format!("{node}-file"), "filename": nvme.file, "discard": "unmap",
        });
        self.qmp.execute("blockdev-add", file)?;
        let raw = json!({ "driver": "raw", "node-name": node, "file": format!("{node}-file"), "discard": "unmap" });
        self.qmp.execute("blockdev-add", raw)?;
        let device = json!({
            "driver": "nvme", "id": format!("{node}-slot"), "drive": node, "serial": nvme.serial, "bus": "spare-slot",
        });
        self.qmp.execute("device_add", device)?;
        Ok(())
    }

    /// What an NVMe has done so far.
    pub fn disk_counters(&mut self, index: usize) -> Result<DiskCounters> {
        let answer = self.qmp.execute("query-blockstats", json!({}))?;
        // The counters are in the node that the disk uses: the disk itself, or the throttle above it.
        let nodes = [format!("nvme{index}"), format!("nvme{index}-slow")];
        let disks = answer.as_array().context("query-blockstats gives a list")?;
        let disk = disks
            .iter()
            .find(|disk| nodes.iter().any(|node| disk["node-name"] == **node))
            .with_context(|| format!("no disk {} in {answer}", nodes[0]))?;
        let count = |name: &str| disk["stats"][name].as_u64().unwrap_or(0);
        Ok(DiskCounters {
            read: count("rd_bytes"),
            written: count("wr_bytes"),
            discarded: count("unmap_bytes"),
        })
    }
}
