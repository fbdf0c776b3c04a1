//! What is written is read back while more is written: in which order, what is found, and what a power cut costs.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use gild_disk::{Target, ZeroMethod};
use gild_faults::{Fault, HasFault};
use gild_flash::{FlashError, TargetState, inspect};
use gild_format::Chunk;
use gild_format::manifest::Partition;
use gild_source::{Source, SourceError};

use crate::disk::{Cut, Defect, Disk, Loss};
use crate::image::{Image, MemorySource, Shape};
use crate::{Diary, assert_carries, flash, flash_with};

const SIZE: usize = 12 << 20;

/// At least this many chunks come between two flushes.
const WINDOW: usize = 16;

/// The flushes of a flash whose image is too short for one in the middle: two before the write, one after it, and two for the commit.
const OTHER_FLUSHES: usize = 5;

/// An image with enough chunks for flushes in the middle.
fn new_image() -> Image {
    let image = Image::new(Shape {
        raw_size: SIZE,
        chunk_size: 16 << 10,
        ..Shape::default()
    });
    assert!(image.data_chunks() > 10 * WINDOW);
    image
}

/// The data chunks that are not withheld until the commit.
fn chunks(image: &Image) -> Vec<&Chunk> {
    let chunks = image.manifest.chunks.iter();
    chunks
        .filter(|chunk| !chunk.hole && chunk.raw_offset >= 1 << 20)
        .collect()
}

fn range(chunk: &Chunk) -> Range<u64> {
    chunk.raw_offset..chunk.raw_offset + u64::from(chunk.raw_length)
}

/// A byte in the middle of the data.
fn middle(image: &Image) -> u64 {
    let chunks = chunks(image);
    chunks[chunks.len() / 2].raw_offset + 1234
}

/// A byte in the first hole.
fn hole(image: &Image) -> u64 {
    let mut chunks = image.manifest.chunks.iter();
    let hole = chunks.find(|chunk| chunk.hole && chunk.raw_offset > 1 << 20);
    hole.expect("the image has holes").raw_offset
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Write(Range<u64>),
    Read(Range<u64>),
    Flush,
}

/// An operation of a disk, and when it began and ended.
#[derive(Clone, Debug)]
struct Operation {
    what: What,
    begin: u64,
    end: u64,
}

