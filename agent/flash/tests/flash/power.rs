//! The power is cut at every point.

use gild_boards_testkit::Campaign;
use gild_flash::{Outcome, TargetState, inspect};
use gild_format::chunk::is_zero;

use crate::disk::{Cut, Disk, Loss};
use crate::image::{Image, MemorySource, Noise, Shape};
use crate::{assert_carries, expected, flash, flash_with};

const SIZE: usize = 5 << 19;
/// Of 256 random cuts, this many interrupt the engine itself.
const INTERRUPTS: u8 = 8;
const LOSSES: [(Loss, u64); 6] = [
    (Loss::All, 0),
    (Loss::Torn, 1),
    (Loss::Torn, 2),
    (Loss::Random, 3),
    (Loss::Random, 4),
    (Loss::Random, 5),
];

fn new_image() -> Image {
    Image::new(Shape {
        raw_size: 3 << 19,
        chunk_size: 8 << 10,
        ..Shape::default()
    })
}

/// The disks on which a flash may start. Each has a name, its content, and the image that it carries until the flash has begun.
fn starts(image: &Image) -> Vec<(&'static str, Vec<u8>, Option<Image>)> {
    let used = Disk::used(SIZE).content().to_vec();
    let old = Image::new(Shape {
        id: "test-0",
        raw_size: SIZE,
        ..Shape::default()
    });
    let mut carries_old = used.clone();
    carries_old[..SIZE].copy_from_slice(&expected(&old, true));
    let mut wiped = used.clone();
    wiped[..image.raw.len()].copy_from_slice(&expected(image, true));
    wiped[..4096].fill(0);
    vec![
        ("used", used, None),
        ("old image", carries_old, Some(old)),
        ("table wiped", wiped, None),
    ]
}

/// A disk that claims an image must carry all of it.
fn assert_honest(disk: &Disk, image: &Image) -> TargetState {
    let state = inspect(&image.manifest, image.manifest_sha256, disk).expect("it can be read");
    if state == TargetState::Done {
        assert_carries(&disk.content(), image);
    }
    state
}

/// Whether firmware would find a partition table.
fn is_bootable(disk: &Disk) -> bool {
    let table = crate::disk::partition_table(&disk.content());
    table.expect("it can be read").is_some()
}

/// Cuts the power of a flash that starts on this content. Then the disk must be honest, and the next flash must complete.
fn survives(image: &Image, before: &[u8], old: Option<&Image>, cut: Cut, start: &str) {
    let disk = Disk::new(before.to_vec(), 512).with_cut(cut);
    flash_with(image, &MemorySource::new(image), &disk, &(), Some(1)).expect_err("the power went");
    recovers(image, &disk.reboot(), old, cut, start);
}

/// After the power cut the disk is honest, and the next flash completes.
fn recovers(image: &Image, disk: &Disk, old: Option<&Image>, cut: Cut, start: &str) {
    let which = format!("{start}, {cut:?}");
    let state = assert_honest(disk, image);
    let is_old = old.is_some_and(|old| assert_honest(disk, old) == TargetState::Done);
    assert_eq!(
        is_bootable(disk),
        is_old || state == TargetState::Done,
        "{which}"
    );

    let report = flash(image, disk).expect("nothing is wrong");
    assert_carries(&disk.content(), image);
    let end = SIZE - (1 << 20);
    assert!(is_zero(&disk.content()[end..]), "{which}");
    assert_eq!(
        report.outcome == Outcome::AlreadyDone,
        state == TargetState::Done
    );
}

/// `make campaign` runs this for longer.
///
/// With a single worker, a flash always does the same to a disk. So each start is flashed once and recorded. A cut only repeats the record
/// up to where the power goes, which saves the engine's reading and hashing. The disk treats its cache and torn writes as in [`survives`].
/// As a check, some of the cuts interrupt the engine itself, and must leave the same disk.
#[test]
fn no_random_cut_of_the_engine_is_unrecoverable() {
    let image = new_image();
    let starts = starts(&image);
    let records = starts.iter().map(|(_, content, _)| {
        let whole = Disk::new(content.clone(), 512).that_records();
        let source = MemorySource::new(&image);
        flash_with(&image, &source, &whole, &(), Some(1)).expect("nothing is wrong");
        whole.record()
    });
    let records: Vec<_> = records.collect();
    Campaign::from_environment(100).run("the engine", |random| {
        let at = random.usize(..starts.len());
        let (start, content, old) = &starts[at];
        let cut = Cut {
            operation: random.usize(..records[at].len()),
            loss: [Loss::All, Loss::Torn, Loss::Random][random.usize(..3)],
            seed: random.u64(..),
        };
        let disk = Disk::new(content.clone(), 512).with_cut(cut);
        disk.repeat(&records[at]);
        let disk = disk.reboot();
        if random.u8(..) < INTERRUPTS {
            let other = Disk::new(content.clone(), 512).with_cut(cut);
            let source = MemorySource::new(&image);
            flash_with(&image, &source, &other, &(), Some(1)).expect_err("the power went");
            assert!(*other.reboot().content() == *disk.content(), "{cut:?}");
        }
        recovers(&image, &disk, old.as_ref(), cut, start);
    });
}

