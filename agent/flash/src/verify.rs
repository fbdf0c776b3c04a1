//! What is wrong on the medium is written again, until everything has been read back right.

use crate::crew::Crew;
use crate::plan::{ATTEMPTS, Piece};
use crate::read_back::Finding;
use crate::run::Flash;
use crate::write::Written;
use crate::{Event, FlashError, Stage};

impl Flash<'_> {
    /// Reads back what has not been read back yet, and writes again what is wrong.
    pub fn verify(&mut self, crew: &mut Crew, mut written: Written) -> Result<(), FlashError> {
        let mut attempts = 1;
        loop {
            self.medium.flush()?;
            let mut wrong = self.read_back(crew, &written.unread, Stage::Verify)?;
            wrong.append(&mut written.wrong);
            if wrong.is_empty() {
                wrong = self.look_again(crew)?;
            }
            wrong.sort_by_key(|wrong| wrong.offset);
            let Some(first) = wrong.first() else {
                return Ok(());
            };
            if attempts == ATTEMPTS {
                return Err(FlashError::ReadBack {
                    target: self.job.target.name().to_owned(),
                    offset: first.offset,
                    attempts,
                    reason: first.finding.to_string(),
                });
            }
            for wrong in &wrong {
                match (&wrong.piece, &wrong.finding) {
                    (Piece::Data(chunk), finding) => {
                        self.tally.chunks_rewritten.add(1);
                        self.retry(*chunk, attempts, &finding.to_string());
                    }
                    (Piece::Hole(_), Finding::Unreadable(error)) => {
                        self.job.observer.event(Event::HoleUnreadable {
                            attempt: attempts,
                            reason: &error.to_string(),
                        });
                    }
                    (Piece::Hole(_), Finding::Differs(_)) => {
                        self.job.observer.event(Event::ZeroingFailed {
                            offset: wrong.offset,
                        });
                    }
                }
            }
            let hole_lied = wrong.iter().any(|wrong| {
                matches!(
                    (&wrong.piece, &wrong.finding),
                    (Piece::Hole(_), Finding::Differs(_))
                )
            });
            let mut again: Vec<Piece> = wrong.into_iter().map(|wrong| wrong.piece).collect();
            if hole_lied && !self.zeroing_failed {
                // After one false report, samples of a hole prove nothing any more.
                self.zeroing_failed = true;
                again.retain(|piece| matches!(piece, Piece::Data(_)));
                again.extend(self.holes());
            }
            written = self.write(crew, &again)?;
            attempts += 1;
        }
    }
}