/// Records the operations of a disk.
struct Recorder {
    disk: Disk,
    now: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Recorder {
    fn new(disk: Disk) -> Self {
        Self {
            disk,
            now: AtomicU64::new(0),
            operations: Mutex::default(),
        }
    }

    fn record<T>(&self, what: What, work: impl FnOnce() -> T) -> T {
        let begin = self.now.fetch_add(1, SeqCst);
        let result = work();
        let end = self.now.fetch_add(1, SeqCst);
        let mut operations = self.operations.lock().expect("no test thread panicked");
        operations.push(Operation { what, begin, end });
        result
    }

    fn all(&self, wanted: impl Fn(&What) -> bool) -> Vec<Operation> {
        let operations = self.operations.lock().expect("no test thread panicked");
        let wanted = operations
            .iter()
            .filter(|operation| wanted(&operation.what));
        wanted.cloned().collect()
    }
}

fn span(offset: u64, length: usize) -> Range<u64> {
    offset..offset + length as u64
}

impl Target for Recorder {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let what = What::Read(span(offset, buffer.len()));
        self.record(what, || self.disk.read_at(buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let what = What::Write(span(offset, data.len()));
        self.record(what, || self.disk.write_at(data, offset))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        let what = What::Write(offset..offset + length);
        self.record(what, || self.disk.zero(offset, length))
    }

    fn flush(&self) -> io::Result<()> {
        self.record(What::Flush, || self.disk.flush())
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        self.disk.reread_partition_table()
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        self.disk.partition_table()
    }
}

fn overlaps(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// There was a read of these bytes. Each one came after a flush, and the flush began after the last write of them had ended.
fn assert_proven(recorder: &Recorder, bytes: &Range<u64>) {
    let writes = recorder.all(|what| matches!(what, What::Write(range) if overlaps(range, bytes)));
    let reads = recorder.all(|what| matches!(what, What::Read(range) if overlaps(range, bytes)));
    let flushes = recorder.all(|what| *what == What::Flush);
    let written = writes.iter().map(|write| write.end).max();
    let written = written.expect("it was written");
    assert!(!reads.is_empty(), "{bytes:?} was not read back");
    for read in reads {
        assert!(
            flushes
                .iter()
                .any(|flush| flush.begin > written && flush.end < read.begin),
            "{bytes:?}, written until {written}, was read at {} with no flush between",
            read.begin
        );
    }
}

#[test]
fn each_chunk_and_hole_is_read_back_after_a_flush_that_began_when_it_was_written() {
    let image = new_image();
    for workers in [1, 2, 7] {
        let recorder = Recorder::new(Disk::used(SIZE + (1 << 20)));
        let source = MemorySource::new(&image);
        flash_with(&image, &source, &recorder, &(), Some(workers)).expect("nothing is wrong");
        assert_carries(&recorder.disk.content(), &image);

        for chunk in chunks(&image) {
            assert_proven(&recorder, &range(chunk));
        }
        let holes =
            recorder.all(|what| matches!(what, What::Write(range) if range.start >= 1 << 20));
        for hole in holes {
            let What::Write(range) = hole.what else {
                unreachable!("only writes were asked for");
            };
            if range.end <= SIZE as u64 {
                assert_proven(&recorder, &range);
            }
        }
    }
}

#[test]
fn most_is_read_back_before_all_is_written_and_flushes_are_few() {
    let image = new_image();
    for workers in [1, 2, 7] {
        let recorder = Recorder::new(Disk::used(SIZE));
        let source = MemorySource::new(&image);
        flash_with(&image, &source, &recorder, &(), Some(workers)).expect("nothing is wrong");
        let is_data = |bytes: &Range<u64>| {
            chunks(&image)
                .iter()
                .any(|chunk| overlaps(&range(chunk), bytes))
        };
        let writes = recorder.all(|what| matches!(what, What::Write(range) if is_data(range)));
        let last = writes.iter().map(|write| write.begin).max().expect("data");
        // A shorter read is a sample, at the end.
        let is_whole =
            |bytes: &Range<u64>| chunks(&image).iter().any(|chunk| range(chunk) == *bytes);
        let reads = recorder.all(|what| matches!(what, What::Read(range) if is_whole(range)));
        let before = reads.iter().filter(|read| read.begin < last).count();
        let flushes = recorder.all(|what| *what == What::Flush).len();
        println!(
            "{workers} workers: {before} of {} reads before the last write, {flushes} flushes",
            reads.len()
        );
        let data = image.data_chunks();
        // Several workers may write most of a small image while one of them flushes.
        let (more_than, windows) = match workers {
            1 => (reads.len() / 2, data / WINDOW / 2),
            _ => (0, 1),
        };
        assert!(before > more_than, "{before} of {}", reads.len());
        assert!((OTHER_FLUSHES + windows..=OTHER_FLUSHES + 24).contains(&flushes));
    }
}

/// A disk whose flush in the middle of an image ends only when another worker has written.
struct SlowToFlush {
    disk: Disk,
    chunks: usize,
    written: Mutex<usize>,
    is_written: Condvar,
    waits: AtomicUsize,
}

impl SlowToFlush {
    fn new(image: &Image) -> Self {
        Self {
            disk: Disk::used(SIZE),
            chunks: chunks(image).len(),
            written: Mutex::new(0),
            is_written: Condvar::new(),
            waits: AtomicUsize::new(0),
        }
    }
}

impl Target for SlowToFlush {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(data, offset)?;
        if data.len() == 16 << 10 && offset >= 1 << 20 {
            *self.written.lock().expect("no test thread panicked") += 1;
            self.is_written.notify_all();
        }
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        self.disk.zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        let written = self.written.lock().expect("no test thread panicked");
        let before = *written;
        if before > 0 && before < self.chunks {
            self.waits.fetch_add(1, SeqCst);
            let long = Duration::from_secs(20);
            let waited = self
                .is_written
                .wait_timeout_while(written, long, |now| *now == before);
            let (written, waited) = waited.expect("no test thread panicked");
            drop(written);
            if waited.timed_out() {
                return Err(io::Error::other("nobody writes while the disk flushes"));
            }
        } else {
            drop(written);
        }
        self.disk.flush()
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        self.disk.reread_partition_table()
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        self.disk.partition_table()
    }
}

#[test]
fn workers_write_on_while_the_disk_flushes() {
    let image = new_image();
    let disk = SlowToFlush::new(&image);
    let source = MemorySource::new(&image);
    flash_with(&image, &source, &disk, &(), Some(4)).expect("nothing is wrong");
    assert_carries(&disk.disk.content(), &image);
    assert!(disk.waits.into_inner() > 0, "no flush in the middle");
}

/// The same as `what_the_disk_still_holds_in_its_cache_is_no_proof`, but in the middle of the image.
#[test]
fn what_the_cache_still_holds_while_more_is_written_is_no_proof() {
    let image = new_image();
    for workers in [1, 4] {
        let disk = Disk::used(SIZE).with_defect(Defect::FlipsOnFlush(middle(&image)));
        let source = MemorySource::new(&image);
        let report = flash_with(&image, &source, &disk, &(), Some(workers));
        let report = report.expect("the second write is right");
        assert_carries(&disk.content(), &image);
        assert_eq!(report.chunks_rewritten, 1);
        assert_eq!(report.chunks_fetched, image.data_chunks() as u64 + 1);
    }
}

#[test]
fn what_reads_back_wrong_once_while_more_is_written_is_written_again() {
    let image = new_image();
    let byte = middle(&image);
    for defect in [
        Defect::FlipsOnWrite(byte, 1),
        Defect::FlipsOnRead(byte, 1),
        Defect::FailsRead(byte, 1),
    ] {
        let disk = Disk::used(SIZE).with_defect(defect);
        let report = flash(&image, &disk).expect("the second time it is right");
        assert_carries(&disk.content(), &image);
        assert_eq!(report.chunks_rewritten, 1, "{defect:?}");
    }
}

#[test]
fn what_reads_back_wrong_each_time_is_written_as_often_in_the_middle_as_at_the_end() {
    let image = new_image();
    let byte = middle(&image);
    for defect in [
        Defect::DropsWrite(byte),
        Defect::FlipsOnWrite(byte, u32::MAX),
        Defect::FlipsOnRead(byte, u32::MAX),
        Defect::FailsRead(byte, u32::MAX),
    ] {
        let disk = Disk::used(SIZE).with_defect(defect);
        let diary = Diary::default();
        let source = MemorySource::new(&image);
        let error = flash_with(&image, &source, &disk, &diary, None).expect_err("the disk is bad");
        assert_eq!(error.fault(), Fault::TargetFailed);
        assert!(
            matches!(error, FlashError::ReadBack { attempts: 3, offset, .. } if offset == byte - 1234),
            "{defect:?}: {error}"
        );
        assert_eq!(diary.count("Retry"), 2, "{defect:?}");
        let state = inspect(&image.manifest, image.manifest_sha256, &disk);
        assert_eq!(state.expect("it can be read"), TargetState::Resumable);
    }
}

#[test]
fn a_hole_found_wrong_after_most_was_read_back_has_all_holes_written_and_read() {
    let image = new_image();
    let disk = Disk::used(SIZE).with_defect(Defect::LiesOnZero(hole(&image)));
    let report = flash(&image, &disk).expect("zeros can be written");
    assert_carries(&disk.content(), &image);
    assert!(report.zeroing_failed);
    assert_eq!(report.zero_method, Some(ZeroMethod::Write));
    assert!(report.hole_bytes_read_back > report.hole_bytes);
}

/// Counts what is fetched.
struct Counter<'a> {
    source: &'a MemorySource,
    reads: AtomicUsize,
}

impl Source for Counter<'_> {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        self.reads.fetch_add(1, SeqCst);
        self.source.read_exact_at(buffer, offset)
    }
}

