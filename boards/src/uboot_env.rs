//! U-Boot's environment: a checksum, and variables one after another.
//!
//! Names and values are bytes: U-Boot takes any but the zero byte, so a block whose checksum is right is valid whatever it
//! holds, and what this program was not asked to change is written again as it was.
//!
//! Where two copies are kept, each has a flag byte behind the checksum that says which one is newer. A valid
//! environment replaces U-Boot's built-in one entirely, so one without `bootcmd` leaves a board at U-Boot's prompt.

use std::collections::BTreeSet;

use memchr::memmem;
use thiserror::Error;

use crate::wire::{le32, put};

const CRC: usize = 4;
/// Where the flag is, in a block that is kept twice.
pub const FLAG_AT: usize = CRC;

/// Why an environment cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvError {
    /// The block is too short to be one.
    #[error("{0} bytes are too few for a U-Boot environment")]
    Short(usize),
    /// The checksum is wrong: it was never written, a write was cut short, or the block has another size.
    #[error("no valid U-Boot environment of {0} bytes begins here: its checksum is wrong")]
    Crc(usize),
    /// Not a name.
    #[error("`{0}` cannot be the name of a variable")]
    Name(String),
    /// Not a value.
    #[error("the value of `{0}` cannot hold a zero byte")]
    Value(String),
    /// A line of text is not an assignment.
    #[error("line {0} is not NAME=VALUE")]
    Line(usize),
    /// The variables do not fit.
    #[error("the variables take {needed} bytes, the environment has {size}")]
    TooLong {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes of the block.
        size: usize,
    },
}

/// Variables, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// What stands between two zero bytes: `name=value`, or a name alone, which stands for a variable that is not set.
    entries: Vec<Vec<u8>>,
}

impl Environment {
    /// The value of a variable. The last entry of a name counts, as in U-Boot.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        let mut entries = self.entries.iter().rev();
        let entry = entries.find(|entry| name_of(entry) == name)?;
        Some(split(entry)?.1).filter(|_| !name.is_empty())
    }

    /// All variables that are set, each with the value that counts.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut seen = BTreeSet::from([&b""[..]]);
        let last = self.entries.iter().rev();
        let mut variables: Vec<_> = last
            .filter(|entry| seen.insert(name_of(entry)))
            .filter_map(|entry| split(entry))
            .collect();
        variables.reverse();
        variables.into_iter()
    }

    /// Sets a variable: where it is if it exists, else at the end.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), EnvError> {
        let (name, value) = (name.as_ref(), value.as_ref());
        let shown = || String::from_utf8_lossy(name).into_owned();
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            return Err(EnvError::Name(shown()));
        }
        if value.contains(&0) {
            return Err(EnvError::Value(shown()));
        }
        let new = [name, b"=", value].concat();
        let mut entries = self.entries.iter_mut().rev();
        match entries.find(|entry| name_of(entry) == name) {
            Some(old) => *old = new,
            None => self.entries.push(new),
        }
        Ok(())
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.entries
            .retain(|entry| name.is_empty() || name_of(entry) != name);
    }

    /// Reads text with one `name=value` in a line, as `mkenvimage` takes it. Empty lines and comments are passed over.
    pub fn from_text(text: &str) -> Result<Self, EnvError> {
        let mut environment = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or(EnvError::Line(index + 1))?;
            environment.set(name, value)?;
        }
        Ok(environment)
    }

    /// The built-in environment of a U-Boot, from its program, if exactly one is there.
    #[must_use]
    pub fn built_into(u_boot: &[u8]) -> Option<Self> {
        let mut found = memmem::find_iter(u_boot, b"\0bootcmd=").take(100);
        let at = found.next()? + 1;
        if found.next().is_some() {
            return None;
        }
        let mut start = at;
        while let Some(before) = u_boot[..start].strip_suffix(b"\0") {
            let earlier = memchr::memrchr(0, before).map_or(0, |zero| zero + 1);
            if !is_assignment(&before[earlier..]) {
                break;
            }
            start = earlier;
        }
        let end = start + memmem::find(&u_boot[start..], b"\0\0")?;
        let environment = Self::from_data(&u_boot[start..end]);
        // There is no checksum, so other data of the program may follow.
        let is_text = |entry: &Vec<u8>| str::from_utf8(entry).is_ok();
        environment
            .entries
            .iter()
            .all(is_text)
            .then_some(environment)
    }

    /// Reads variables up to the empty one that ends them, or to the end of the block, as U-Boot does.
    fn from_data(data: &[u8]) -> Self {
        let entries = data.split(|byte| *byte == 0);
        let entries = entries.take_while(|entry| !entry.is_empty());
        Self {
            entries: entries.map(<[u8]>::to_vec).collect(),
        }
    }
}

fn split(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', entry)?;
    Some((&entry[..equals], &entry[equals + 1..]))
}

fn name_of(entry: &[u8]) -> &[u8] {
    split(entry).map_or(entry, |(name, _)| name)
}

fn is_assignment(text: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.#-".contains(byte);
    let name = text.iter().take_while(|byte| is_name(byte)).count();
    name > 0 && text.get(name) == Some(&b'=') && text.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// An environment as it lies in flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its variables.
    pub environment: Environment,
    /// The flag, where two copies are kept.
    pub flag: Option<u8>,
}

impl Block {
    /// Reads a block that is kept once.
    pub fn parse_plain(bytes: &[u8]) -> Result<Self, EnvError> {
        let data = checked(bytes, CRC)?;
        Ok(Self {
            environment: Environment::from_data(data),
            flag: None,
        })
    }

    /// Reads one of two copies.
    pub fn parse_redundant(bytes: &[u8]) -> Result<Self, EnvError> {
        let data = checked(bytes, CRC + 1)?;
        Ok(Self {
            environment: Environment::from_data(data),
            flag: Some(bytes[FLAG_AT]),
        })
    }

    /// Reads a block of either kind: only one of the two can have the right checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvError> {
        match Self::parse_redundant(bytes) {
            Err(_) => Self::parse_plain(bytes),
            other => other,
        }
    }

    /// The bytes of the block, filled up with this byte. U-Boot fills with 0, `mkenvimage` with 0xff.
    pub fn to_bytes(&self, size: usize, fill: u8) -> Result<Vec<u8>, EnvError> {
        let header = CRC + usize::from(self.flag.is_some());
        let mut data: Vec<u8> = Vec::new();
        for entry in &self.environment.entries {
            data.extend(entry);
            data.push(0);
        }
        data.push(0);
        let needed = header + data.len();
        if needed > size {
            return Err(EnvError::TooLong { needed, size });
        }
        data.resize(size - header, fill);
        let mut bytes = vec![0; header];
        put(&mut bytes, 0, &crc32fast::hash(&data).to_le_bytes());
        if let Some(flag) = self.flag {
            bytes[FLAG_AT] = flag;
        }
        bytes.extend(data);
        Ok(bytes)
    }

    /// Whether U-Boot would take the other one of two valid copies: the one with the higher flag, which counts round.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        match (self.flag.unwrap_or(0), other.flag.unwrap_or(0)) {
            (255, 0) => true,
            (0, 255) => false,
            (own, other) => own < other,
        }
    }
}

/// The bytes under the checksum, if it is right.
fn checked(bytes: &[u8], header: usize) -> Result<&[u8], EnvError> {
    let data = bytes.get(header..).filter(|data| !data.is_empty());
    let data = data.ok_or(EnvError::Short(bytes.len()))?;
    if le32(bytes, 0) == Some(crc32fast::hash(data)) {
        Ok(data)
    } else {
        Err(EnvError::Crc(bytes.len()))
    }
}
