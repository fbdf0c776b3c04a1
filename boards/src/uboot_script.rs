//! U-Boot's legacy image with a script in it, `boot.scr`, as `mkimage -T script -C none` makes it.

use thiserror::Error;

use crate::wire::{be32, put};

const MAGIC: u32 = 0x2705_1956;
const HEADER: usize = 64;
const NAME: usize = 32;
const HEADER_CRC: usize = 4;
/// Linux, arm64, script, not compressed.
const KIND: [u8; 4] = [5, 22, 6, 0];
/// The script's length and a zero before it.
const TABLE: usize = 8;

/// Why a script cannot be packed or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// The name does not fit into its field.
    #[error("a name of {0} bytes is too long for a boot script: at most {NAME} fit")]
    Name(usize),
    /// The text is longer than the format can say.
    #[error("a boot script of {0} bytes is too long")]
    TooLong(usize),
    /// It is something else.
    #[error("no U-Boot image begins here")]
    Magic,
    /// It is a legacy image with something else in it.
    #[error("a U-Boot image, but not an uncompressed boot script for arm64")]
    Kind,
    /// It ends too early, or its lengths contradict each other.
    #[error("damaged boot script: its lengths do not fit")]
    Length,
    /// The header is not what its checksum says.
    #[error("damaged boot script: the checksum of its header differs from the stored one")]
    HeaderCrc,
    /// The script is not what its checksum says.
    #[error("damaged boot script: the checksum of its text differs from the stored one")]
    DataCrc,
}

/// A boot script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its name, for people.
    pub name: Vec<u8>,
    /// When it was made: seconds since 1970.
    pub time: u32,
    /// Its commands.
    pub text: Vec<u8>,
}

impl Script {
    /// Whether these bytes begin like a legacy image, whole or not.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        be32(bytes, 0) == Some(MAGIC)
    }

    /// Reads a boot script and checks its checksums. Bytes behind it are passed over, as U-Boot does.
    pub fn parse(bytes: &[u8]) -> Result<Self, ScriptError> {
        if !Self::begins(bytes) {
            return Err(ScriptError::Magic);
        }
        let (header, data) = bytes.split_at_checked(HEADER).ok_or(ScriptError::Length)?;
        let field = |at| be32(header, at).ok_or(ScriptError::Length);
        let mut blank = header.to_vec();
        put(&mut blank, HEADER_CRC, &[0; 4]);
        if crc32fast::hash(&blank) != field(HEADER_CRC)? {
            return Err(ScriptError::HeaderCrc);
        }
        let data = data.get(..field(12)? as usize).ok_or(ScriptError::Length)?;
        if crc32fast::hash(data) != field(24)? {
            return Err(ScriptError::DataCrc);
        }
        if header[28..32] != KIND {
            return Err(ScriptError::Kind);
        }
        let table = (be32(data, 0), be32(data, 4));
        let text = data.get(TABLE..).ok_or(ScriptError::Length)?;
        if table != (u32::try_from(text.len()).ok(), Some(0)) {
            return Err(ScriptError::Length);
        }
        let name = &header[HEADER - NAME..];
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Self {
            name: name.to_vec(),
            time: field(8)?,
            text: text.to_vec(),
        })
    }

    /// The bytes of the image.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ScriptError> {
        if self.name.len() > NAME {
            return Err(ScriptError::Name(self.name.len()));
        }
        let too_long = |_| ScriptError::TooLong(self.text.len());
        let text_length = u32::try_from(self.text.len()).map_err(too_long)?;
        let length = u32::try_from(TABLE + self.text.len()).map_err(too_long)?;
        let data = [&text_length.to_be_bytes(), &[0; 4], self.text.as_slice()].concat();
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 0, &MAGIC.to_be_bytes());
        put(&mut bytes, 8, &self.time.to_be_bytes());
        put(&mut bytes, 12, &length.to_be_bytes());
        put(&mut bytes, 24, &crc32fast::hash(&data).to_be_bytes());
        put(&mut bytes, 28, &KIND);
        put(&mut bytes, HEADER - NAME, &self.name);
        let crc = crc32fast::hash(&bytes);
        put(&mut bytes, HEADER_CRC, &crc.to_be_bytes());
        bytes.extend(data);
        Ok(bytes)
    }
}
