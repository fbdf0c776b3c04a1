//! A simulated disk with a volatile write cache. Its power can be cut at any operation, and it can be made to misbehave. The partition
//! table is read by the real libblkid.

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};

use gild_disk::{Target, ZeroMethod};
use gild_format::manifest::Partition;

use crate::image::Noise;

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Zeroing a range that covers this byte reports success and does nothing.
    LiesOnZero(u64),
    /// The same, and the first read that covers this byte fails.
    LiesOnZeroAndFailsReadOnce(u64),
    /// Writes that cover this byte flip one of its bits, this many times.
    FlipsOnWrite(u64, u32),
    /// Reads that cover this byte flip one of its bits, this many times.
    FlipsOnRead(u64, u32),
    /// Writes that cover this byte fail.
    FailsWrite(u64),
    /// Reads that cover this byte fail, this many times.
    FailsRead(u64, u32),
    /// Writes that cover this byte are acknowledged and dropped.
    DropsWrite(u64),
    /// Flushing fails.
    FailsFlush,
    /// The cache holds what was written, but the first flush puts something else for this byte on the medium.
    FlipsOnFlush(u64),
}

/// What becomes of the writes since the last flush when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// None reaches the medium.
    All,
    /// All of them reach it, and in addition a random half of the sectors of the operation in flight.
    Torn,
    /// Each sector of each write does or does not, at random.
    Random,
}

/// When the power goes.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// In the middle of the operation (write, zero or flush) with this number, from 0.
    pub operation: usize,
    pub loss: Loss,
    pub seed: u64,
}

/// An operation that changes the disk.
pub enum Operation {
    Write(Vec<u8>, u64),
    Zero(u64, u64),
    Discard(u64, u64),
    Flush,
}

#[derive(Default)]
struct Inner {
    /// What a read returns.
    seen: Vec<u8>,
    /// What survives a power cut; not kept if the power stays on.
    durable: Vec<u8>,
    /// Ranges written since the last flush.
    pending: Vec<(usize, Vec<u8>)>,
    record: Option<Vec<Operation>>,
    operations: usize,
    writes: usize,
    largest_write: usize,
    is_off: bool,
}

/// The content of a disk. While this exists, nothing else can use the disk.
pub struct Content<'a>(MutexGuard<'a, Inner>);

impl Deref for Content<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.seen
    }
}

/// The disk.
pub struct Disk {
    inner: Mutex<Inner>,
    size: u64,
    sector_size: u32,
    cut: Option<Cut>,
    defect: Mutex<Option<Defect>>,
    remembers: bool,
}

impl Disk {
    /// A disk with this content.
    pub fn new(content: Vec<u8>, sector_size: u32) -> Self {
        Self {
            size: content.len() as u64,
            sector_size,
            cut: None,
            defect: Mutex::new(None),
            remembers: false,
            inner: Mutex::new(Inner {
                seen: content,
                ..Inner::default()
            }),
        }
    }

    /// A disk full of the remains of other data.
    pub fn used(size: usize) -> Self {
        let mut content = vec![0; size];
        Noise(size as u64).fill(&mut content);
        Self::new(content, 512)
    }

    pub fn with_cut(self, cut: Cut) -> Self {
        let mut inner = self.lock();
        let Inner { seen, durable, .. } = &mut *inner;
        durable.clone_from(seen);
        drop(inner);
        Self {
            cut: Some(cut),
            ..self
        }
    }

    /// Makes the disk record what is done to it.
    pub fn that_records(self) -> Self {
        self.lock().record = Some(Vec::new());
        self
    }

    /// What was done to it.
    pub fn record(self) -> Vec<Operation> {
        let inner = self.inner.into_inner().expect("no test thread panicked");
        inner.record.expect("it records")
    }

    /// Repeats recorded operations on this disk, until the power goes.
    pub fn repeat(&self, record: &[Operation]) {
        let all_done = record.iter().try_for_each(|operation| match operation {
            Operation::Write(data, offset) => self.write(data.clone(), *offset),
            Operation::Zero(offset, length) => self.zero(*offset, *length).map(|_| ()),
            Operation::Discard(offset, length) => self.discard(*offset, *length),
            Operation::Flush => self.flush(),
        });
        all_done.expect_err("the power goes");
    }

    /// Makes a disk that cannot discard.
    pub fn that_remembers(self) -> Self {
        Self {
            remembers: true,
            ..self
        }
    }

    pub fn with_defect(self, defect: Defect) -> Self {
        Self {
            defect: Mutex::new(Some(defect)),
            ..self
        }
    }

    /// Writes, zeroings and flushes so far.
    pub fn operations(&self) -> usize {
        self.lock().operations
    }

