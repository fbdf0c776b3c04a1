//! Reads every byte of the image once and looks for secrets in all of it.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ext4_view::Ext4;
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::blocks::{Blocks, Use};
use crate::canary::Origin;
use crate::fat::Fat;
use crate::image::KERNEL;
use crate::initramfs;
use crate::packed;
use crate::place::Place;
use crate::range::Range;
use crate::report::Finding;
use crate::root::{Kind, Root, io_error};
use crate::scan::{Match, Scanner, Window};

/// The initramfs on the boot partition.
pub const INITRD: &str = "initrd.img";

/// How the paths of the initramfs begin in findings.
pub const IN_INITRD: &str = "boot:initrd.img:";

/// A secret and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As in [`Finding::path`].
    pub path: String,
    /// What was found.
    pub secret: Match,
    /// In what a compressed file unpacks to, and not in the file as it is.
    pub unpacked: bool,
    /// MD5 of the file, if it cannot be read again by its path: dpkg's lists have that sum.
    pub md5: Option<String>,
}

/// The sum of what passes.
struct Summed<R>(R, Md5);

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        self.1.update(&buffer[..length]);
        Ok(length)
    }
}

/// What reading everything showed.
#[derive(Default)]
pub struct Content {
    /// Secrets.
    pub hits: Vec<Hit>,
    /// Data where nothing should be.
    pub unexpected_data: Vec<Finding>,
    /// What could not be read.
    pub unreadable: Vec<Finding>,
    /// Paths of the files in the initramfs.
    pub initramfs: Vec<String>,
    /// Files of the root file system that were read.
    pub files: usize,
    /// Of the whole image.
    pub sha256: String,
}

impl Content {
    fn take(&mut self, path: &str, unpacked: bool, found: io::Result<Vec<Match>>) {
        match found {
            Ok(found) => self.hits.extend(found.into_iter().map(|secret| Hit {
                path: path.to_owned(),
                secret,
                unpacked,
                md5: None,
            })),
            Err(error) => self.unreadable.push(unreadable(path, &error)),
        }
    }

    /// Looks into a file, and into what it unpacks to.
    fn search<R: Read>(
        &mut self,
        scan: &mut dyn FnMut(&mut dyn Read) -> io::Result<Vec<Match>>,
        path: &str,
        open: impl Fn() -> io::Result<R>,
    ) {
        self.take(path, false, open().and_then(|mut file| scan(&mut file)));
        match open().and_then(packed::open) {
            Ok(None) => {}
            Ok(Some(mut unpacked)) => self.take(path, true, scan(&mut unpacked)),
            Err(error) => self.unreadable.push(unreadable(path, &error)),
        }
    }

    fn add(&mut self, other: Self) {
        self.hits.extend(other.hits);
        self.unexpected_data.extend(other.unexpected_data);
        self.unreadable.extend(other.unreadable);
        self.initramfs.extend(other.initramfs);
        self.files += other.files;
    }
}

fn unreadable(path: &str, error: &io::Error) -> Finding {
    Finding::new(path, format!("cannot be read: {error}"))
}

/// Reads everything, on all cores.
pub fn read(
    disk: &Range,
    boot: &Fat,
    root: &Root,
    root_partition: &Range,
    scanner: &Scanner,
) -> Content {
    let files: Vec<_> = root
        .nodes
        .iter()
        .filter(|(_, node)| matches!(node.kind, Kind::File(length) if length > 0))
        .map(|(path, node)| (path.as_str(), &node.raw))
        .collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Content::default());
    let keep = |part: Content| match all.lock() {
        Ok(mut all) => all.add(part),
        // Only a panic poisons it, and that ends the scope.
        Err(poisoned) => poisoned.into_inner().add(part),
    };
    let (keep, files, next) = (&keep, &files, &next);
    let threads = thread::available_parallelism().map_or(1, Into::into);
    let sha256 = thread::scope(|scope| {
        let digest = scope.spawn(|| sha256(disk.clone()));
        for _ in 0..threads {
            scope.spawn(move || keep(some_files(root_partition, files, next, scanner)));
        }
        scope.spawn(move || keep(blocks(root_partition, scanner)));
        // The FAT reader stays on the thread that opened it.
        keep(boot_partition(boot, scanner));
        keep(names(root, scanner));
        digest
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the reader ended early")))
    });
    let mut content = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    match sha256 {
        Ok(sha256) => content.sha256 = sha256,
        Err(error) => content.unreadable.push(unreadable("the image", &error)),
    }
    content.hits.sort_by(|one, other| {
        (&one.path, one.secret.offset).cmp(&(&other.path, other.secret.offset))
    });
    content
}

fn sha256(mut disk: Range) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match disk.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// The part of one thread, with its own reader: the crate's reader is for one thread.
fn some_files(
    partition: &Range,
    files: &[(&str, &ext4_view::PathBuf)],
    next: &AtomicUsize,
    scanner: &Scanner,
) -> Content {
    let mut content = Content::default();
    let system = match Ext4::load(Box::new(partition.clone())).map_err(io_error) {
        Ok(system) => system,
        Err(error) => {
            content.unreadable.push(unreadable("/", &error));
            return content;
        }
    };
    let mut window = Window::default();
    while let Some((path, raw)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut scan = |file: &mut dyn Read| scanner.scan(&mut window, file, Place::of(path));
        content.search(&mut scan, path, || system.open(*raw).map_err(io_error));
        content.files += 1;
    }
    content
}