#[test]
fn after_a_cut_at_any_operation_the_disk_is_honest_and_the_next_flash_completes() {
    let image = new_image();
    let mut cuts = 0;
    for (start, content, old) in starts(&image) {
        let whole = Disk::new(content.clone(), 512);
        let source = MemorySource::new(&image);
        flash_with(&image, &source, &whole, &(), Some(1)).expect("nothing is wrong");
        let operations = whole.operations();
        for operation in 0..operations {
            for (loss, seed) in LOSSES {
                let cut = Cut {
                    operation,
                    loss,
                    seed,
                };
                survives(&image, &content, old.as_ref(), cut, start);
                cuts += 1;
            }
        }
    }
    println!("{cuts} power cuts");
    assert!(cuts > 700);
}

#[test]
fn a_node_whose_power_goes_again_and_again_gets_there() {
    let image = new_image();
    let mut total = 0;
    for seed in 0..40 {
        let mut noise = Noise(seed);
        let mut disk = Disk::used(SIZE);
        let mut cuts = 0;
        loop {
            let cut = Cut {
                operation: usize::try_from(noise.next() % 90).expect("small"),
                loss: if noise.next() & 1 == 0 {
                    Loss::Torn
                } else {
                    Loss::Random
                },
                seed,
            };
            // With several workers the operations come in a different order each time.
            disk = disk.with_cut(cut);
            let source = MemorySource::new(&image);
            let result = flash_with(&image, &source, &disk, &(), Some(4));
            disk = disk.reboot();
            assert_honest(&disk, &image);
            if result.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert_carries(&disk.content(), &image);
        total += cuts;
    }
    println!("{total} power cuts on the way to 40 flashes");
}

#[test]
fn a_resumed_flash_fetches_only_what_is_missing() {
    let image = new_image();
    let whole = Disk::used(SIZE);
    let source = MemorySource::new(&image);
    flash_with(&image, &source, &whole, &(), Some(1)).expect("nothing is wrong");
    // From the flush that follows the record.
    for operation in 6..whole.operations() {
        let cut = Cut {
            operation,
            loss: Loss::Torn,
            seed: 0,
        };
        let disk = Disk::used(SIZE).with_cut(cut);
        flash_with(&image, &source, &disk, &(), Some(1)).expect_err("the power went");
        let disk = disk.reboot();
        let on_disk = |chunk: &gild_format::Chunk| {
            let range = usize::try_from(chunk.raw_offset).expect("small")..;
            let range = range.start..range.start + chunk.raw_length as usize;
            disk.content()[range.clone()] == image.raw[range]
        };
        let data = image.manifest.chunks.iter().filter(|chunk| !chunk.hole);
        let kept = data
            .filter(|chunk| chunk.raw_offset >= 1 << 20 && on_disk(chunk))
            .count();
        let report = flash(&image, &disk).expect("nothing is wrong");
        if report.outcome == Outcome::Flashed {
            assert_eq!(report.chunks_kept, kept);
            assert_eq!(report.chunks_fetched, (image.data_chunks() - kept) as u64);
        }
    }
}

#[test]
fn once_the_first_chunk_is_on_its_way_the_disk_knows_that_it_can_be_resumed() {
    let image = new_image();
    for operation in 6..20 {
        let cut = Cut {
            operation,
            loss: Loss::All,
            seed: 0,
        };
        let disk = Disk::used(SIZE).with_cut(cut);
        let source = MemorySource::new(&image);
        flash_with(&image, &source, &disk, &(), Some(1)).expect_err("the power went");
        let disk = disk.reboot();
        assert_eq!(assert_honest(&disk, &image), TargetState::Resumable);
    }
}