#[test]
fn a_power_cut_costs_what_was_written_since_the_last_flush_and_what_was_fetched_ahead() {
    let image = new_image();
    let source = MemorySource::new(&image);
    let whole = Disk::used(SIZE);
    flash_with(&image, &source, &whole, &(), Some(1)).expect("nothing is wrong");
    // At most this is fetched again: a window (a sixteenth of the data or 16 chunks, whichever is more), one chunk that was fetched and not
    // written, and 16 that were fetched ahead.
    let window = WINDOW.max(image.data_chunks().div_ceil(16));
    let withheld = image.data_chunks() - chunks(&image).len();
    let mut most = 0;
    for operation in (whole.operations() / 4..whole.operations() * 3 / 4).step_by(3) {
        let disk = Disk::used(SIZE).with_cut(Cut {
            operation,
            loss: Loss::All,
            seed: 0,
        });
        let counter = Counter {
            source: &source,
            reads: AtomicUsize::new(0),
        };
        flash_with(&image, &counter, &disk, &(), Some(1)).expect_err("the power went");
        let disk = disk.reboot();
        let report = flash(&image, &disk).expect("nothing is wrong");
        assert_carries(&disk.content(), &image);
        let fetched =
            counter.reads.into_inner() + usize::try_from(report.chunks_fetched).expect("few");
        let again = fetched - image.data_chunks();
        assert!(
            again <= window + 1 + 16 + withheld,
            "{again} chunks after a cut at {operation}"
        );
        most = most.max(again);
    }
    println!(
        "{most} of {} chunks fetched again at most, {withheld} of them in the first MiB",
        image.data_chunks()
    );
}

