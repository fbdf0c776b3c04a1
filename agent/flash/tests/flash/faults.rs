//! Disks, wires and servers that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};

use gild_disk::ZeroMethod;
use gild_faults::{Fault, HasFault};
use gild_flash::{FlashError, Options, TargetState, inspect};
use gild_source::{Source, SourceError};

use crate::disk::{Defect, Disk};
use crate::image::{Image, MemorySource, Shape};
use crate::{Diary, assert_carries, flash, flash_as, flash_with};

const SIZE: usize = 6 << 20;

/// A byte inside a data chunk behind the first MiB.
fn data_byte(image: &Image) -> u64 {
    let mut chunks = image.manifest.chunks.iter();
    let chunk = chunks.find(|chunk| !chunk.hole && chunk.raw_offset > 1 << 20);
    chunk.expect("the image has data").raw_offset + 1234
}

/// A byte inside a hole, at its very start so that a sample sees it.
fn hole_byte(image: &Image) -> u64 {
    let mut chunks = image.manifest.chunks.iter();
    let chunk = chunks.find(|chunk| chunk.hole && chunk.raw_offset > 1 << 20);
    chunk.expect("the image has holes").raw_offset
}

fn assert_not_committed(disk: &Disk, image: &Image) {
    let state = inspect(&image.manifest, image.manifest_sha256, disk).expect("it can be read");
    assert_ne!(state, TargetState::Done);
    let table = crate::disk::partition_table(&disk.content()).expect("it can be read");
    assert_eq!(table, None);
}

/// Flashing on a disk with this defect fails with fault 7 and leaves it unbootable.
fn assert_refused(defect: Defect) -> FlashError {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(defect);
    let error = flash(&image, &disk).expect_err("the disk is bad");
    assert_eq!(error.fault(), Fault::TargetFailed, "{defect:?}: {error}");
    assert!(error.to_string().contains("/dev/simulated"), "{error}");
    assert_not_committed(&disk, &image);
    error
}

#[test]
fn stale_data_under_holes_is_gone_even_if_the_disk_lies_about_zeroing() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::LiesOnZero(hole_byte(&image)));
    let diary = Diary::default();
    let source = MemorySource::new(&image);
    let report = flash_with(&image, &source, &disk, &diary, None).expect("zeros can be written");
    assert_carries(&disk.content(), &image);
    assert!(report.zeroing_failed);
    assert_eq!(report.zero_method, Some(ZeroMethod::Write));
    assert!(diary.count("ZeroingFailed") > 0);
}

/// What samples cannot find is found when holes are read in full.
#[test]
fn a_disk_that_is_wrong_between_the_samples_of_a_hole_is_found_when_holes_are_read() {
    let image = Image::new(Shape::default());
    let byte = hole_byte(&image) + 6000;
    let flashed = |read_holes| {
        let disk = Disk::used(SIZE).with_defect(Defect::FlipsOnFlush(byte));
        let options = Options {
            read_holes,
            ..Options::default()
        };
        let report = flash_as(&image, &disk, &options).expect("zeros can be written");
        (report.zeroing_failed, disk.content().to_vec())
    };
    let at = usize::try_from(byte).expect("a small disk");
    let (is_found, content) = flashed(false);
    assert!(!is_found && content[at] != 0);
    let (is_found, content) = flashed(true);
    assert!(is_found);
    assert_carries(&content, &image);
}

#[test]
fn a_hole_that_cannot_be_read_once_is_no_proof_against_the_disk_s_zeroing() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::FailsRead(hole_byte(&image), 1));
    let diary = Diary::default();
    let source = MemorySource::new(&image);
    let report = flash_with(&image, &source, &disk, &diary, None).expect("the second read works");
    assert_carries(&disk.content(), &image);
    assert!(!report.zeroing_failed);
    assert_eq!(diary.count("HoleUnreadable"), 1);
    assert_eq!(diary.count("ZeroingFailed"), 0);
}

/// One false report of the disk makes its zeroing of all holes worth nothing.
#[test]
fn all_holes_are_read_in_full_if_one_that_could_not_be_read_was_zeroed_falsely() {
    let image = Image::new(Shape::default());
    let defect = Defect::LiesOnZeroAndFailsReadOnce(hole_byte(&image));
    let disk = Disk::used(SIZE).with_defect(defect);
    let report = flash(&image, &disk).expect("zeros can be written");
    assert_carries(&disk.content(), &image);
    assert!(report.zeroing_failed);
    let (read, all) = (report.hole_bytes_read_back, report.hole_bytes);
    assert!(read >= all, "{read} of {all}");
}

