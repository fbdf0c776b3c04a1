//! An open file.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gild_card_format::HttpUrl;
use gild_source::{OutOfRange, TICK};
use reqwest::Url;

use crate::answer::{self, Opened};
use crate::share::Inner;
use crate::wire::{Question, Wire};
use crate::{At, HttpError};

/// If an answer breaks off, at least this many bytes of it are kept.
const GOOD_PART: usize = 64 << 10;

/// A file on a web server, in the version that it had when it was opened. Any number of threads may read it at once.
pub struct File {
    share: Arc<Inner>,
    url: HttpUrl,
    at: At,
    opened: Opened,
    /// Where a redirect led, until the server there fails or refuses.
    known: Mutex<Option<Url>>,
}

impl File {
    pub(crate) fn open(share: Arc<Inner>, url: HttpUrl) -> Result<Self, HttpError> {
        let at = At::reading(&url);
        let (opened, from) = share.run(|wire| {
            let question = Question {
                at: &at,
                url: url.url(),
                known: None,
                range: Some(0..1),
                version: None,
            };
            let mut answer = wire.ask(&question, share.patience())?;
            let (status, headers) = (answer.response.status(), answer.response.headers());
            let opened = answer::opened(status, headers, &at)?;
            // To its end, so that the connection can be used again.
            while wire.more(&mut answer, &at, share.patience())?.is_some() {}
            Ok((opened, answer.from))
        })?;
        Ok(Self {
            known: Mutex::new((from != *url.url()).then_some(from)),
            share,
            url,
            at,
            opened,
        })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.opened.size
    }

    /// Fills the buffer from the file.
    ///
    /// If an answer breaks off after 64 KiB or more, only the rest is read again.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), HttpError> {
        OutOfRange::check(self.opened.size, offset, buffer.len()).map_err(|source| {
            let at = self.at.clone();
            HttpError::OutOfRange { at, source }
        })?;
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let start = offset + filled as u64;
            let read = self.share.run(|wire| self.read_some(wire, rest, start))?;
            self.share.count_read(read as u64);
            filled += read;
        }
        Ok(())
    }

    /// Reads what comes of one answer. If it breaks off late enough, what has come counts.
    fn read_some(&self, wire: &Wire, buffer: &mut [u8], start: u64) -> Result<usize, HttpError> {
        let wanted = start..start + buffer.len() as u64;
        let known = self.known().clone();
        let result = self.read_from(wire, known.as_ref(), buffer, &wanted);
        match result {
            // An address that a redirect led to is good for a while only, and its server may go.
            Err(error) if known.is_some() && !matches!(error, HttpError::Changed { .. }) => {
                *self.known() = None;
                self.read_from(wire, None, buffer, &wanted)
            }
            result => result,
        }
    }

    fn read_from(
        &self,
        wire: &Wire,
        known: Option<&Url>,
        buffer: &mut [u8],
        wanted: &Range<u64>,
    ) -> Result<usize, HttpError> {
        let patience = self.share.patience();
        let question = Question {
            at: &self.at,
            url: self.url.url(),
            known,
            range: Some(wanted.clone()),
            version: self.opened.version.strong(),
        };
        let mut answer = wire.ask(&question, patience)?;
        let (status, headers) = (answer.response.status(), answer.response.headers());
        let length = answer::comes(status, headers, &self.at, &self.opened, wanted)?;
        if known.is_none() && answer.from != *self.url.url() {
            *self.known() = Some(answer.from.clone());
        }
        let mut reported = Instant::now();
        let mut filled = 0;
        loop {
            let more = match wire.more(&mut answer, &self.at, patience) {
                Ok(Some(more)) => more,
                Ok(None) => break,
                // Fewer bytes do not count as progress, or a server could drip forever.
                Err(_) if filled >= GOOD_PART => return Ok(filled),
                Err(error) => return Err(error),
            };
            let more = more.as_ref();
            let Some(place) = buffer.get_mut(filled..filled + more.len()) else {
                return Err(self.odd("more bytes came than were asked for"));
            };
            place.copy_from_slice(more);
            filled += more.len();
            if reported.elapsed() >= TICK {
                reported = Instant::now();
                patience.got_on();
            }
        }
        if filled as u64 == length {
            return Ok(filled);
        }
        Err(self.odd("the server sent fewer or more bytes than it had said"))
    }

    fn odd(&self, reason: &str) -> HttpError {
        HttpError::Odd {
            at: self.at.clone(),
            reason: reason.to_owned(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Url>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("url", &self.url.to_string())
            .field("size", &self.opened.size)
            .finish_non_exhaustive()
    }
}
