//! The boot partition: its files, and the data in free space.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use fatfs::{Dir, DirEntry, FileSystem, FsOptions};

use crate::budget::{Budget, too_deep, too_long, two_of};
use crate::range::Range;

/// No file that a rule reads is longer.
const MAX_READ: u64 = 1 << 20;

/// Folders in folders that no boot partition has.
const MAX_DEPTH: usize = 16;

/// Bytes for the list of all files. A boot partition has some hundred of them.
const MAX_LIST: usize = 1 << 20;

/// Bytes that are read for that list. The reader goes on forever where the clusters of a folder lead back to its beginning and
/// have no entry that it would show.
const MAX_LISTED: u64 = 512 << 10;

/// The boot partition.
pub struct Fat {
    system: FileSystem<Metered>,
    partition: Range,
    /// Paths in lower case, because FAT ignores case, and their lengths.
    pub files: BTreeMap<String, u64>,
    /// The paths of folders, in lower case too.
    pub folders: BTreeSet<String>,
}

impl Fat {
    /// Opens the file system in this partition.
    pub fn open(partition: Range) -> io::Result<Self> {
        let left = Rc::new(Cell::new(MAX_LISTED));
        let metered = Metered {
            range: partition.clone(),
            left: Rc::clone(&left),
        };
        let system = FileSystem::new(metered, FsOptions::new())?;
        let mut found = BTreeMap::new();
        let mut budget = Budget::of(MAX_LIST);
        walk(&system.root_dir(), "", MAX_DEPTH, &mut budget, &mut found)?;
        let (mut files, mut folders) = (BTreeMap::new(), BTreeSet::new());
        for (path, length) in found {
            match length {
                Some(length) => drop(files.insert(path, length)),
                None => drop(folders.insert(path)),
            }
        }
        // What is read from here on has an end: the length of a file.
        left.set(u64::MAX);
        Ok(Self {
            system,
            partition,
            files,
            folders,
        })
    }

    /// Is it FAT32, which both boards' firmware reads from a disk of any size?
    pub fn is_fat32(&self) -> bool {
        self.system.fat_type() == fatfs::FatType::Fat32
    }

    /// The volume's label.
    pub fn label(&self) -> io::Result<String> {
        let label = self.system.read_volume_label_from_root_dir()?;
        Ok(label.unwrap_or_else(|| self.system.volume_label()))
    }

    /// The volume's number as /dev/disk/by-uuid has it.
    pub fn uuid(&self) -> String {
        let id = self.system.volume_id();
        format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
    }

