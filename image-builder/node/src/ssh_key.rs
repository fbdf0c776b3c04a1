//! A public ssh key, in the form of a line in `authorized_keys`. sshd ignores a line that it cannot read and reports nothing. So the build
//! checks the keys, for example for one that was cut off.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The kinds of public keys that sshd takes, and how many fields each has.
const KINDS: [(&str, usize); 7] = [
    (ED25519, 2),
    ("ssh-rsa", 3),
    ("ecdsa-sha2-nistp256", 3),
    ("ecdsa-sha2-nistp384", 3),
    ("ecdsa-sha2-nistp521", 3),
    ("sk-ssh-ed25519@openssh.com", 3),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 4),
];
const ED25519: &str = "ssh-ed25519";
const DSS: &str = "ssh-dss";
const CERTIFICATE: &str = "-cert-";
/// The beginning of each key in Base64. It is the length of the kind's name, which is less than 256.
const BEGIN: &str = "AAAA";

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not a key.
    NotAKey,
    /// It begins like a key but is not complete.
    NotWhole,
    /// It has options before the key.
    Options,
    /// It is a certificate.
    Certificate,
    /// It is of a kind that sshd no longer takes.
    Dss,
}

/// Checks a line: its kind, its key in Base64, and perhaps a comment.
pub fn check(line: &str) -> Result<(), Problem> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, key, ..] = words[..] else {
        return Err(Problem::NotAKey);
    };
    if line.contains(char::is_control) {
        return Err(Problem::NotAKey);
    }
    if !key.starts_with(BEGIN) {
        let mut pairs = words.windows(2);
        let has_key = pairs.any(|pair| fields_of(pair[0]).is_some() && pair[1].starts_with(BEGIN));
        return Err(if has_key {
            Problem::Options
        } else {
            Problem::NotAKey
        });
    }
    if kind.contains(CERTIFICATE) {
        return Err(Problem::Certificate);
    }
    if kind == DSS {
        return Err(Problem::Dss);
    }
    let count = fields_of(kind).ok_or(Problem::NotAKey)?;
    let bytes = STANDARD.decode(key).map_err(|_| Problem::NotWhole)?;
    let fields = fields(&bytes).ok_or(Problem::NotWhole)?;
    let is_whole = fields.len() == count
        && fields[0] == kind.as_bytes()
        && (kind != ED25519 || fields[1].len() == 32);
    is_whole.then_some(()).ok_or(Problem::NotWhole)
}

/// How many fields a key of this kind has.
fn fields_of(kind: &str) -> Option<usize> {
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    known.map(|(_, count)| *count)
}

/// The fields of a key, each behind its length in four bytes.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
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

    /// A key of this kind with this many fields.
    fn composed(kind: &str, count: usize) -> String {
        let mut bytes = Vec::new();
        for field in std::iter::once(kind.as_bytes())
            .chain([&[7; 32][..]; 4])
            .take(count)
        {
            bytes.extend(u32::try_from(field.len()).expect("a length").to_be_bytes());
            bytes.extend(field);
        }
        format!("{kind} {} me@here", STANDARD.encode(bytes))
    }

    #[test]
    fn each_kind_has_its_number_of_fields() {
        for (kind, count) in KINDS {
            for wrong in [count - 1, count + 1] {
                let line = composed(kind, wrong);
                assert_eq!(check(&line), Err(Problem::NotWhole), "{line}");
            }
            assert_eq!(check(&composed(kind, count)), Ok(()), "{kind}");
        }
    }

    #[test]
    fn what_sshd_does_not_take_so_is_called_what_it_is() {
        let key = composed(ED25519, 2);
        for (line, problem) in [
            (format!("restrict,command=\"a b\" {key}"), Problem::Options),
            (format!("no-pty {key}"), Problem::Options),
            (
                composed("ssh-ed25519-cert-v01@openssh.com", 5),
                Problem::Certificate,
            ),
            (composed(DSS, 5), Problem::Dss),
        ] {
            assert_eq!(check(&line), Err(problem), "{line}");
        }
    }

    #[test]
    fn something_else_is_not_called_half_a_key() {
        for line in ["", "hello", "ssh-ed25519", "ssh-ed25519 me@here", "AAAA"] {
            assert_eq!(check(line), Err(Problem::NotAKey), "{line}");
        }
    }
}
