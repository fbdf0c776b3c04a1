//! Sends reports to the server that also says who this node is. gild's desk takes them, Matchbox does not.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use gild_matchbox::report_address;
use gild_report::Proof;
use reqwest::Url;

use crate::client::{Client, FetchError};
use crate::files;
use crate::settings::Settings;

/// How long all of it may take.
const TRY: Duration = Duration::from_secs(5);
/// Names the server that takes no reports. The note is lost at the next start, because by then there may be a desk.
const NO_DESK: &str = "run/gild/no-desk";

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The image names no Matchbox, or the server there takes no reports.
    #[error("nobody takes reports")]
    Nobody,
    /// It did not get there.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The note that nobody takes reports cannot be written.
    #[error("writing /{NO_DESK}: {0}")]
    Note(io::Error),
}

/// Posts a report, together with the proof by which the desk knows this node.
pub fn post(
    root: &Path,
    settings: &Settings,
    proof: Option<&Proof>,
    report: String,
) -> Result<(), DeskError> {
    let matchbox = settings.matchbox.as_ref().ok_or(DeskError::Nobody)?;
    let address = report_address(matchbox);
    let note = root.join(NO_DESK);
    if fs::read_to_string(&note).is_ok_and(|noted| noted == address.as_str()) {
        return Err(DeskError::Nobody);
    }
    let client = Client::hasty(settings.ca.as_deref())?;
    match client.post(&address, proof, report, TRY)? {
        200..300 => Ok(()),
        404 | 405 => {
            write(&note, &address).map_err(DeskError::Note)?;
            Err(DeskError::Nobody)
        }
        status => Err(FetchError::Status(status).into()),
    }
}

fn write(note: &Path, address: &Url) -> io::Result<()> {
    if let Some(directory) = note.parent() {
        files::private_directory(directory)?;
    }
    files::write_private(note, address.as_str())
}
