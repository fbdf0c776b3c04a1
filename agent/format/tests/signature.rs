//! A manifest counts only with the signature of the key on the card.

use std::io::Cursor;

use gild_format::release::{READS, read_signed};
use gild_format::signature::{PublicKey, SignatureError, verify, verify_any};
use minisign::KeyPair;

struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().expect("a key pair"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::parse(&self.0.pk.to_base64()).expect("a public key")
    }

    fn sign(&self, bytes: &[u8]) -> String {
        minisign::sign(
            Some(&self.0.pk),
            &self.0.sk,
            Cursor::new(bytes),
            Some("rpi5"),
            None,
        )
        .expect("a signature")
        .into_string()
    }
}

#[test]
fn the_right_signature_is_accepted_with_either_spelling_of_the_key() {
    let signer = Signer::new();
    let minisig = signer.sign(b"{}");
    assert_eq!(verify(&signer.public(), b"{}", &minisig), Ok(()));
    let file = signer.0.pk.to_box().expect("a key file").into_string();
    assert_eq!(PublicKey::parse(&file), Ok(signer.public()));
    assert_eq!(signer.public().to_string(), signer.0.pk.to_base64());
}

#[test]
fn other_bytes_another_key_and_another_comment_are_refused() {
    let signer = Signer::new();
    let minisig = signer.sign(b"{}");
    assert_eq!(
        verify(&signer.public(), b"{ }", &minisig),
        Err(SignatureError::Mismatch)
    );
    let other = Signer::new().public();
    assert_eq!(
        verify(&other, b"{}", &minisig),
        Err(SignatureError::OtherKey(vec![other.clone()]))
    );
    let renamed = minisig.replace("trusted comment: rpi5", "trusted comment: rock5b");
    assert_ne!(renamed, minisig);
    assert_eq!(
        verify(&signer.public(), b"{}", &renamed),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn either_of_two_keys_counts_and_a_third_does_not() {
    let (old, new, third) = (Signer::new(), Signer::new(), Signer::new());
    let (old_key, new_key) = (old.public(), new.public());
    let keys = [&old_key, &new_key];
    for (signer, key) in [(&old, &old_key), (&new, &new_key)] {
        let minisig = signer.sign(b"{}");
        assert_eq!(verify_any(&keys, b"{}", &minisig), Ok(key));
        assert_eq!(
            verify_any(&keys, b"{ }", &minisig),
            Err(SignatureError::Mismatch)
        );
    }
    let error = verify_any(&keys, b"{}", &third.sign(b"{}")).expect_err("a third key");
    assert_eq!(
        error,
        SignatureError::OtherKey(vec![old_key.clone(), new_key.clone()])
    );
    assert_eq!(
        error.to_string(),
        format!("the manifest is signed with another key than {old_key} or {new_key}")
    );
    assert!(matches!(
        verify_any(&keys, b"{}", "<html>404</html>"),
        Err(SignatureError::Malformed(_))
    ));
    let minisig = old.sign(b"{}");
    assert_eq!(
        verify_any(&[], b"{}", &minisig),
        Err(SignatureError::OtherKey(Vec::new()))
    );
}

/// The signature of a release is replaced before its manifest: in a change of the key, it is the new key's already.
#[test]
fn a_release_that_changes_the_key_is_read_again_in_the_middle_of_its_replacement() {
    let (old, new) = (Signer::new(), Signer::new());
    let (old_key, new_key) = (old.public(), new.public());
    let minisig = new.sign(b"new");
    let mut manifests = [b"old", b"new"].into_iter();
    let read = || {
        let manifest = manifests.next().expect("no more reads than manifests");
        Ok::<_, ()>((manifest.to_vec(), minisig.clone()))
    };
    let found = read_signed(&[&old_key, &new_key], read, |_| ());
    assert_eq!(found, Ok(Ok((b"new".to_vec(), &new_key))));
}

#[test]
fn what_is_no_signature_or_no_key_is_said_so() {
    let signer = Signer::new();
    for text in [
        "",
        "untrusted comment: x\n",
        "<html>404</html>",
        &"x".repeat(5000),
        &signer.sign(b"{}")[..150],
    ] {
        assert!(
            matches!(
                verify(&signer.public(), b"{}", text),
                Err(SignatureError::Malformed(_))
            ),
            "{text:?}"
        );
    }
    for text in [
        "",
        "\n\n",
        "RWQ",
        "untrusted comment: only a comment",
        "a password",
    ] {
        assert!(
            matches!(PublicKey::parse(text), Err(SignatureError::PublicKey)),
            "{text:?}"
        );
    }
    for text in [
        "untrusted comment: minisign encrypted secret key\nRWRTY0Iyx",
        "RWQAAEIyx",
    ] {
        assert!(
            matches!(PublicKey::parse(text), Err(SignatureError::SecretKey)),
            "{text:?}"
        );
    }
}

#[test]
fn a_manifest_that_does_not_fit_its_signature_is_read_again_a_few_times() {
    let signer = Signer::new();
    let minisig = signer.sign(b"new");
    for (old, fits) in [(0, true), (1, true), (READS - 1, true), (READS, false)] {
        let (mut reads, mut waits) = (0, 0);
        let read = || {
            reads += 1;
            let manifest: &[u8] = if reads > old { b"new" } else { b"old" };
            Ok::<_, ()>((manifest.to_vec(), minisig.clone()))
        };
        let key = signer.public();
        let found = read_signed(&[&key], read, |_| waits += 1);
        let expected = if fits {
            Ok((b"new".to_vec(), &key))
        } else {
            Err(SignatureError::Mismatch)
        };
        assert_eq!(found, Ok(expected), "{old}");
        assert_eq!(waits, old.min(READS - 1), "{old}");
    }
    let key = signer.public();
    let failed = read_signed(&[&key], || Err("no server"), |_| ());
    assert_eq!(failed, Err("no server"));
    let other = Signer::new().public();
    let found = read_signed(
        &[&other],
        || Ok::<_, ()>((b"new".to_vec(), minisig.clone())),
        |_| panic!("another key does not become the right one"),
    );
    assert!(matches!(found, Ok(Err(SignatureError::OtherKey(_)))));
}