    /// Opens a file; upper and lower case are the same.
    pub fn file(&self, path: &str) -> io::Result<impl Read + '_> {
        let path = path.to_lowercase();
        let length = *self.files.get(&path).ok_or(ErrorKind::NotFound)?;
        if length > self.partition.len() {
            return Err(too_long());
        }
        // As the list was made: the reader's own way looks at short names too, and knows another lower case.
        let mut folder = self.system.root_dir();
        let mut names = path.split('/');
        let name = names.next_back().unwrap_or_default();
        for name in names {
            folder = entry(&folder, name)?.to_dir();
        }
        Ok(entry(&folder, name)?.to_file())
    }

    /// A file's bytes, if there is such a file.
    pub fn bytes(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if !self.files.contains_key(&path.to_lowercase()) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.file(path)?.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// A file's text, if there is such a file.
    pub fn text(&self, path: &str) -> io::Result<Option<String>> {
        let bytes = self.bytes(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The whole partition.
    pub fn partition(&self) -> Range {
        self.partition.clone()
    }

    /// The first byte that is not zero of each run of free clusters, as an offset in the partition.
    pub fn data_in_free_clusters(&self) -> io::Result<Vec<u64>> {
        let boot = self.partition.vec_at(0, 512)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
        let sector = u16_at(11);
        let cluster = u64::from(boot[13]) * sector;
        let table = u16_at(14) * sector;
        let table_length = u32_at(36) * sector;
        let data = table + u64::from(boot[16]) * table_length;
        if !self.is_fat32() || cluster == 0 || data > self.partition.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "not FAT32"));
        }
        let end = self.partition.len().min(u32_at(32) * sector);
        let count = end.saturating_sub(data) / cluster;
        let length = usize::try_from(((count + 2) * 4).min(table_length)).unwrap_or(0);
        let entries = self.partition.vec_at(table, length)?;
        let is_free = |entry: &[u8]| entry[..3] == [0; 3] && entry[3] << 4 == 0;
        let mut found = Vec::new();
        let mut run: Option<(u64, u64)> = None;
        let entries = entries.chunks_exact(4).skip(2).map(is_free);
        for (index, free) in (0..).zip(entries.chain([false])) {
            match (&mut run, free) {
                (Some((_, clusters)), true) => *clusters += 1,
                (None, true) => run = Some((index, 1)),
                (_, false) => {
                    if let Some((first, clusters)) = run.take() {
                        let start = data + first * cluster;
                        let part = self.partition.part(start, clusters * cluster);
                        found.extend(part.first_data()?.map(|at| start + at));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// A partition of which no more than so many bytes are read.
struct Metered {
    range: Range,
    left: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.range.read(buffer)?;
        let left = self.left.get().checked_sub(length as u64);
        self.left.set(left.ok_or_else(too_deep)?);
        Ok(length)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.range.seek(to)
    }
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.range.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.range.flush()
    }
}

/// A name as the list has it.
fn name_of(entry: &DirEntry<'_, Metered>) -> String {
    entry.file_name().to_lowercase()
}

/// The entry of a folder that the list has under this name.
fn entry<'a>(folder: &Dir<'a, Metered>, name: &str) -> io::Result<DirEntry<'a, Metered>> {
    for entry in folder.iter() {
        let entry = entry?;
        if name_of(&entry) == name {
            return Ok(entry);
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// Finds the lengths of files; folders have none.
fn walk(
    folder: &Dir<'_, Metered>,
    prefix: &str,
    deeper: usize,
    budget: &mut Budget,
    found: &mut BTreeMap<String, Option<u64>>,
) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = name_of(&entry);
        let path = format!("{prefix}{name}");
        // Also a path that was there already: the clusters of a folder can lead back to its beginning.
        budget.take(&path, 0)?;
        if name == "." || name == ".." {
            continue;
        }
        // It would be taken for a file in another folder.
        if name.is_empty() || name.contains('/') {
            let why = "it has a file with a name that no file can have";
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let length = (!entry.is_dir()).then(|| entry.len());
        if found.insert(path.clone(), length).is_some() {
            return Err(two_of(&path));
        }
        if length.is_none() {
            let deeper = deeper.checked_sub(1).ok_or_else(too_deep)?;
            let prefix = format!("{path}/");
            walk(&entry.to_dir(), &prefix, deeper, budget, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Cursor;
    use std::process::Command;
    use std::sync::Arc;

    use super::*;

    /// The boot partition with this done to its bytes: `at` says where an entry of a folder is.
    fn opened(change: impl FnOnce(&mut Vec<u8>, &dyn Fn(&[u8], &str) -> usize)) -> io::Result<Fat> {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("image");
        let shown = image.to_string_lossy().into_owned();
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(output.status.success(), "{program}: {output:?}");
        };
        File::create(&image)
            .and_then(|file| file.set_len(34 << 20))
            .expect("room");
        run("mkfs.vfat", &["-F", "32", "-s", "1", &shown]);
        run("mmd", &["-i", &shown, "::A", "::A/B"]);
        let mut bytes = fs::read(&image).expect("the image");
        let at = |bytes: &[u8], name: &str| {
            let entry = format!("{name:<11}\u{10}");
            let found = bytes
                .windows(entry.len())
                .position(|part| part == entry.as_bytes());
            found.expect("the entry")
        };
        change(&mut bytes, &at);
        fs::write(&image, &bytes).expect("written");
        let length = bytes.len() as u64;
        Fat::open(Range::new(
            Arc::new(File::open(&image).expect("the image")),
            0,
            length,
        ))
    }

    fn is_refused(opened: io::Result<Fat>) {
        let error = opened.err().expect("refused").to_string();
        assert!(error.contains("lead into each other"), "{error}");
    }

    #[test]
    fn a_folder_in_itself_is_refused() {
        opened(|_, _| {}).expect("a file system");
        is_refused(opened(|bytes, at| {
            let (a, b) = (at(bytes, "A"), at(bytes, "B"));
            let cluster = [bytes[a + 26], bytes[a + 27]];
            bytes[b + 26..b + 28].copy_from_slice(&cluster);
        }));
    }

    fn system(bytes: &mut Vec<u8>) -> FileSystem<Cursor<&mut Vec<u8>>> {
        FileSystem::new(Cursor::new(bytes), FsOptions::new()).expect("a file system")
    }

    #[test]
    fn a_name_is_opened_as_it_is_listed() {
        let fat = opened(|bytes, _| {
            let system = system(bytes);
            let root = system.root_dir();
            let mut file = root.create_file("A/İx.txt").expect("a file");
            file.write_all(b"text").expect("written");
        });
        let fat = fat.expect("a file system");
        let paths: Vec<_> = fat.files.keys().collect();
        assert_eq!(paths, ["a/i\u{307}x.txt"]);
        assert_eq!(fat.folders, ["a", "a/b"].map(str::to_owned).into());
        for path in ["a/i\u{307}x.txt", "A/İX.TXT"] {
            let text = fat.text(path).expect("readable");
            assert_eq!(text.as_deref(), Some("text"), "{path}");
        }
    }

    #[test]
    fn a_name_that_hides_another_is_refused() {
        let twice = opened(|bytes, at| {
            system(bytes).root_dir().create_dir("AA").expect("a folder");
            let second = at(bytes, "AA");
            bytes[second + 1] = b' ';
        });
        let error = twice.err().expect("refused").to_string();
        assert!(error.contains("two files of the name a"), "{error}");
        let with_slash = opened(|bytes, _| {
            system(bytes).root_dir().create_file("a!b").expect("a file");
            let name: Vec<u8> = "a!b".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let found = bytes.windows(name.len()).position(|part| part == name);
            bytes[found.expect("the name") + 2] = b'/';
        });
        let error = with_slash.err().expect("refused").to_string();
        assert!(error.contains("no file can have"), "{error}");
    }

    /// Its clusters may lead back to its beginning.
    #[test]
    fn a_file_that_claims_to_be_longer_than_the_partition_is_not_opened() {
        let fat = opened(|bytes, at| {
            let a = at(bytes, "A");
            bytes[a + 11] = 0x20;
            bytes[a + 28..a + 32].fill(0xff);
        });
        let fat = fat.expect("a file system");
        let error = fat.file("a").err().expect("refused").to_string();
        assert!(error.contains("longer than its partition"), "{error}");
    }

    /// The reader would never return: it looks for an entry that is not deleted.
    #[test]
    fn the_clusters_of_a_folder_that_lead_back_to_its_beginning_are_refused() {
        is_refused(opened(|bytes, at| {
            let a = at(bytes, "A");
            let number = [bytes[a + 26], bytes[a + 27]];
            let cluster = usize::from(u16::from_le_bytes(number));
            let table = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
            let tables = usize::from(bytes[16]);
            let length = u32::from_le_bytes([36, 37, 38, 39].map(|at| bytes[at])) as usize * 512;
            let data = table + tables * length;
            let start = data + (cluster - 2) * 512;
            for entry in bytes[start..start + 512].chunks_mut(32) {
                entry[0] = 0xe5;
            }
            for copy in 0..tables {
                let place = table + copy * length + cluster * 4;
                bytes[place..place + 4].copy_from_slice(&[number[0], number[1], 0, 0]);
            }
        }));
    }
}
