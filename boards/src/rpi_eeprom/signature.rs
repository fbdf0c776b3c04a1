//! The `.sig` file beside an image: its digest and the time of the update.

use sha2::{Digest, Sha256};
use thiserror::Error;

/// What a `.sig` file says, as the vendor's `rpi-eeprom-digest` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// SHA-256 of the signed file.
    pub sha256: [u8; 32],
    /// Seconds since 1970. The bootloader calls it the time of the update, and reports it in the device tree at
    /// `/chosen/bootloader/update-timestamp`.
    pub timestamp: Option<u32>,
    /// Number of the processor that the file is for.
    pub target_soc: Option<u32>,
    /// RSA signature of the digest, for secure boot.
    pub rsa2048: Option<Vec<u8>>,
}

/// Why text is not a `.sig` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The first line is not a digest.
    #[error("its first line is not the SHA-256 of a file, 64 lower-case hex digits")]
    NoDigest,
    /// A line is not what its key promises.
    #[error("its `{0}` line cannot be read")]
    Value(&'static str),
}

impl Signature {
    /// The plain signature of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8], timestamp: u32) -> Self {
        Self {
            sha256: Sha256::digest(bytes).into(),
            timestamp: Some(timestamp),
            target_soc: None,
            rsa2048: None,
        }
    }

    /// Reads a `.sig` file. Lines with unknown keys are passed over.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines();
        let digest = lines.next().unwrap_or_default().trim_end();
        let mut sha256 = [0; 32];
        if digest.contains(|c: char| c.is_ascii_uppercase())
            || hex::decode_to_slice(digest, &mut sha256).is_err()
        {
            return Err(SignatureError::NoDigest);
        }
        let mut signature = Self {
            sha256,
            timestamp: None,
            target_soc: None,
            rsa2048: None,
        };
        for (key, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match key {
                "ts" => signature.timestamp = Some(number("ts", value)?),
                "target-soc" => signature.target_soc = Some(number("target-soc", value)?),
                "rsa2048" => {
                    let bytes = hex::decode(value).map_err(|_| SignatureError::Value("rsa2048"))?;
                    signature.rsa2048 = Some(bytes);
                }
                _ => {}
            }
        }
        Ok(signature)
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let optional = |key: &str, value: Option<String>| {
            value.map_or(String::new(), |value| format!("{key}: {value}\n"))
        };
        [
            format!("{}\n", hex::encode(self.sha256)),
            optional("ts", self.timestamp.map(|time| time.to_string())),
            optional("target-soc", self.target_soc.map(|soc| soc.to_string())),
            optional("rsa2048", self.rsa2048.as_ref().map(hex::encode)),
        ]
        .concat()
    }

    /// Whether these bytes have the digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.sha256 == <[u8; 32]>::from(Sha256::digest(bytes))
    }
}

fn number(key: &'static str, text: &str) -> Result<u32, SignatureError> {
    text.parse().map_err(|_| SignatureError::Value(key))
}
