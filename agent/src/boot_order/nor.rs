//! A board's boot flash. It is found by its properties, and changed in the order of [`gild_boards::nor`].

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gild_boards::nor::{Step, plan};
use gild_disk::mtd::NorFlash;

use log::info;

use super::{BootOrderError, Kind};

/// How often progress is reported, in steps: erasing and writing a block takes some tenths of a second.
const SOME_STEPS: usize = 100;

/// A flash, or a part of one.
pub trait Nor {
    /// Bytes of it.
    fn size(&self) -> usize;
    /// Bytes of an erase block.
    fn block(&self) -> usize;
    /// Reads from the chip, through a fresh open.
    fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>>;
    /// Removes the write protection of the whole flash, if it has one.
    fn unlock(&self);
    /// Erases whole blocks.
    fn erase(&self, place: Range<usize>) -> io::Result<()>;
    /// Programs erased bytes.
    fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()>;
}

impl Nor for NorFlash {
    fn size(&self) -> usize {
        self.size()
    }

    fn block(&self) -> usize {
        self.block()
    }

    fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>> {
        self.read(place)
    }

    fn unlock(&self) {
        self.unlock();
    }

    fn erase(&self, place: Range<usize>) -> io::Result<()> {
        self.erase(place)
    }

    fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.write(at, bytes)
    }
}

/// A part of a flash, as if it were one.
pub struct Part<'a> {
    /// The flash.
    pub flash: &'a dyn Nor,
    /// The part, of whole blocks.
    pub place: Range<usize>,
}

impl Part<'_> {
    fn on_flash(&self, place: &Range<usize>) -> Range<usize> {
        self.place.start + place.start..self.place.start + place.end
    }
}

impl Nor for Part<'_> {
    fn size(&self) -> usize {
        self.place.len()
    }

    fn block(&self) -> usize {
        self.flash.block()
    }

    fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>> {
        self.flash.read(self.on_flash(&place))
    }

    fn unlock(&self) {
        self.flash.unlock();
    }

    fn erase(&self, place: Range<usize>) -> io::Result<()> {
        self.flash.erase(self.on_flash(&place))
    }

    fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.flash.write(self.place.start + at, bytes)
    }
}

/// Reads all of it.
pub fn read_all(flash: &dyn Nor) -> Result<Vec<u8>, BootOrderError> {
    flash
        .read(0..flash.size())
        .map_err(|error| BootOrderError::failed(format!("reading the boot flash: {error}")))
}

/// Gives the flash the wanted content, the page at `commit` last. It stops at the first error. Then the firmware ignores the flash until
/// another attempt has finished.
pub fn rewrite(
    flash: &dyn Nor,
    current: &[u8],
    wanted: &[u8],
    commit: usize,
    alive: &dyn Fn(),
) -> Result<(), BootOrderError> {
    let steps = plan(current, wanted, flash.block(), commit)
        .map_err(|error| BootOrderError::failed(error.to_string()))?;
    // All at once: a flash can protect ranges at its ends, but none in its middle.
    flash.unlock();
    for (done, step) in steps.iter().enumerate() {
        alive();
        if done > 0 && done.is_multiple_of(SOME_STEPS) {
            info!("boot flash: step {done} of {}", steps.len());
        }
        carry_out(flash, step, wanted).map_err(|error| match flash.read(0..current.len()) {
            // A locked flash ignores writes.
            Ok(found) if found == current => BootOrderError {
                kind: Kind::Failed,
                ..error
            },
            _ => error,
        })?;
    }
    if read_all(flash)? != wanted {
        return Err(BootOrderError::unfinished(
            "the boot flash reads back differently from what was written to it".to_owned(),
        ));
    }
    Ok(())
}

fn carry_out(flash: &dyn Nor, step: &Step, wanted: &[u8]) -> Result<(), BootOrderError> {
    let (action, place, done) = match step {
        Step::Erase(place) => ("erasing", place, flash.erase(place.clone())),
        Step::Write(place) => (
            "writing",
            place,
            flash.write(place.start, &wanted[place.clone()]),
        ),
        Step::CheckErased(place) => (
            "reading back",
            place,
            flash.read(place.clone()).and_then(|found| {
                let is_erased = found.iter().all(|byte| *byte == 0xff);
                is_erased
                    .then_some(())
                    .ok_or_else(|| io::Error::other("it was erased and is not: is it locked?"))
            }),
        ),
        Step::Check(place) => (
            "reading back",
            place,
            flash.read(place.clone()).and_then(|found| {
                (found == wanted[place.clone()])
                    .then_some(())
                    .ok_or_else(|| io::Error::other("it holds other bytes than were written"))
            }),
        ),
    };
    done.map_err(|error| {
        let (start, length) = (place.start, place.len());
        BootOrderError::unfinished(format!(
            "{action} {length} bytes at {start:#x} of the boot flash: {error}"
        ))
    })
}

