//! U-Boot's environment: a checksum, and variables one after another.
//!
//! Where two copies are kept, each has a flag byte behind the checksum that says which one is newer. A valid
//! environment replaces U-Boot's built-in one entirely, so one without `bootcmd` leaves a board at U-Boot's prompt.

use memchr::memmem;
use thiserror::Error;

use crate::wire::{le32, put};

const CRC: usize = 4;
/// Where the flag stands, in a block of which two copies are kept.
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
    /// The variables do not end.
    #[error("damaged U-Boot environment: its variables do not end")]
    NoEnd,
    /// Something is not text.
    #[error("the U-Boot environment holds text that is not UTF-8")]
    NotText,
    /// Not a name.
    #[error("`{0}` cannot be the name of a variable")]
    Name(String),
    /// Not a value.
    #[error("the value of `{0}` cannot hold a zero byte")]
    Value(String),
    /// A line of text is no assignment.
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
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a variable: in its place if it exists, else at the end.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EnvError> {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_ascii_control()) {
            return Err(EnvError::Name(name.to_owned()));
        }
        if value.contains('\0') {
            return Err(EnvError::Value(name.to_owned()));
        }
        match self.variables.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.variables.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: &str) {
        self.variables.retain(|(found, _)| found != name);
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

    /// The built-in environment of a U-Boot, from its program, if exactly one stands there.
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
        Self::from_data(&u_boot[start..]).ok()
    }

    /// Reads variables up to the empty one that ends them. The last one of a name counts, as in U-Boot.
    fn from_data(data: &[u8]) -> Result<Self, EnvError> {
        let mut environment = Self::default();
        let mut rest = data;
        loop {
            let end = memchr::memchr(0, rest).ok_or(EnvError::NoEnd)?;
            let (entry, after) = rest.split_at(end);
            if entry.is_empty() {
                return Ok(environment);
            }
            let entry = std::str::from_utf8(entry).map_err(|_| EnvError::NotText)?;
            // A name alone stands for a variable that is not set.
            if let Some((name, value)) = entry.split_once('=') {
                environment.set(name, value)?;
            }
            rest = &after[1..];
        }
    }
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
    /// Reads a block of which only one copy is kept.
    pub fn parse_plain(bytes: &[u8]) -> Result<Self, EnvError> {
        let data = checked(bytes, CRC)?;
        Ok(Self {
            environment: Environment::from_data(data)?,
            flag: None,
        })
    }

    /// Reads one of two copies.
    pub fn parse_redundant(bytes: &[u8]) -> Result<Self, EnvError> {
        let data = checked(bytes, CRC + 1)?;
        Ok(Self {
            environment: Environment::from_data(data)?,
            flag: Some(bytes[FLAG_AT]),
        })
    }

    /// Reads a block of either kind: only one of the two can have the right checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvError> {
        match Self::parse_redundant(bytes) {
            Err(EnvError::Crc(_)) => Self::parse_plain(bytes),
            other => other,
        }
    }

    /// The bytes of the block, filled up with this byte. U-Boot fills with 0, `mkenvimage` with 0xff.
    pub fn to_bytes(&self, size: usize, fill: u8) -> Result<Vec<u8>, EnvError> {
        let header = CRC + usize::from(self.flag.is_some());
        let mut data: Vec<u8> = Vec::new();
        for (name, value) in self.environment.iter() {
            data.extend([name, "=", value, "\0"].concat().bytes());
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

/// What the checksum covers, if it is right.
fn checked(bytes: &[u8], header: usize) -> Result<&[u8], EnvError> {
    let data = bytes.get(header..).filter(|data| !data.is_empty());
    let data = data.ok_or(EnvError::Short(bytes.len()))?;
    if le32(bytes, 0) == Some(crc32fast::hash(data)) {
        Ok(data)
    } else {
        Err(EnvError::Crc(bytes.len()))
    }
}
