//! Regular files and, as root, loop devices: the kernel's own zeroing and exclusive opening.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gild_disk::{BlockDevice, Target, ZeroMethod};
use gild_flash::Outcome;
use gild_source::FileSource;

use crate::image::{Image, MemorySource, Noise, Shape};
use crate::{assert_carries, flash, flash_with};

const SIZE: usize = 6 << 20;

/// A file full of the remains of other data.
fn used_file(directory: &Path) -> PathBuf {
    let path = directory.join("disk.img");
    let mut bytes = vec![0; SIZE];
    Noise(1).fill(&mut bytes);
    std::fs::write(&path, bytes).expect("the temporary directory is writable");
    path
}

/// A loop device, detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn new(file: &Path, sector_size: u32) -> Self {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--partscan", "--sector-size"])
            .arg(sector_size.to_string())
            .arg(file)
            .output()
            .expect("losetup runs");
        assert!(
            output.status.success(),
            "no loop device (run this as root, as `make test` does): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let path = String::from_utf8(output.stdout).expect("losetup prints a path");
        Self(path.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.0)
            .status();
        assert!(detached.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_file_is_flashed_like_a_disk() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let image = Image::new(Shape::default());
    let stored = directory.path().join("image.zst");
    std::fs::write(&stored, &image.stored).expect("the temporary directory is writable");
    let path = used_file(directory.path());
    let file = BlockDevice::open_file(&path, 512).expect("it is a file");
    println!("O_DIRECT: {}", file.is_direct());
    let source = FileSource::open(&stored).expect("it is a file");
    let report = flash_with(&image, &source, &file, &(), None).expect("nothing is wrong");
    assert_eq!(report.zero_method, Some(ZeroMethod::Fallocate));
    assert_carries(&std::fs::read(&path).expect("it is a file"), &image);
    let again = flash_with(&image, &source, &file, &(), None).expect("nothing is wrong");
    assert_eq!(again.outcome, Outcome::AlreadyDone);
}

#[test]
fn a_file_that_is_no_disk_is_refused() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let odd = directory.path().join("odd");
    std::fs::write(&odd, [0; 513]).expect("the temporary directory is writable");
    assert!(BlockDevice::open_file(&odd, 512).is_err());
    assert!(BlockDevice::open_file(Path::new("/dev/null"), 512).is_err());
    assert!(BlockDevice::open(&odd).is_err());
    assert!(BlockDevice::open(Path::new("/nonexistent")).is_err());
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_loop_device_is_flashed() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let image = Image::new(Shape::default());
    let path = used_file(directory.path());
    let device = Loop::new(&path, 512);
    let target = BlockDevice::open(&device.0).expect("nobody uses it");
    assert_eq!((target.size(), target.sector_size()), (SIZE as u64, 512));
    let report = flash(&image, &target).expect("nothing is wrong");
    assert_eq!(report.zero_method, Some(ZeroMethod::ZeroOut));
    drop(target);
    drop(device);
    assert_carries(&std::fs::read(&path).expect("it is a file"), &image);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_device_that_is_in_use_is_refused() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let device = Loop::new(&used_file(directory.path()), 512);
    let _holder = BlockDevice::open(&device.0).expect("nobody uses it");
    let error = BlockDevice::open(&device.0).expect_err("it is held");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn an_image_for_another_sector_size_is_refused_by_a_real_device() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let path = used_file(directory.path());
    let before = std::fs::read(&path).expect("it is a file");
    let device = Loop::new(&path, 4096);
    let target = BlockDevice::open(&device.0).expect("nobody uses it");
    assert_eq!(target.sector_size(), 4096);
    let error = flash(&Image::new(Shape::default()), &target).expect_err("sectors differ");
    assert!(error.to_string().contains("sectors"), "{error}");
    assert!(std::fs::read(&path).expect("it is a file") == before);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_loop_device_with_large_sectors_is_flashed() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let path = used_file(directory.path());
    let device = Loop::new(&path, 4096);
    let target = BlockDevice::open(&device.0).expect("nobody uses it");
    let shape = Shape {
        sector_size: 4096,
        ..Shape::default()
    };
    // libblkid takes the sector size from the device, so it must examine the image on this one.
    let image = Image::probed(shape, |raw| {
        std::fs::write(&path, raw)?;
        target.reread_partition_table()?;
        target.partition_table()
    });
    used_file(directory.path());
    flash_with(&image, &MemorySource::new(&image), &target, &(), None).expect("nothing is wrong");
    let mut content = vec![0; SIZE];
    let file = File::open(&path).expect("it is a file");
    file.read_exact_at(&mut content, 0).expect("it is a file");
    assert_carries(&content, &image);
}
