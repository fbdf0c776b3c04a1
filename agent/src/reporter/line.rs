//! The connection to the status URL. It is kept while it works.

use gild_report::SIGNATURE_HEADER;

use super::Destination;
use crate::http::{HttpError, Poster};

/// A way to one destination.
#[derive(Default)]
pub struct Line(Option<(Destination, Poster)>);

impl Line {
    /// Posts a report, signed if there is a key.
    pub fn post(&mut self, to: &Destination, json: &str) -> Result<(), HttpError> {
        let poster = match self.0.take() {
            Some((open, poster)) if open == *to => poster,
            _ => Poster::new(to.authorities.as_deref())?,
        };
        let signature = to.key.as_ref().map(|key| key.sign(json.as_bytes()));
        let signature = signature.map(|signature| (SIGNATURE_HEADER, signature));
        poster.post_json(&to.url, signature, json)?;
        // After a failure the next attempt starts from the beginning, with a look-up of the server's name.
        self.0 = Some((to.clone(), poster));
        Ok(())
    }
}
