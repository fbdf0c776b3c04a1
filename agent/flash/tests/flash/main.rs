//! The engine against a simulated disk, and against files and loop devices.

mod devices;
mod disk;
mod faults;
mod image;
mod normal;
mod power;

use std::sync::Mutex;

use gild_disk::{SystemClock, Target};
use gild_flash::{Event, FlashError, Job, Observer, Options, Report, Source};
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};

use crate::image::{Image, MemorySource};

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
    gild_flash::flash(&Job {
        manifest: &image.manifest,
        manifest_sha256: image.manifest_sha256,
        source,
        target,
        clock: &SystemClock::new(),
        observer,
        options: &Options { workers },
    })
}

/// What a target that carries the image holds in the bytes of the image.
fn expected(image: &Image) -> Vec<u8> {
    let record = Record {
        state: State::Committed,
        image_id: image.manifest.image_id.clone(),
        manifest_sha256: image.manifest_sha256,
    };
    let mut bytes = image.raw.clone();
    let at = usize::try_from(RECORD_OFFSET).expect("one MiB");
    bytes[at..at + RECORD_LENGTH].copy_from_slice(&record.to_bytes());
    bytes
}

/// Fails unless the target carries exactly the image and the record; names the first byte that is wrong.
fn assert_carries(content: &[u8], image: &Image) {
    let expected = expected(image);
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
