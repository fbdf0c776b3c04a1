//! A public key, a manifest and its signature. A signature that fits one manifest fits no other.
#![no_main]

use gild_format::signature::{PublicKey, verify};
use gild_fuzz::parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
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
});
