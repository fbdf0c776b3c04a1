//! Which files are exactly as their Debian package has them.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use md5::{Digest, Md5};

use crate::content::{Hit, IN_INITRD};
use crate::root::{Kind, Root};

/// What dpkg says about the files of its packages.
pub struct Packages {
    /// MD5 by path.
    sums: HashMap<String, String>,
    /// All paths, also of folders and links.
    paths: HashSet<String>,
}

impl Packages {
    /// Reads dpkg's lists.
    pub fn read(root: &Root) -> io::Result<Self> {
        let (mut sums, mut paths) = (HashMap::new(), HashSet::new());
        for (path, _) in root.in_folder("var/lib/dpkg/info") {
            let (_, ending) = path.rsplit_once('.').unwrap_or_default();
            if !["md5sums", "list"].contains(&ending) {
                continue;
            }
            let text = root.text(path)?.unwrap_or_default();
            for line in text.lines() {
                if let Some(path) = line.strip_prefix('/') {
                    paths.insert(path.to_owned());
                } else if let Some((sum, path)) = line.split_once("  ") {
                    sums.insert(path.to_owned(), sum.to_owned());
                }
            }
        }
        let status = root.text("var/lib/dpkg/status")?.unwrap_or_default();
        for line in status.lines() {
            // Conffiles: " /etc/name sum [obsolete]"
            let mut words = line.strip_prefix(" /").unwrap_or_default().split(' ');
            if let (Some(path), Some(sum)) = (words.next(), words.next())
                && sum.len() == 32
            {
                sums.insert(path.to_owned(), sum.to_owned());
            }
        }
        Ok(Self { sums, paths })
    }

    /// Is the file with this finding the one that its package ships? Then the content is public.
    pub fn ship(&self, root: &Root, hit: &Hit) -> io::Result<bool> {
        let path = hit.path.strip_prefix(IN_INITRD).unwrap_or(&hit.path);
        // Packages from before the merged /usr list /lib/name.
        let before_merge = path.strip_prefix("usr/").unwrap_or(path);
        if matches!(root.kind(path), Some(Kind::Folder | Kind::Symlink(_))) {
            return Ok(self.paths.contains(path) || self.paths.contains(before_merge));
        }
        let sum = |path| self.sums.get(path);
        let Some(expected) = sum(path).or_else(|| sum(before_merge)) else {
            return Ok(false);
        };
        Ok(match &hit.md5 {
            Some(found) => found == expected,
            None => md5(root.file(path)?)? == *expected,
        })
    }
}

fn md5(mut file: impl Read) -> io::Result<String> {
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}
