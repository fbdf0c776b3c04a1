//! Whether the certificate that is given for the authority of Matchbox, or of another server, is one. It is a common mistake
//! to give the server's own certificate: `openssl req -x509` makes a certificate that is marked as an authority's, and nodes
//! refuse a server that shows one.

use gild_node::client::certificates;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

/// By what a server's own certificate is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthority {
    /// It names the server.
    #[error(
        "it names the server, and nodes refuse a server that uses its authority's certificate as its own"
    )]
    NamesTheHost,
    /// It may sign no other.
    #[error(
        "it is not marked as a certificate authority (CA:TRUE), so nodes would refuse the server's next certificate"
    )]
    SignsNothing,
}

/// Refuses PEM in which no certificate is an authority's.
pub fn check(pem: &[u8], host: &str) -> Result<(), NoAuthority> {
    let mut first = Ok(());
    // What is not a certificate the node's own reader has refused.
    for certificate in certificates(pem).unwrap_or_default() {
        match check_one(&certificate, host) {
            Ok(()) => return Ok(()),
            refused => first = first.and(refused),
        }
    }
    first
}

fn check_one(certificate: &CertificateDer<'_>, host: &str) -> Result<(), NoAuthority> {
    let mut names_the_host = has_common_name(certificate, host);
    // The oldest form cannot be parsed as a server's. It has only this name, and no marks.
    if let Ok(parsed) = ParsedCertificate::try_from(certificate) {
        if !is_marked_as_authority(certificate) {
            return Err(NoAuthority::SignsNothing);
        }
        names_the_host |= ServerName::try_from(host.trim_matches(['[', ']']))
            .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    }
    if names_the_host {
        return Err(NoAuthority::NamesTheHost);
    }
    Ok(())
}

/// The extension `basicConstraints` with `cA` in it, in the only way in which DER writes it.
fn is_marked_as_authority(certificate: &[u8]) -> bool {
    const BASIC_CONSTRAINTS: [u8; 5] = [6, 3, 0x55, 0x1d, 0x13];
    const TRUE: [u8; 3] = [1, 1, 0xff];
    let Some(value) = after(certificate, &BASIC_CONSTRAINTS) else {
        return false;
    };
    // It may be marked as critical.
    let value = value.strip_prefix(&TRUE).unwrap_or(value);
    matches!(value, [4, _, 0x30, _, 1, 1, 0xff, ..])
}

/// Older programs name the server here alone.
fn has_common_name(certificate: &[u8], host: &str) -> bool {
    const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
    let is_it = |value: &[u8]| {
        // The kind of text, its length, the text.
        let [0x0c | 0x13, length, text @ ..] = value else {
            return false;
        };
        text.get(..usize::from(*length))
            .is_some_and(|text| text.eq_ignore_ascii_case(host.as_bytes()))
    };
    let mut rest = certificate;
    while let Some(value) = after(rest, &COMMON_NAME) {
        if is_it(value) {
            return true;
        }
        rest = value;
    }
    false
}

/// What follows the first of these bytes.
fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let start = bytes
        .windows(wanted.len())
        .position(|part| part == wanted)?;
    Some(&bytes[start + wanted.len()..])
}

/// How to make a right one for this host.
#[must_use]
pub fn how_to(host: &str) -> String {
    let address = host.trim_matches(['[', ']']);
    let kind = if address.parse::<std::net::IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    format!(
        "make an authority, have it sign a certificate for the server, and give ca.pem:\n  \
         openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj '/CN=our own authority' -keyout ca.key -out ca.pem\n  \
         openssl req -newkey rsa:3072 -nodes -subj '/CN={address}' -keyout server.key -out server.csr\n  \
         echo 'subjectAltName={kind}:{address}' > server.ext\n  \
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile server.ext \
         -out server.pem"
    )
}

#[cfg(test)]
mod tests;
