//! Which files are exactly as their Debian package has them.

use std::collections::HashMap;
use std::io::{self, Read};

use md5::{Digest, Md5};

use crate::content::{Hit, IN_INITRD};
use crate::root::Root;

/// The sums that dpkg keeps of the files of its packages.
pub struct Packages(HashMap<String, String>);

impl Packages {
    /// Reads dpkg's lists.
    pub fn read(root: &Root) -> io::Result<Self> {
        let mut sums = HashMap::new();
        let lists = root.in_folder("var/lib/dpkg/info").map(|(path, _)| path);
        for list in lists.filter(|path| path.ends_with(".md5sums")) {
            let text = root.text(list)?.unwrap_or_default();
            for (sum, path) in text.lines().filter_map(|line| line.split_once("  ")) {
                sums.insert(path.to_owned(), sum.to_owned());
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
        Ok(Self(sums))
    }

    /// Is the file in which this was found as its package has it? Then everybody has it.
    pub fn ship(&self, root: &Root, hit: &Hit) -> io::Result<bool> {
        let path = hit.path.strip_prefix(IN_INITRD).unwrap_or(&hit.path);
        // Packages from before the merged /usr list /lib/name.
        let before_merge = path.strip_prefix("usr/").unwrap_or(path);
        let Some(expected) = self.0.get(path).or_else(|| self.0.get(before_merge)) else {
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
