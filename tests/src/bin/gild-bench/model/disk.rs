//! The disk.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use gild_disk::{BlockDevice, Target, ZeroMethod};
use gild_format::manifest::Partition;

use super::board::Model;
use super::lane::Lane;

pub struct Disk {
    model: Model,
    file: BlockDevice,
    writes: Lane,
    reads: Lane,
    flushes: AtomicU64,
}

impl Disk {
    pub fn new(model: Model, file: BlockDevice) -> Self {
        Self {
            model,
            file,
            writes: Lane::new(),
            reads: Lane::new(),
            flushes: AtomicU64::new(0),
        }
    }

    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }
}

impl Target for Disk {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    fn sector_size(&self) -> u32 {
        self.file.sector_size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let lane = if self.model.is_shared {
            &self.writes
        } else {
            &self.reads
        };
        lane.spend(self.model.time(buffer.len(), self.model.read), || {
            self.file.read_at(buffer, offset)
        })
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.writes
            .spend(self.model.time(data.len(), self.model.write), || {
                self.file.write_at(data, offset)
            })
    }

    /// A command without data.
    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        self.file.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.writes
            .spend(self.model.flush * self.model.stretch, || self.file.flush())
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        self.file.reread_partition_table()
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        self.file.partition_table()
    }
}
