//! What a secret looks like.

use regex::bytes::Regex;
use serde::Serialize;

/// The kind of thing that must not be in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secret {
    /// A private key in PEM, `OpenSSH`, `OpenPGP`, `PuTTY`, age or minisign form.
    PrivateKey,
    /// A k3s token with the hash of the cluster's CA.
    K3sToken,
    /// A bootstrap token of Kubernetes where a token is expected.
    BootstrapToken,
    /// A passphrase of a wireless network.
    WifiPassphrase,
    /// A user name and password in an address.
    UrlCredential,
    /// Something that only the machine that built the image knows.
    BuildHost,
    /// A line of the operator's list.
    Canary,
}

/// How to recognise one kind.
pub struct Pattern {
    /// What it finds.
    pub secret: Secret,
    /// The words for it.
    pub what: &'static str,
    /// Looked for only in the places where an administrator configures a machine: elsewhere it is documentation.
    pub only_configuration: bool,
    /// The expression.
    pub regex: Regex,
}

/// The longest match of any pattern: a window of the scan overlaps the next by this.
pub const LONGEST: usize = 8 << 10;

/// All patterns.
///
/// A header alone is no key: every program that reads keys has it. So the patterns ask for what follows as well.
pub fn patterns() -> Vec<Pattern> {
    let pattern = |secret, what, only_configuration, regex: &str| Pattern {
        secret,
        what,
        only_configuration,
        regex: Regex::new(regex).expect("a constant pattern"),
    };
    // Line ends as such, or written `\n` as in JSON, YAML and source code.
    let end = r#"(?:[ \t"',+]|\\[nr]|[\r\n])"#;
    vec![
        pattern(
            Secret::PrivateKey,
            "a private key",
            false,
            &format!(
                r"(?-u)-----BEGIN (?:[A-Z0-9]{{2,16}} ){{0,3}}PRIVATE KEY(?: BLOCK)?-----{end}{{1,8}}(?:[A-Za-z-]{{2,20}}: [^\r\n\\]{{0,100}}{end}{{1,8}}){{0,4}}[A-Za-z0-9+/=]{{24}}"
            ),
        ),
        pattern(
            Secret::PrivateKey,
            "a PuTTY private key",
            false,
            r"(?-u)PuTTY-User-Key-File-[0-9]: [a-z0-9-]{4,40}\r?\n",
        ),
        pattern(
            Secret::PrivateKey,
            "an age private key",
            false,
            r"(?-u)AGE-SECRET-KEY-1[0-9A-Z]{50}",
        ),
        pattern(
            Secret::PrivateKey,
            "a minisign private key",
            false,
            r"(?-u)RW(?:RTY0Iy|QAAEIy)[A-Za-z0-9+/]{180}",
        ),
        pattern(
            Secret::K3sToken,
            "a k3s token",
            false,
            r"(?-u)K10[0-9a-f]{64}::",
        ),
        pattern(
            Secret::BootstrapToken,
            "a bootstrap token",
            false,
            r#"(?-u)(?i:token)["']?[ \t]{0,4}[:=][ \t]{0,4}["']?[a-z0-9]{6}\.[a-z0-9]{16}\b"#,
        ),
        pattern(
            Secret::WifiPassphrase,
            "a passphrase of a wireless network",
            true,
            r#"(?-u)\b(?:psk|wpa-psk|Passphrase|PreSharedKey)[ \t]{0,4}=[ \t]{0,4}["']?[^\s"'#$<{][^\r\n"'#]{7}"#,
        ),
        pattern(
            Secret::UrlCredential,
            "a password in an address",
            true,
            r"(?-u)\b[a-z][a-z0-9+.-]{1,12}://[^\s/:@<>{}$]{1,64}:[^\s/:@<>{}$]{1,256}@[A-Za-z0-9\[]",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Secret> {
        patterns()
            .iter()
            .filter(|pattern| pattern.regex.is_match(text.as_bytes()))
            .map(|pattern| pattern.secret)
            .collect()
    }

    #[test]
    fn secrets_are_recognised() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
        let token = format!("K10{}::server:x", "0a".repeat(32));
        for (text, secret) in [
            (
                format!("-----BEGIN PRIVATE KEY-----\n{body}"),
                Secret::PrivateKey,
            ),
            (
                format!("-----BEGIN OPENSSH PRIVATE KEY-----\r\n{body}"),
                Secret::PrivateKey,
            ),
            (
                format!(
                    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{body}"
                ),
                Secret::PrivateKey,
            ),
            (
                format!("{{\"k\": \"-----BEGIN EC PRIVATE KEY-----\\n{body}\"}}"),
                Secret::PrivateKey,
            ),
            (
                format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{body}"),
                Secret::PrivateKey,
            ),
            (
                format!("    -----BEGIN PRIVATE KEY-----\n    {body}"),
                Secret::PrivateKey,
            ),
            (format!("RWRTY0Iy{}", "Ab+/".repeat(50)), Secret::PrivateKey),
            (token, Secret::K3sToken),
            (
                "token: \"abcdef.0123456789abcdef\"".into(),
                Secret::BootstrapToken,
            ),
            (
                "K3S_TOKEN=abcdef.0123456789abcdef\n".into(),
                Secret::BootstrapToken,
            ),
            ("psk=\"correct horse\"".into(), Secret::WifiPassphrase),
            (
                "deb https://me:secret@deb.example trixie".into(),
                Secret::UrlCredential,
            ),
        ] {
            assert_eq!(found(&text), [secret], "{text}");
        }
    }

    #[test]
    fn what_only_names_a_secret_is_none() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\0-----END",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n\0",
            "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
            "K10abc::server:x",
            "token: <token>",
            "version abcdef.0123456789abcdef",
            "psk=",
            "http://user@host/ https://host:8080/@x http://${USER}:${PASS}@host",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
