//! A public key of SSH, as a line of `authorized_keys` has it. sshd ignores a line that it cannot read, and does not report it,
//! so the build finds a key that was cut off.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The kinds of public keys that OpenSSH knows.
const KINDS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
const ED25519: &str = "ssh-ed25519";
const CERTIFICATE: &str = "-cert-";

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is something else.
    NotAKey,
    /// It begins as a key and is not all of one.
    NotWhole,
}

/// Judges a line: its kind, its key in Base64, and a comment.
pub fn check(line: &str) -> Result<(), Problem> {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let key = words.next().unwrap_or_default();
    let is_known = KINDS.iter().any(|start| kind.starts_with(start));
    if !is_known || !key.starts_with("AAAA") || line.contains(char::is_control) {
        return Err(Problem::NotAKey);
    }
    let bytes = STANDARD.decode(key).map_err(|_| Problem::NotWhole)?;
    let fields = fields(&bytes, kind).ok_or(Problem::NotWhole)?;
    let is_whole = match fields.as_slice() {
        [name, key] if kind == ED25519 => *name == kind.as_bytes() && key.len() == 32,
        [name, _] => kind.contains(CERTIFICATE) && *name == kind.as_bytes(),
        [name, _, _, ..] => kind != ED25519 && *name == kind.as_bytes(),
        _ => false,
    };
    is_whole.then_some(()).ok_or(Problem::NotWhole)
}

/// The fields of a key, each behind its length in four bytes. A certificate has numbers among them: of it only the first two.
fn fields<'a>(mut bytes: &'a [u8], kind: &str) -> Option<Vec<&'a [u8]>> {
    let limit = if kind.contains(CERTIFICATE) {
        2
    } else {
        usize::MAX
    };
    let mut fields = Vec::new();
    while !bytes.is_empty() && fields.len() < limit {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A key that `ssh-keygen` makes.
    fn made(options: &[&str]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "me@here", "-f"])
            .arg(&file)
            .args(options)
            .status()
            .expect("ssh-keygen of openssh-client");
        assert!(made.success(), "{options:?}");
        let line = std::fs::read_to_string(file.with_extension("pub")).expect("a key");
        line.trim().to_owned()
    }

    #[test]
    fn a_whole_key_of_each_kind_is_one_and_no_beginning_of_it_is() {
        for options in [
            &["-t", "ed25519"][..],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "ecdsa"],
        ] {
            let line = made(options);
            assert_eq!(check(&line), Ok(()), "{line}");
            let (bare, comment) = line.rsplit_once(' ').expect("a comment");
            assert_eq!(check(bare), Ok(()), "{bare}");
            let begin = bare.find("AAAA").expect("a key") + 4;
            for end in begin..bare.len() {
                let cut = format!("{} {comment}", &bare[..end]);
                assert_eq!(check(&cut), Err(Problem::NotWhole), "{cut}");
            }
        }
    }

    #[test]
    fn a_key_under_the_name_of_another_kind_is_not_one() {
        let line = made(&["-t", "ed25519"]);
        let other = line.replacen("ssh-ed25519", "ssh-rsa", 1);
        assert_eq!(check(&other), Err(Problem::NotWhole));
        let longer = line.replacen(" me@here", "AAAA me@here", 1);
        assert_eq!(check(&longer), Err(Problem::NotWhole));
    }

    #[test]
    fn something_else_is_not_called_half_a_key() {
        for line in ["", "hello", "ssh-ed25519", "ssh-ed25519 me@here", "AAAA"] {
            assert_eq!(check(line), Err(Problem::NotAKey), "{line}");
        }
    }
}