/// A flash device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `mtd0`.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// The `compatible` entries of its own node in the device tree.
    pub own: Vec<String>,
    /// The entries of the device that it is connected to.
    pub parents: Vec<String>,
}

impl Device {
    /// Its device node.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// All NOR flash, and all partitions of it. The names and numbers of the devices depend on the order in which the kernel finds
/// them, so a flash is found by its properties.
pub fn devices(sys: &Path) -> Vec<Device> {
    let class = sys.join("class/mtd");
    let mut devices: Vec<Device> = fs::read_dir(&class)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Each has a second, read-only device.
        .filter(|name| name.starts_with("mtd") && !name.ends_with("ro"))
        .filter_map(|name| {
            let path = fs::canonicalize(class.join(&name)).ok()?;
            let text = |file: &str| fs::read_to_string(path.join(file)).ok();
            (text("type")?.trim() == "nor").then_some(())?;
            Some(Device {
                size: text("size")?.trim().parse().ok()?,
                own: compatible(&path),
                parents: path.ancestors().skip(1).flat_map(compatible).collect(),
                name,
            })
        })
        .collect();
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    devices
}

/// The `compatible` of a device's node in the device tree.
pub fn compatible(device: &Path) -> Vec<String> {
    let bytes = fs::read(device.join("of_node/compatible")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8_lossy(entry).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A chip that writes down what is done to it.
    struct Diary {
        bytes: RefCell<Vec<u8>>,
        lines: RefCell<Vec<String>>,
    }

    impl Nor for Diary {
        fn size(&self) -> usize {
            self.bytes.borrow().len()
        }

        fn block(&self) -> usize {
            4096
        }

        fn read(&self, place: Range<usize>) -> io::Result<Vec<u8>> {
            Ok(self.bytes.borrow()[place].to_vec())
        }

        fn unlock(&self) {
            self.lines.borrow_mut().push("unlock".to_owned());
        }

        fn erase(&self, place: Range<usize>) -> io::Result<()> {
            self.lines.borrow_mut().push(format!("erase {place:?}"));
            self.bytes.borrow_mut()[place].fill(0xff);
            Ok(())
        }

        fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
            let place = at..at + bytes.len();
            self.lines.borrow_mut().push(format!("write {place:?}"));
            self.bytes.borrow_mut()[place].copy_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_part_is_changed_where_it_lies_on_its_chip_and_unlocked_before_that() {
        let chip = Diary {
            bytes: RefCell::new(vec![7; 4 * 4096]),
            lines: RefCell::default(),
        };
        let part = Part {
            flash: &chip,
            place: 4096..3 * 4096,
        };
        assert_eq!((part.size(), part.block()), (2 * 4096, 4096));
        let wanted = vec![8; 2 * 4096];
        rewrite(&part, &[7; 2 * 4096], &wanted, 0, &|| ()).expect("a chip that works");
        assert_eq!(read_all(&part), Ok(wanted));
        let bytes = chip.bytes.borrow();
        assert!(bytes[..4096].iter().all(|byte| *byte == 7));
        assert!(bytes[3 * 4096..].iter().all(|byte| *byte == 7));
        let lines = chip.lines.borrow();
        assert_eq!(lines[..2], ["unlock", "erase 4096..8192"], "{lines:?}");
    }

    #[test]
    fn flash_is_told_by_what_it_is_connected_to() {
        let sys = tempfile::tempdir().expect("a directory");
        let class = sys.path().join("class/mtd");
        fs::create_dir_all(&class).expect("the class");
        let add = |name: &str, kind: &str, parent: &str, compatible: &str| {
            let parent = sys.path().join("devices").join(parent);
            let device = parent.join("mtd").join(name);
            fs::create_dir_all(parent.join("of_node")).expect("a node");
            fs::write(parent.join("of_node/compatible"), compatible).expect("its compatible");
            fs::create_dir_all(&device).expect("a device");
            fs::write(device.join("type"), format!("{kind}\n")).expect("its type");
            fs::write(device.join("size"), "16777216\n").expect("its size");
            std::os::unix::fs::symlink(&device, class.join(name)).expect("a link");
        };
        add("mtd1", "nor", "fe2b0000.spi/spi5.0", "jedec,spi-nor\0");
        add("mtd1ro", "nor", "fe2b0000.spi/spi5.0", "jedec,spi-nor\0");
        add("mtd0", "ram", "ram", "mtd-ram\0");
        fs::create_dir_all(sys.path().join("devices/fe2b0000.spi/of_node")).expect("a node");
        fs::write(
            sys.path().join("devices/fe2b0000.spi/of_node/compatible"),
            "rockchip,sfc\0",
        )
        .expect("its compatible");
        let found = devices(sys.path());
        assert_eq!(found[0].path(), Path::new("/dev/mtd1"));
        assert_eq!(
            found,
            [Device {
                name: "mtd1".to_owned(),
                size: 16 << 20,
                own: Vec::new(),
                parents: vec!["jedec,spi-nor".to_owned(), "rockchip,sfc".to_owned()],
            }]
        );
    }
}
