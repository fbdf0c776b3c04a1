//! What a secret looks like.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::bytes::Regex;
use serde::Serialize;

use crate::place::Place;

/// The kind of thing that must not be in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secret {
    /// A private key in PEM, DER, `OpenSSH`, `OpenPGP`, `PuTTY`, age, minisign or `WireGuard` form.
    PrivateKey,
    /// A k3s token with the hash of the cluster's CA, or any where k3s expects one.
    K3sToken,
    /// A bootstrap token of Kubernetes where a token is expected.
    BootstrapToken,
    /// A passphrase of a wireless network.
    WifiPassphrase,
    /// A user name and password in an address.
    UrlCredential,
    /// A password of an account or a registry, or the hash of one.
    Password,
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
    /// Looked for there alone: elsewhere it is documentation.
    pub place: Place,
    /// The expression.
    pub regex: Regex,
}

/// The longest match of any pattern: a window of the scan overlaps the next by this.
pub const LONGEST: usize = 8 << 10;

/// The words that PEM has before `PRIVATE KEY`.
const PEM_KINDS: [&str; 6] = ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "];

/// All patterns.
///
/// A header alone is not a key: every program that reads keys has it. So the patterns ask for what follows as well.
pub fn patterns() -> Vec<Pattern> {
    use Place::{Accounts, Anywhere, Configuration, K3s};
    // What is not a value yet: a variable, a place to fill in, a table.
    let value = r#"["']?[^\s"'$<{]"#;
    let setting = r#"["']?[ \t]{0,4}[:=][ \t]{0,4}"#;
    let rows = [
        (
            Secret::K3sToken,
            "a k3s token",
            Anywhere,
            "K10[0-9a-f]{64}::".into(),
        ),
        (
            Secret::K3sToken,
            "a token in k3s's environment",
            Configuration,
            format!(r"\bK3S_(?:AGENT_)?TOKEN{setting}{value}"),
        ),
        (
            Secret::K3sToken,
            "a token among a program's arguments",
            Configuration,
            format!(r"--(?:agent-)?token(?:=|[ \t]{{1,4}}){value}"),
        ),
        (
            Secret::K3sToken,
            "a token in k3s's configuration",
            K3s,
            format!(r#"(?:^|[\s{{,"'#])(?:(?:agent-)?token|cluster-secret|joinKey)\+?{setting}{value}"#),
        ),
        (
            Secret::BootstrapToken,
            "a bootstrap token",
            Anywhere,
            format!(r#"(?i:token){setting}["']?[a-z0-9]{{6}}\.[a-z0-9]{{16}}\b"#),
        ),
        (
            Secret::WifiPassphrase,
            "a passphrase of a wireless network",
            Configuration,
            r#"\b(?:psk|wpa-psk|Passphrase|PreSharedKey)[ \t]{0,4}=[ \t]{0,4}["']?[^\s"'#$<{][^\r\n"'#]{7}"#.into(),
        ),
        (
            Secret::UrlCredential,
            "a password in an address",
            Configuration,
            r"\b[a-z][a-z0-9+.-]{1,12}://[^\s/:@<>{}$]{1,64}:[^\s/:@<>{}$]{1,256}@[A-Za-z0-9\[]".into(),
        ),
        (
            Secret::Password,
            "the hash of a password",
            Configuration,
            r"\$(?:(?:gy|y|7|6|5|1)\$(?:[A-Za-z0-9./=,]{1,86}\$){1,2}[A-Za-z0-9./]{22,86}|2[abxy]\$[0-9]{2}\$[A-Za-z0-9./]{53})".into(),
        ),
        (
            Secret::Password,
            "a password",
            Accounts,
            format!(r#"(?:^|[\s{{,"'])(?:password|plain_text_passwd|identity_token)["']?[ \t]{{0,4}}:\s{{0,80}}{value}"#),
        ),
        (
            Secret::Password,
            "a user name and a password in Base64",
            Accounts,
            r#"(?:^|[\s{,"'])auth["']?[ \t]{0,4}:[ \t]{0,4}["']?[A-Za-z0-9+/]{4}"#.into(),
        ),
    ];
    private_keys()
        .into_iter()
        .chain(rows)
        .chain(logins())
        .map(|(secret, what, place, regex)| Pattern {
            secret,
            what,
            place,
            regex: Regex::new(&format!("(?-u){regex}")).expect("a constant pattern"),
        })
        .collect()
}

/// Passwords of programs that have no user to ask.
fn logins() -> Vec<(Secret, &'static str, Place, String)> {
    use Place::{Configuration, Network};
    let value = r#"["']?[^\s"'$<{]"#;
    let word = r"[^\s]{1,256}\s{1,80}";
    vec![
        (
            Secret::Password,
            "a login in apt's or netrc's form",
            Configuration,
            format!(
                r"(?m:^)[ \t#]{{0,16}}(?:machine\s{{1,80}}{word}|default\s{{1,80}})(?:(?:login|account)\s{{1,80}}{word}){{0,2}}password\s{{1,80}}{value}"
            ),
        ),
        (
            Secret::Password,
            "a password of iSCSI",
            Configuration,
            format!(
                r"(?m:^)[ \t]{{0,16}}(?:node\.session|discovery\.sendtargets)\.auth\.password(?:_in)?[ \t]{{0,16}}=[ \t]{{0,16}}{value}"
            ),
        ),
        (
            Secret::Password,
            "a password of a network",
            Network,
            // Flags and the like are other keys. In YAML the value may be in the next line.
            r#"(?:^|[\s{,"'#])(?:[A-Za-z0-9]{1,32}[_.-]){0,4}(?:psk|password|passwd|wep[_-]key[0-3])(?:-raw)?["']?[ \t]{0,4}(?:=[ \t]{0,4}|:\s{1,80})(?:["'][^\r\n"']|[^\s"'#])"#.into(),
        ),
    ]
}

/// Private keys in all the forms that programs write.
fn private_keys() -> Vec<(Secret, &'static str, Place, String)> {
    use Place::{Anywhere, Configuration};
    let pem_in_base64 = format!("(?:{})[A-Za-z0-9+/]{{24}}", pem_headers_in_base64());
    vec![
        (Secret::PrivateKey, "a private key", Anywhere, pem()),
        (
            Secret::PrivateKey,
            "a private key in Base64",
            Anywhere,
            pem_in_base64,
        ),
        (
            Secret::PrivateKey,
            "a private key in DER",
            Configuration,
            der(),
        ),
        (
            Secret::PrivateKey,
            "a PuTTY private key",
            Anywhere,
            r"PuTTY-User-Key-File-[0-9]: [a-z0-9-]{4,40}\r?\n".into(),
        ),
        (
            Secret::PrivateKey,
            "an age private key",
            Anywhere,
            "AGE-SECRET-KEY-1[0-9A-Z]{50}".into(),
        ),
        (
            Secret::PrivateKey,
            "a minisign private key",
            Anywhere,
            "RW(?:RTY0Iy|QAAEIy)[A-Za-z0-9+/]{180}".into(),
        ),
        (
            Secret::PrivateKey,
            "a WireGuard key",
            Configuration,
            r"\b(?:PrivateKey|PresharedKey)[ \t]{0,4}=[ \t]{0,4}[A-Za-z0-9+/]{43}=".into(),
        ),
    ]
}

/// How a private key begins in DER (RFC 5208, 8017, 5915): PKCS #8 with RSA, elliptic curve and Ed25519; RSA alone; P-256
/// and P-384 alone. Libraries have such bytes as their tests' keys, so they count in configuration only.
fn der() -> String {
    let keys = [
        r"\x30\x82..\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82",
        r"\x02\x01\x00\x30.\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
        r"\x30.\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
        r"\x30\x82..\x02\x01\x00\x02\x82[\x01-\x04]\x01\x00",
        r"\x30\x77\x02\x01\x01\x04\x20",
        r"\x30\x81.\x02\x01\x01\x04\x30",
    ];
    format!("(?s-u:{})", keys.join("|"))
}

/// A private key in PEM: its header, what may follow it, and the beginning of the key.
fn pem() -> String {
    // Line ends as such, or written `\n` as in JSON, YAML and source code.
    let end = r#"(?:[ \t"',+]|\\[nr]|[\r\n])"#;
    format!(
        r"-----BEGIN (?:[A-Z0-9]{{2,16}} ){{0,3}}PRIVATE KEY(?: BLOCK)?-----{end}{{1,8}}(?:[A-Za-z-]{{2,20}}: [^\r\n\\]{{0,100}}{end}{{1,8}}){{0,4}}[A-Za-z0-9+/=]{{24}}"
    )
}

/// Headers of private keys as kubeconfig and Kubernetes' secrets have them.
fn pem_headers_in_base64() -> String {
    let headers = PEM_KINDS.map(|kind| format!("-----BEGIN {kind}PRIVATE KEY-----"));
    let encoded = headers.iter().flat_map(|header| base64_anywhere(header));
    let escaped: Vec<String> = encoded.map(|text| regex::escape(&text)).collect();
    escaped.join("|")
}

/// What Base64 makes of a text, after any number of bytes, without the ends that depend on what is around it.
fn base64_anywhere(text: &str) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let bytes = [&[0; 2][..before], text.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        encoded[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Secret> {
        found_in(text.as_bytes())
    }

    fn found_in(bytes: &[u8]) -> Vec<Secret> {
        patterns()
            .iter()
            .filter(|pattern| pattern.place < Place::K3s)
            .filter(|pattern| pattern.regex.is_match(bytes))
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
                "Environment=\"K3S_TOKEN=a password\"".into(),
                Secret::K3sToken,
            ),
            ("K3S_AGENT_TOKEN: 'it'".into(), Secret::K3sToken),
            ("k3s agent --token=it".into(), Secret::K3sToken),
            (
                format!("PrivateKey = {}=", "a".repeat(43)),
                Secret::PrivateKey,
            ),
            (
                format!("passwd: $6$rounds=4096$salt${}", "a".repeat(86)),
                Secret::Password,
            ),
            (
                format!("pi:$y$j9T$salt${}:", "a".repeat(43)),
                Secret::Password,
            ),
            (format!("$2b$12${}", "a".repeat(53)), Secret::Password),
            ("auth: {password: it}".into(), Secret::Password),
            ("password:\n    it".into(), Secret::Password),
            ("plain_text_passwd: it".into(), Secret::Password),
            ("\"identity_token\": \"it\"".into(), Secret::Password),
            ("auth: dXNlcjppdA==".into(), Secret::Password),
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
    fn a_private_key_in_base64_is_recognised_wherever_it_begins() {
        for kind in PEM_KINDS {
            for before in ["", "k", "ke", "key"] {
                let key = format!(
                    "{before}-----BEGIN {kind}PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
                );
                let text = format!("client-key-data: {}", STANDARD_NO_PAD.encode(key));
                assert_eq!(found(&text), [Secret::PrivateKey], "{before}{kind}");
            }
        }
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
        assert_eq!(found(&STANDARD_NO_PAD.encode(certificate)), []);
    }

    #[test]
    fn a_private_key_in_der_is_recognised_by_its_beginning() {
        // What `openssl` writes, 24 bytes of each.
        for head in [
            "308204be020100300d06092a864886f70d01010105000482",
            "308187020100301306072a8648ce3d020106082a8648ce3d",
            "302e020100300506032b657004220420a5a5a5a5a5a5a5a5",
            "308204a40201000282010100ddc618cdc8d326cd5462935a",
            "3077020101042047768a7bc01b24d5e1a5a5a5a5a5a5a5a5",
            "3081a40201010430a8349fbf048a20e3a5a5a5a5a5a5a5a5",
        ] {
            let head = hex::decode(head).expect("hexadecimal");
            assert_eq!(found_in(&head), [Secret::PrivateKey], "{head:02x?}");
        }
        let certificate = hex::decode("308203a53082028da003020102021431").expect("hexadecimal");
        assert_eq!(found_in(&certificate), []);
    }

    #[test]
    fn a_login_of_a_program_is_recognised_and_its_commented_example_is_not() {
        for text in [
            "machine deb.example login me password s3cret\n",
            "# machine deb.example\n  login me\n  password s3cret\n",
            "machine deb.example/debian password s3cret",
            "x\nnode.session.auth.password = s3cret\n",
            "discovery.sendtargets.auth.password_in=s3cret",
        ] {
            assert_eq!(found(text), [Secret::Password], "{text}");
        }
        for text in [
            // As Debian's package has it.
            "#node.session.auth.password = password\n",
            "node.session.auth.password =\n",
            "machine deb.example login me\n",
            "The machine asks for a login and a password now",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn a_password_of_a_network_is_recognised_in_its_own_files() {
        let patterns = patterns();
        let mut of_networks = patterns
            .iter()
            .filter(|pattern| pattern.place == Place::Network);
        let pattern = of_networks.next().expect("one for it");
        for text in [
            "network={\n  psk=\"#$secret\"\n}",
            "\tpassword=hash:0123",
            "sae_password=\"it\"",
            "private_key_passwd=it",
            "[802-1x]\nprivate-key-password=it",
            "leap-password=it",
            "802-1x.password=it",
            "wep_key0=it",
            "#psk=\"plain\"",
            "      password: $it",
            "auth: {key-management: psk, password: \"it\"}",
            "password:\n  it",
            "client-key-password: it",
        ] {
            assert!(pattern.regex.is_match(text.as_bytes()), "{text}");
        }
        for text in [
            "psk=\n[ipv4]\n",
            "password-flags=1",
            "psk-flags=1\nkey-mgmt=wpa-psk\n",
            "key-management: psk\n",
            "network: {version: 2, renderer: networkd}",
        ] {
            assert!(!pattern.regex.is_match(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_token_of_k3s_is_recognised_in_its_configuration() {
        let patterns = patterns();
        let mut of_k3s = patterns
            .iter()
            .filter(|pattern| pattern.place == Place::K3s);
        let pattern = of_k3s.next().expect("one for it");
        for text in [
            "token: it",
            "node-label+: [a=b]\n\"token\" : \"it\"\n",
            "{debug: true, agent-token: it}",
            "#token: it",
            "token+: |\n  it",
            "vpn-auth: name=x,joinKey=it",
        ] {
            assert!(pattern.regex.is_match(text.as_bytes()), "{text}");
        }
        for text in [
            "token:\n",
            "token: <token>",
            "kubelet-arg: [\"authentication-token-webhook=true\"]",
        ] {
            assert!(!pattern.regex.is_match(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_text_that_only_names_a_secret_is_not_a_secret() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\0-----END",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n\0",
            "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
            "K10abc::server:x",
            "token: <token>",
            "version abcdef.0123456789abcdef",
            "psk=",
            "K3S_TOKEN=${TOKEN} K3S_TOKEN=<token> K3S_TOKEN_FILE=/run/token --token-file /run/token",
            "auth:\n  tls: {insecure_skip_verify: true}\nno_password: x\n",
            "price: $6$ and $1$x",
            "PrivateKey=/etc/wireguard/key",
            "http://user@host/ https://host:8080/@x http://${USER}:${PASS}@host",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