#[test]
fn a_hole_that_can_never_be_read_is_a_fault_that_says_so() {
    let image = Image::new(Shape::default());
    let error = assert_refused(Defect::FailsRead(hole_byte(&image), u32::MAX));
    assert!(error.to_string().contains("reading"), "{error}");
}

#[test]
fn a_hole_that_never_reads_zero_is_a_fault() {
    let image = Image::new(Shape::default());
    assert_refused(Defect::FlipsOnRead(hole_byte(&image), u32::MAX));
}

#[test]
fn a_bit_that_flips_on_its_way_to_the_medium_is_found_and_written_again() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::FlipsOnWrite(data_byte(&image), 1));
    let report = flash(&image, &disk).expect("the second write is right");
    assert_carries(&disk.content(), &image);
    assert_eq!(report.chunks_rewritten, 1);
    assert_eq!(report.chunks_fetched, image.data_chunks() as u64 + 1);
}

#[test]
fn what_the_disk_still_holds_in_its_cache_is_no_proof() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::FlipsOnFlush(data_byte(&image)));
    let report = flash(&image, &disk).expect("the second write is right");
    assert_carries(&disk.content(), &image);
    assert_eq!(report.chunks_rewritten, 1);
}

#[test]
fn a_bit_that_flips_once_when_read_back_does_not_end_the_flash() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::FlipsOnRead(data_byte(&image), 1));
    let report = flash(&image, &disk).expect("the second read is right");
    assert_carries(&disk.content(), &image);
    assert_eq!(report.chunks_rewritten, 1);
}

#[test]
fn a_sector_that_cannot_be_read_once_is_written_again() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE).with_defect(Defect::FailsRead(data_byte(&image), 1));
    let report = flash(&image, &disk).expect("the second read is right");
    assert_carries(&disk.content(), &image);
    assert_eq!(report.chunks_rewritten, 1);
}

#[test]
fn a_disk_that_loses_or_damages_a_write_each_time_is_a_fault_with_the_place_named() {
    let image = Image::new(Shape::default());
    let byte = data_byte(&image);
    for defect in [
        Defect::DropsWrite(byte),
        Defect::FlipsOnWrite(byte, u32::MAX),
        Defect::FlipsOnRead(byte, u32::MAX),
        Defect::FailsRead(byte, u32::MAX),
    ] {
        let error = assert_refused(defect);
        let offset =
            byte / u64::from(image.manifest.chunk_size) * u64::from(image.manifest.chunk_size);
        assert!(error.to_string().contains(&offset.to_string()), "{error}");
    }
}

#[test]
fn a_write_error_or_a_flush_error_ends_the_flash_at_once() {
    let image = Image::new(Shape::default());
    for defect in [Defect::FailsWrite(data_byte(&image)), Defect::FailsFlush] {
        let disk = Disk::new(vec![0; SIZE], 512).with_defect(defect);
        let error = flash(&image, &disk).expect_err("the disk is bad");
        assert_eq!(error.fault(), Fault::TargetFailed);
        assert!(matches!(error, FlashError::Target { .. }), "{error}");
        assert_not_committed(&disk, &image);
    }
}

#[test]
fn a_first_mib_that_does_not_read_back_is_no_commit() {
    // Bytes in the commit record, in the network block, at the end of the partition table, and in the very first sector.
    for byte in [0xff_000, 0xfe_000, 2000, 100] {
        assert_refused(Defect::FlipsOnRead(byte, u32::MAX));
        assert_refused(Defect::DropsWrite(byte));
    }
}

#[test]
fn a_bit_flipped_once_on_the_wire_costs_one_more_fetch() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE);
    let source = MemorySource::flipping(&image, 5000, 1);
    let diary = Diary::default();
    let report = flash_with(&image, &source, &disk, &diary, None).expect("the second is right");
    assert_carries(&disk.content(), &image);
    assert_eq!(report.chunks_damaged, 1);
    assert_eq!(diary.count("Retry"), 1);
}