/// Names and the targets of links can reveal as much as content.
fn names(root: &Root, scanner: &Scanner) -> Content {
    let mut content = Content::default();
    let mut window = Window::default();
    for (path, node) in &root.nodes {
        let target = match &node.kind {
            Kind::Symlink(target) => target.as_str(),
            _ => "",
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        let text = format!("{name}\n{target}");
        let found = scanner.scan(&mut window, text.as_bytes(), Place::Anywhere);
        content.take(path, false, found);
    }
    content
}

/// What lies outside of the root file system's files.
fn blocks(partition: &Range, scanner: &Scanner) -> Content {
    let mut content = Content::default();
    let place = |at: u64| format!("root partition, byte {at}");
    let blocks = match Blocks::read(partition) {
        Ok(blocks) => blocks,
        Err(error) => {
            content
                .unreadable
                .push(unreadable("the block tables", &error));
            return content;
        }
    };
    match blocks.data_in_free() {
        Ok(found) => content.unexpected_data.extend(found.into_iter().map(|at| {
            Finding::new(
                place(at),
                "data in a free block, or behind the end of a file",
            )
        })),
        Err(error) => content
            .unreadable
            .push(unreadable("the free blocks", &error)),
    }
    let mut window = Window::default();
    // Words in folders are names of files, which are looked at with their paths.
    let is_name = |found: &Match| {
        let names = [Origin::HostName, Origin::UserName, Origin::Resolver];
        found.origin.is_some_and(|origin| names.contains(&origin))
    };
    for (start, length) in blocks.runs(Use::Own) {
        match scanner.scan(&mut window, partition.part(start, length), Place::Anywhere) {
            Ok(found) => {
                let found = found.into_iter().filter(|found| !is_name(found));
                content.hits.extend(found.map(|secret| Hit {
                    path: place(start + secret.offset),
                    secret,
                    unpacked: false,
                    md5: None,
                }));
            }
            Err(error) => content.unreadable.push(unreadable(&place(start), &error)),
        }
    }
    content
}

fn boot_partition(boot: &Fat, scanner: &Scanner) -> Content {
    let mut content = Content::default();
    let mut window = Window::default();
    for path in boot.files.keys() {
        // The kernel tests itself with keys that everybody knows.
        let place = if path == KERNEL {
            Place::Anywhere
        } else {
            Place::Configuration
        };
        let mut scan = |file: &mut dyn Read| scanner.scan(&mut window, file, place);
        let shown = format!("boot:{path}");
        if path == INITRD {
            content.take(
                &shown,
                false,
                boot.file(path).and_then(|mut file| scan(&mut file)),
            );
        } else {
            content.search(&mut scan, &shown, || boot.file(path));
        }
    }
    // All of it, and not only free space: a name or an old entry of a folder may be a secret too.
    match scanner.scan(&mut window, boot.partition(), Place::Anywhere) {
        Ok(found) => content.hits.extend(found.into_iter().map(|secret| Hit {
            path: format!("boot partition, byte {}", secret.offset),
            secret,
            unpacked: false,
            md5: None,
        })),
        Err(error) => content
            .unreadable
            .push(unreadable("the boot partition", &error)),
    }
    match boot.data_in_free_clusters() {
        Ok(found) => content.unexpected_data.extend(found.into_iter().map(|at| {
            Finding::new(
                format!("boot partition, byte {at}"),
                "data in a free cluster",
            )
        })),
        Err(error) => content
            .unreadable
            .push(unreadable("the free clusters", &error)),
    }
    if boot.files.contains_key(INITRD) {
        for unpacked in [false, true] {
            if let Err(error) = files_of_initramfs(boot, scanner, &mut content, unpacked) {
                let finding = unreadable(&format!("boot:{INITRD}"), &error);
                content.unreadable.push(finding);
            }
        }
    }
    content
}

/// Looks into each file of the initramfs, or into what it unpacks to: a stream is read once only.
fn files_of_initramfs(
    boot: &Fat,
    scanner: &Scanner,
    content: &mut Content,
    unpacked: bool,
) -> io::Result<()> {
    let mut window = Window::default();
    let mut visit = |path: &str, file: &mut dyn Read| {
        let mut file = Summed(file, Md5::new());
        let place = Place::of(path);
        let found = if !unpacked {
            content.initramfs.push(path.to_owned());
            scanner.scan(&mut window, &mut file, place)?
        } else if let Some(unpacked) = packed::open(&mut file)? {
            scanner.scan(&mut window, unpacked, place)?
        } else {
            return Ok(());
        };
        // The sum is over the whole file.
        io::copy(&mut file, &mut io::sink())?;
        let md5 = (!found.is_empty()).then(|| hex::encode(file.1.finalize()));
        content.hits.extend(found.into_iter().map(|secret| Hit {
            path: format!("{IN_INITRD}{path}"),
            secret,
            unpacked,
            md5: md5.clone(),
        }));
        Ok(())
    };
    initramfs::read(boot.file(INITRD)?, &mut visit)
}
