//! A public key, a manifest and its signature. A signature that fits one manifest fits no other.

use crate::parts;
use gild_format::signature::{PublicKey, verify};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [key, minisig, manifest] = parts(input);
    let minisig = String::from_utf8_lossy(minisig);
    let Ok(key) = PublicKey::parse(&String::from_utf8_lossy(key)) else {
        return;
    };
    assert_eq!(PublicKey::parse(&key.to_string()).as_ref(), Ok(&key));
    if verify(&key, manifest, &minisig).is_ok() {
        let longer = [manifest, b" "].concat();
        assert!(verify(&key, &longer, &minisig).is_err());
        let mut other = manifest.to_vec();
        if let Some(byte) = other.first_mut() {
            *byte ^= 1;
            assert!(verify(&key, &other, &minisig).is_err());
        }
    }
}
