//! The engine against a simulated disk, and against files and loop devices.

mod devices;
mod disk;
mod faults;
mod image;
mod normal;
mod overlap;
mod power;

use std::sync::Mutex;

use gild_disk::{SystemClock, Target};
use gild_flash::{Event, FlashError, Job, Observer, Options, Report};
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_source::Source;

use crate::disk::Disk;
use crate::image::{Image, MemorySource};

/// The allocator of the agent. With the C library's, half of the time would go into giving the memory of simulated disks back to the
/// kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Flashes from memory, watched by nobody.
fn flash(image: &Image, target: &dyn Target) -> Result<Report, FlashError> {
    flash_with(image, &MemorySource::new(image), target, &(), None)
}

fn flash_with(
    image: &Image,
    source: &dyn Source,
    target: &dyn Target,
    observer: &dyn Observer,
    workers: Option<usize>,
) -> Result<Report, FlashError> {
    let options = Options {
        workers,
        ..Options::default()
    };
    run(image, source, target, observer, &options)
}

fn flash_as(image: &Image, target: &dyn Target, options: &Options) -> Result<Report, FlashError> {
    run(image, &MemorySource::new(image), target, &(), options)
}

fn run(
    image: &Image,
    source: &dyn Source,
    target: &dyn Target,
    observer: &dyn Observer,
    options: &Options,
) -> Result<Report, FlashError> {
    gild_flash::flash(&Job {
        manifest: &image.manifest,
        manifest_sha256: image.manifest_sha256,
        source,
        target,
        clock: &SystemClock::new(),
        observer,
        options,
    })
}

/// What a disk says about itself.
fn record_on(disk: &Disk) -> Record {
    let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
    Record::parse(&disk.content()[at..at + RECORD_LENGTH]).expect("a record")
}

/// The record of an image that counts as proven at once.
fn record(image: &Image, is_discarded: bool) -> Record {
    Record {
        state: State::Proven,
        image_id: image.manifest.image_id.clone(),
        manifest_sha256: image.manifest_sha256,
        rollback_counter: image.manifest.rollback_counter,
        rollback_floor: 0,
        trial_starts: 0,
        is_discarded,
        is_boot_order_pending: false,
        orders: Vec::new(),
    }
}

/// What a target that carries the image holds in the bytes of the image.
fn expected(image: &Image, is_discarded: bool) -> Vec<u8> {
    let record = record(image, is_discarded);
    let mut bytes = image.raw.clone();
    let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
    bytes[at..at + RECORD_LENGTH].copy_from_slice(&record.to_bytes());
    bytes
}

/// Fails unless the target carries exactly the image and the record; names the first byte that is wrong.
fn assert_carries(content: &[u8], image: &Image) {
    let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
    let record = Record::parse(&content[at..at + RECORD_LENGTH]).expect("a record");
    let expected = expected(image, record.is_discarded);
    if content[..expected.len()] != expected {
        let wrong = expected.iter().zip(content).position(|(a, b)| a != b);
        panic!("the first wrong byte is {wrong:?}");
    }
}

/// Remembers the events, as text.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Observer for Diary {
    fn event(&self, event: Event<'_>) {
        let mut diary = self.0.lock().expect("no test thread panicked");
        diary.push(format!("{event:?}"));
    }
}

impl Diary {
    fn count(&self, what: &str) -> usize {
        let diary = self.0.lock().expect("no test thread panicked");
        diary.iter().filter(|event| event.starts_with(what)).count()
    }
}