/// A disk that has one place for two addresses: smaller than it claims, or wrong about where it writes.
struct Aliased {
    disk: Disk,
    /// What belongs here
    addresses: Range<u64>,
    /// lands here.
    place: u64,
}

impl Aliased {
    fn place(&self, offset: u64) -> u64 {
        if self.addresses.contains(&offset) {
            self.place + (offset - self.addresses.start)
        } else {
            offset
        }
    }
}

impl Target for Aliased {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_at(buffer, self.place(offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(data, self.place(offset))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<ZeroMethod> {
        self.disk.zero(self.place(offset), length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.discard(self.place(offset), length)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn reread_partition_table(&self) -> io::Result<()> {
        self.disk.reread_partition_table()
    }

    fn partition_table(&self) -> io::Result<Option<Vec<Partition>>> {
        self.disk.partition_table()
    }
}

#[test]
fn a_disk_that_is_smaller_than_it_says_is_never_committed() {
    let image = new_image();
    let data = chunks(&image);
    let first = data[0];
    assert_eq!(first.raw_offset, 1 << 20, "the place of the last chunk");
    let last = data[data.len() - 1];
    let disk = Aliased {
        disk: Disk::used(SIZE),
        addresses: last.raw_offset..SIZE as u64,
        place: 1 << 20,
    };
    let error = flash(&image, &disk).expect_err("two chunks have one place");
    assert_eq!(error.fault(), Fault::TargetFailed, "{error}");
    assert!(error.to_string().contains("a later write"), "{error}");
    let state = inspect(&image.manifest, image.manifest_sha256, &disk).expect("it can be read");
    assert_ne!(state, TargetState::Done);
}

/// The zeros of a hole destroy data, which is written again and destroys the zeros.
#[test]
fn a_disk_with_one_place_for_data_and_a_hole_is_never_committed() {
    let image = new_image();
    let data = chunks(&image);
    let length = u64::from(image.manifest.chunk_size);
    let holes = image.manifest.chunks.iter().filter(|chunk| chunk.hole);
    let holes: Vec<u64> = holes
        .map(|hole| hole.raw_offset)
        .filter(|hole| *hole >= 1 << 20)
        .collect();
    // Ranges that begin with a hole, and end within its piece or with it.
    let begins = |hole: &u64| !holes.contains(&(hole - length));
    for hole in holes.iter().copied().filter(begins) {
        let run = (0..).take_while(|at| holes.contains(&(hole + at * length)));
        let end = hole + run.count() as u64 * length;
        for place in data.iter().step_by(5).map(|chunk| chunk.raw_offset) {
            if place + (end - hole) > SIZE as u64 || (hole..end).contains(&place) {
                continue;
            }
            let disk = Aliased {
                disk: Disk::used(SIZE),
                addresses: hole..end,
                place,
            };
            let error = flash(&image, &disk).expect_err("data and a hole have one place");
            assert_eq!(error.fault(), Fault::TargetFailed, "{error}");
        }
    }
}