#[test]
fn a_bit_flipped_in_the_file_is_fault_6_and_the_chunk_is_never_written() {
    let image = Image::new(Shape::default());
    let mut chunks = image.manifest.chunks.iter();
    let chunk = chunks
        .rfind(|chunk| !chunk.hole)
        .expect("the image has data");
    let disk = Disk::new(vec![0; SIZE], 512).that_remembers();
    let byte = chunk.stored_offset + u64::from(chunk.stored_length) / 2;
    let source = MemorySource::flipping(&image, byte, u32::MAX);
    let error = flash_with(&image, &source, &disk, &(), None).expect_err("the file is damaged");
    assert_eq!(error.fault(), Fault::ImageCorrupt);
    assert!(
        matches!(error, FlashError::ChunkDamaged { attempts: 3, .. }),
        "{error}"
    );
    let at = usize::try_from(chunk.raw_offset).expect("small");
    let place = at..at + chunk.raw_length as usize;
    assert!(disk.content()[place].iter().all(|&byte| byte == 0));
    assert_not_committed(&disk, &image);
}

#[test]
fn a_frame_that_decodes_to_other_bytes_is_refused_by_its_hash() {
    let image = Image::new(Shape::default());
    let mut swapped = image.clone();
    // A valid frame of the right length with other content: only the hash can tell.
    let data: Vec<usize> = (0..image.manifest.chunks.len())
        .filter(|&index| !image.manifest.chunks[index].hole)
        .collect();
    let (first, second) = (data[data.len() - 3], data[data.len() - 2]);
    let other = image.manifest.chunks[second].clone();
    let chunk = &mut swapped.manifest.chunks[first];
    (chunk.stored_offset, chunk.stored_length) = (other.stored_offset, other.stored_length);
    let disk = Disk::used(SIZE);
    let error = flash(&swapped, &disk).expect_err("the chunk is another one");
    assert_eq!(error.fault(), Fault::ImageCorrupt);
    assert_not_committed(&disk, &image);
}

#[test]
fn a_file_shorter_than_its_manifest_says_is_refused_before_anything_is_written() {
    let image = Image::new(Shape::default());
    let disk = Disk::used(SIZE);
    let mut source = MemorySource::new(&image);
    source.bytes.pop();
    let error = flash_with(&image, &source, &disk, &(), None).expect_err("the file is short");
    assert_eq!(error.fault(), Fault::ImageCorrupt);
    assert_eq!(disk.writes(), 0);
}

#[test]
fn a_disk_that_is_too_small_or_has_other_sectors_is_refused_before_anything_is_written() {
    let image = Image::new(Shape::default());
    let small = Disk::used(image.raw.len() - 512);
    let other_sectors = Disk::new(vec![1; SIZE], 4096);
    for disk in [small, other_sectors] {
        let error = flash(&image, &disk).expect_err("the disk does not fit");
        assert_eq!(error.fault(), Fault::NoTarget);
        assert!(error.to_string().contains("nothing was written"), "{error}");
        assert_eq!(disk.writes(), 0);
    }
}

#[test]
fn an_image_whose_partitions_are_not_those_of_its_manifest_is_not_left_bootable() {
    let mut image = Image::new(Shape::default());
    image.manifest.partitions[1].uuid = "0".to_owned();
    let disk = Disk::used(SIZE);
    let error = flash(&image, &disk).expect_err("the table differs");
    assert_eq!(error.fault(), Fault::ImageCorrupt);
    assert!(matches!(error, FlashError::Partitions { .. }), "{error}");
    assert_not_committed(&disk, &image);
}

/// Two servers. The first sends nothing but wrong bytes.
struct Pair {
    good: MemorySource,
    distrusted: AtomicUsize,
}

impl Source for Pair {
    fn size(&self) -> u64 {
        self.good.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        if self.distrusted.load(Ordering::SeqCst).is_multiple_of(2) {
            buffer.fill(0);
            return Ok(());
        }
        self.good.read_exact_at(buffer, offset)
    }

    fn distrust(&self) {
        self.distrusted.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_server_that_sends_wrong_bytes_is_left_once_however_many_chunks_it_has_sent() {
    let image = Image::new(Shape {
        chunk_size: 16 << 10,
        ..Shape::default()
    });
    for workers in [1, 8] {
        let pair = Pair {
            good: MemorySource::new(&image),
            distrusted: AtomicUsize::new(0),
        };
        let disk = Disk::used(SIZE);
        flash_with(&image, &pair, &disk, &(), Some(workers)).expect("the second server is good");
        assert_carries(&disk.content(), &image);
        assert_eq!(pair.distrusted.into_inner(), 1, "{workers} workers");
    }
}
