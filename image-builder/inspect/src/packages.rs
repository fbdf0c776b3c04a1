//! Which files are exactly as their Debian package has them.

use std::collections::HashMap;
use std::io::{self, Read};

use md5::{Digest, Md5};

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

    /// Is this file as its package has it? Then everybody has it, and it says nothing about who built the image.
    pub fn has_shipped(&self, root: &Root, path: &str) -> io::Result<bool> {
        // Packages from before the merged /usr list /lib/name.
        let before_merge = path.strip_prefix("usr/").unwrap_or(path);
        let expected = self.0.get(path).or_else(|| self.0.get(before_merge));
        let Some(expected) = expected else {
            return Ok(false);
        };
        let mut file = root.file(path)?;
        let mut hasher = Md5::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex::encode(hasher.finalize()) == *expected),
                length => hasher.update(&buffer[..length]),
            }
        }
    }
}
