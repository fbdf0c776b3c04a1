//! What the operator can do about an error that does not say it.

use std::io::{self, ErrorKind};

use gild_faults::Fault;

/// The error in one line. One without a next step gets that of its kind.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    let said = gild_faults::message(error.as_ref());
    match of(error) {
        Some(next) if !said.contains("next: ") => format!("{said}; next: {next}"),
        _ => said,
    }
}

fn of(error: &anyhow::Error) -> Option<&'static str> {
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).find_map(of_kind).or_else(|| {
        match crate::fault(error)? {
            Fault::ManifestRefused => Some(
                "build or publish the image again, with the key and the gild that the nodes have",
            ),
            Fault::ImageCorrupt => {
                Some("build or publish the image again; if that does not help, check the disk that it is on")
            }
            Fault::ServerUnreachable => Some(
                "start the server, check its address and that the image is published",
            ),
            _ => None,
        }
    })
}

fn of_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("make room there, or give a place that has it")
        }
        ErrorKind::ReadOnlyFilesystem => {
            Some("give a place that can be written, or mount that one so")
        }
        ErrorKind::PermissionDenied => {
            Some("run this as a user who may do that, or change the mode of the file or folder")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use gild_format::signature::SignatureError;

    use super::*;

    #[test]
    fn an_error_that_says_nothing_of_it_gets_the_next_step_of_its_kind() {
        let full = io::Error::from(ErrorKind::StorageFull);
        let full = Err::<(), _>(full).context("cannot write to out");
        let refused = anyhow::Error::new(SignatureError::Mismatch).context("golden.json");
        for (error, words) in [
            (full.expect_err("an error"), "; next: make room there"),
            (refused, "; next: build or publish the image again"),
        ] {
            let said = message(&error);
            assert!(said.contains(words), "{said}");
        }
        let said = message(&anyhow!("it failed; next: try it"));
        assert_eq!(said, "it failed; next: try it");
        assert_eq!(message(&anyhow!("it failed")), "it failed");
    }
}
