//! Certificates in PEM form. The parser silently skips a certificate whose lines are indented, and one after a byte order mark.
//! So the lines are trimmed first, and the certificates that were read are counted.

use gild_card_format::CERTIFICATE_MARK;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The text does not have the certificates that it seems to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Perhaps a certificate in the other form.
    #[error("it is not text: a certificate in DER form, perhaps")]
    Binary,
    /// Text about something else.
    #[error("it has no certificate")]
    None,
    /// Begun, and not readable to its end.
    #[error("{begun} certificates begin in it, and {whole} of them can be read")]
    Cut {
        /// So many begin.
        begun: usize,
        /// So many are whole.
        whole: usize,
    },
}

/// What to do about it.
pub const GIVE_PEM: &str = "give whole certificates in PEM form, in the lines that they came in; of DER openssl x509 -inform der makes PEM";

/// All certificates in this text. One that cannot be read is an error, and never left out.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = std::str::from_utf8(pem).map_err(|_| PemError::Binary)?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let lines = lines.collect::<Vec<_>>().join("\n");
    let begun = text.matches(CERTIFICATE_MARK).count();
    if begun == 0 {
        return Err(PemError::None);
    }
    let read = CertificateDer::pem_slice_iter(lines.as_bytes());
    let certificates: Vec<_> = read.flatten().collect();
    let whole = certificates.len();
    if whole == begun {
        Ok(certificates)
    } else {
        Err(PemError::Cut { begun, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";

    fn number(text: &str) -> Result<usize, PemError> {
        certificates(text.as_bytes()).map(|all| all.len())
    }

    #[test]
    fn how_it_is_laid_out_does_not_matter() {
        let indented = ONE.replace("-----B", "  -----B").replace('\n', " \n\t");
        for text in [
            ONE.to_owned(),
            ONE.replace('\n', "\r\n"),
            format!("\u{feff}{ONE}"),
            format!("subject=CN = site\n{ONE}\n# end\n"),
            indented,
        ] {
            assert_eq!(number(&text), Ok(1), "{text:?}");
        }
        assert_eq!(number(&ONE.repeat(3)), Ok(3));
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(number(&format!("{key}{ONE}")), Ok(1));
    }

    #[test]
    fn no_certificate_is_left_out_in_silence() {
        let cut = |begun, whole| Err(PemError::Cut { begun, whole });
        assert_eq!(number(&ONE.replace('\n', "")), cut(1, 0));
        assert_eq!(
            number(&ONE.replace("-----END CERTIFICATE-----", "")),
            cut(1, 0)
        );
        assert_eq!(number(&format!("{ONE}x {ONE}")), cut(2, 1));
        assert_eq!(
            number(&format!("{}{ONE}", ONE.replace("AAAA", "A*"))),
            cut(2, 1)
        );
        assert_eq!(number(""), Err(PemError::None));
        assert_eq!(number("ssh-ed25519 AAAA"), Err(PemError::None));
        assert_eq!(certificates(&[0x30, 0x82, 0xff, 0]), Err(PemError::Binary));
    }

    #[test]
    fn no_error_shows_bytes() {
        let error = number(&ONE.replace('\n', "")).expect_err("on one line");
        assert!(!error.to_string().contains('['), "{error}");
    }
}