    /// Writes and zeroings so far.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    pub fn largest_write(&self) -> usize {
        self.lock().largest_write
    }

    pub fn content(&self) -> Content<'_> {
        Content(self.lock())
    }

    /// Turns the power off and on again. The cut decides what the cache loses.
    pub fn reboot(self) -> Self {
        let inner = self.inner.into_inner().expect("no test thread panicked");
        let content = if inner.is_off {
            inner.durable
        } else {
            inner.seen
        };
        Self::new(content, self.sector_size)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test thread panicked")
    }

    /// Where in this range the defect strikes, if it does. A defect that strikes a limited number of times is counted down.
    fn strikes(&self, offset: u64, length: usize, wanted: fn(Defect) -> bool) -> Option<usize> {
        let mut defect = self.defect.lock().expect("no test thread panicked");
        let current = (*defect)?;
        let (byte, left) = match current {
            Defect::LiesOnZero(byte)
            | Defect::LiesOnZeroAndFailsReadOnce(byte)
            | Defect::FailsWrite(byte)
            | Defect::DropsWrite(byte) => (byte, None),
            Defect::FlipsOnWrite(byte, left)
            | Defect::FlipsOnRead(byte, left)
            | Defect::FailsRead(byte, left) => (byte, Some(left)),
            Defect::FailsFlush | Defect::FlipsOnFlush(_) => (0, None),
        };
        if !wanted(current) || !(offset..offset + length as u64).contains(&byte) {
            return None;
        }
        if let Some(left) = left {
            let left = left - 1;
            *defect = match current {
                _ if left == 0 => None,
                Defect::FlipsOnWrite(..) => Some(Defect::FlipsOnWrite(byte, left)),
                Defect::FlipsOnRead(..) => Some(Defect::FlipsOnRead(byte, left)),
                _ => Some(Defect::FailsRead(byte, left)),
            };
        }
        Some(usize::try_from(byte - offset).expect("a test disk is small"))
    }

    /// Counts an operation; `Err` once the power is off.
    fn operate(&self, inner: &mut Inner, write: Option<(usize, Vec<u8>)>) -> io::Result<()> {
        if inner.is_off {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        let number = inner.operations;
        inner.operations += 1;
        let cut = self.cut.filter(|cut| cut.operation == number);
        let is_write = write.is_some();
        if let Some((offset, data)) = write {
            inner.writes += 1;
            inner.largest_write = inner.largest_write.max(data.len());
            if cut.is_none() {
                inner.seen[offset..offset + data.len()].copy_from_slice(&data);
            }
            inner.pending.push((offset, data));
        }
        let Some(cut) = cut else {
            return Ok(());
        };
        inner.is_off = true;
        let mut noise = Noise(cut.seed ^ number as u64);
        let in_flight = inner.pending.len().wrapping_sub(usize::from(is_write));
        let sector_size = self.sector_size as usize;
        for (index, (offset, data)) in std::mem::take(&mut inner.pending).into_iter().enumerate() {
            for (sector, bytes) in data.chunks(sector_size).enumerate() {
                let survives = match cut.loss {
                    Loss::All => false,
                    Loss::Torn => index < in_flight || noise.next() & 1 == 0,
                    Loss::Random => noise.next() & 1 == 0,
                };
                if survives {
                    let at = offset + sector * sector_size;
                    inner.durable[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        Err(io::Error::from_raw_os_error(nix::libc::EIO))
    }

    fn write(&self, mut data: Vec<u8>, offset: u64) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(record) = &mut inner.record {
            record.push(Operation::Write(data.clone(), offset));
        }
        let fails = |defect| matches!(defect, Defect::FailsWrite(..));
        if self.strikes(offset, data.len(), fails).is_some() {
            return Err(media_error());
        }
        let drops = |defect| matches!(defect, Defect::DropsWrite(..));
        if self.strikes(offset, data.len(), drops).is_some() {
            return Ok(());
        }
        let flips = |defect| matches!(defect, Defect::FlipsOnWrite(..));
        if let Some(byte) = self.strikes(offset, data.len(), flips) {
            data[byte] ^= 4;
        }
        self.operate(&mut inner, Some((index(offset), data)))
    }

    fn check(&self, offset: u64, length: usize) {
        let sector = u64::from(self.sector_size);
        assert!(offset.is_multiple_of(sector), "{offset} is not on a sector");
        assert!(
            (length as u64).is_multiple_of(sector),
            "{length} is not whole sectors"
        );
        assert!(
            offset + length as u64 <= self.size,
            "{offset}+{length} leaves the disk"
        );
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a test disk is small")
}

fn media_error() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EIO)
}

impl Target for Disk {
    fn name(&self) -> &'static str {
        "/dev/simulated"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(offset, buffer.len());
        assert_eq!(buffer.as_ptr().addr() % 512, 0, "the buffer is not aligned");
        let inner = self.lock();
        if inner.is_off {
            return Err(media_error());
        }
        let length = buffer.len();
        let fails = self.strikes(offset, length, |defect| {
            matches!(
                defect,
                Defect::FailsRead(..) | Defect::LiesOnZeroAndFailsReadOnce(_)
            )
        });
        if fails.is_some() {
            let mut defect = self.defect.lock().expect("no test thread panicked");
            if let Some(Defect::LiesOnZeroAndFailsReadOnce(byte)) = *defect {
                *defect = Some(Defect::LiesOnZero(byte));
            }
            return Err(media_error());
        }
        buffer.copy_from_slice(&inner.seen[index(offset)..index(offset) + length]);
        let flips = |defect| matches!(defect, Defect::FlipsOnRead(..));
        if let Some(byte) = self.strikes(offset, length, flips) {
            buffer[byte] ^= 4;
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.check(offset, data.len());
        assert_eq!(data.as_ptr().addr() % 512, 0, "the buffer is not aligned");
        self.write(data.to_vec(), offset)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        self.check(offset, index(length));
        let mut inner = self.lock();
        if let Some(record) = &mut inner.record {
            record.push(Operation::Zero(offset, length));
        }
        let lies = |defect| {
            matches!(
                defect,
                Defect::LiesOnZero(_) | Defect::LiesOnZeroAndFailsReadOnce(_)
            )
        };
        if self.strikes(offset, index(length), lies).is_some() {
            return Ok(ZeroMethod::ZeroOut);
        }
        self.operate(&mut inner, Some((index(offset), vec![0; index(length)])))?;
        Ok(ZeroMethod::ZeroOut)
    }

    /// A discarded range reads as something that nobody has written.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check(offset, index(length));
        let mut inner = self.lock();
        if self.remembers {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if let Some(record) = &mut inner.record {
            record.push(Operation::Discard(offset, length));
        }
        let result = self.operate(&mut inner, None);
        let Inner { seen, durable, .. } = &mut *inner;
        let range = index(offset)..index(offset + length);
        Noise(offset ^ length).fill(&mut seen[range.clone()]);
        if self.cut.is_some() {
            durable[range.clone()].copy_from_slice(&seen[range]);
        }
        result
    }

    fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(record) = &mut inner.record {
            record.push(Operation::Flush);
        }
        if *self.defect.lock().expect("no test thread panicked") == Some(Defect::FailsFlush) {
            return Err(media_error());
        }
        self.operate(&mut inner, None)?;
        for (offset, mut data) in std::mem::take(&mut inner.pending) {
            let mut defect = self.defect.lock().expect("no test thread panicked");
            if let Some(Defect::FlipsOnFlush(byte)) = *defect
                && (offset..offset + data.len()).contains(&index(byte))
            {
                data[index(byte) - offset] ^= 4;
                inner.seen[index(byte)] ^= 4;
                *defect = None;
            }
            if self.cut.is_some() {
                inner.durable[offset..offset + data.len()].copy_from_slice(&data);
            }
        }
        Ok(())
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        Ok(())
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        partition_table(&self.lock().seen)
    }
}

/// The partition table that libblkid finds in these bytes. It needs a file; this one is in memory, because the tests ask some thousand
/// times.
pub fn partition_table(bytes: &[u8]) -> io::Result<Option<Vec<Partition>>> {
    thread_local! {
        static PROBED: RefCell<Option<Probed>> = const { RefCell::new(None) };
    }
    PROBED.with_borrow_mut(|probed| {
        if probed
            .as_ref()
            .is_none_or(|probed| probed.holds.len() != bytes.len())
        {
            *probed = Some(Probed::new(bytes.len())?);
        }
        probed.as_mut().expect("just made").table(bytes)
    })
}

/// The file that libblkid reads, and its content. Each thread has one, because a new file costs the kernel more than the probe.
struct Probed {
    file: tempfile::NamedTempFile,
    holds: Vec<u8>,
}

impl Probed {
    fn new(size: usize) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new_in("/dev/shm")?;
        file.as_file().set_len(size as u64)?;
        let holds = vec![0; size];
        Ok(Self { file, holds })
    }

    /// Makes the file equal to these bytes and probes it. Only the differences are written.
    fn table(&mut self, bytes: &[u8]) -> io::Result<Option<Vec<Partition>>> {
        const PART: usize = 16 << 10;
        let parts = self.holds.chunks_mut(PART).zip(bytes.chunks(PART));
        for (index, (held, wanted)) in parts.enumerate() {
            if held != wanted {
                self.file
                    .as_file()
                    .write_all_at(wanted, (index * PART) as u64)?;
                held.copy_from_slice(wanted);
            }
        }
        let table = gild_probe::partition_table(self.file.path()).map_err(io::Error::other)?;
        Ok(table.map(|table| {
            let partitions = table.partitions.into_iter();
            let plain = partitions.map(|partition| Partition {
                number: partition.number,
                start: partition.start,
                length: partition.length,
                kind: partition.kind,
                uuid: partition.uuid,
                name: partition.name,
            });
            plain.collect()
        }))
    }
}
