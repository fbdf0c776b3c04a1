//! The signature over the manifest file: minisign, so that the stock `minisign -V` can check it too.

use std::fmt;

/// Longest `.minisig` or `.pub` file a reader accepts, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 4096;

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a minisign public key.
    #[error("it is not a minisign public key, a line of base64 that starts with RW")]
    PublicKey,
    /// The secret key instead of the public key.
    #[error("it is a minisign secret key, which stays on the workstation")]
    SecretKey,
    /// Not a minisign signature file.
    #[error("this is not a minisign signature: {0}")]
    Malformed(String),
    /// Signed, but with none of these keys.
    #[error("the manifest is signed with another key than {}", list(.0))]
    OtherKey(Vec<PublicKey>),
    /// Signed with this key, but over other bytes; also what a reader meets for a moment while a release is replaced.
    #[error("the signature does not fit the manifest")]
    Mismatch,
}

fn list(keys: &[PublicKey]) -> String {
    let keys: Vec<String> = keys.iter().map(PublicKey::to_string).collect();
    keys.join(" or ")
}

/// What minisign's secret keys begin with in base64: with a password, and without one.
pub const SECRET_KEYS: [&str; 2] = ["RWRTY0Iy", "RWQAAEIy"];

/// A minisign public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    base64: String,
}

impl PublicKey {
    /// Reads a key: the base64 line, or the whole `.pub` file with its comment.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let base64 = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"))
            .ok_or(SignatureError::PublicKey)?;
        let key = minisign_verify::PublicKey::from_base64(base64).map_err(|_| {
            let is_secret = SECRET_KEYS.iter().any(|start| base64.starts_with(start));
            if is_secret {
                SignatureError::SecretKey
            } else {
                SignatureError::PublicKey
            }
        })?;
        Ok(Self {
            key,
            base64: base64.to_owned(),
        })
    }
}

/// The base64 line, as the card's configuration holds it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base64)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base64)
    }
}

/// Checks the signature file `minisig` over the manifest file's bytes, its trusted comment included.
pub fn verify(key: &PublicKey, manifest: &[u8], minisig: &str) -> Result<(), SignatureError> {
    if minisig.len() > MAX_SIGNATURE_BYTES {
        return Err(SignatureError::Malformed(format!(
            "it is longer than {MAX_SIGNATURE_BYTES} bytes"
        )));
    }
    if minisig.trim().is_empty() {
        return Err(SignatureError::Malformed("it is empty".to_owned()));
    }
    let signature = minisign_verify::Signature::decode(minisig)
        .map_err(|error| SignatureError::Malformed(error.to_string()))?;
    key.key
        .verify(manifest, &signature, false)
        .map_err(|error| match error {
            minisign_verify::Error::UnexpectedKeyId => SignatureError::OtherKey(vec![key.clone()]),
            minisign_verify::Error::InvalidSignature => SignatureError::Mismatch,
            other => SignatureError::Malformed(other.to_string()),
        })
}

/// Gives the one of these keys that signed the manifest file's bytes.
pub fn verify_any<'k>(
    keys: &[&'k PublicKey],
    manifest: &[u8],
    minisig: &str,
) -> Result<&'k PublicKey, SignatureError> {
    let all = keys.iter().map(|key| (*key).clone()).collect();
    let mut refusal = SignatureError::OtherKey(all);
    for key in keys {
        match verify(key, manifest, minisig) {
            Ok(()) => return Ok(key),
            Err(SignatureError::OtherKey(_)) => {}
            // The signature names this key, so this error says more than that another key does not match.
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
