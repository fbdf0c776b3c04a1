//! From source to target.

use gild_disk::Target;
use gild_format::manifest::{Manifest, Sha256Hex};

use crate::crew::Crew;
use crate::head::{self, TargetState};
use crate::plan::{self, Piece};
use crate::progress::Tally;
use crate::run::{Flash, lock};
use crate::{Event, FlashError, Job, Outcome, Report, Stage};

/// Says what the target carries, or why it cannot take the image. Writes nothing.
pub fn inspect(
    manifest: &Manifest,
    manifest_sha256: Sha256Hex,
    target: &dyn Target,
) -> Result<TargetState, FlashError> {
    let unsuitable = |reason| {
        Err(FlashError::Unsuitable {
            target: target.name().to_owned(),
            reason,
        })
    };
    let (size, wanted) = (target.size(), manifest.raw_size);
    if size < wanted {
        return unsuitable(format!("it has {size} bytes, the image {wanted}"));
    }
    let (sector, wanted) = (target.sector_size(), manifest.sector_size);
    if sector != wanted {
        return unsuitable(format!(
            "its sectors have {sector} bytes, the image was made for {wanted}"
        ));
    }
    head::state(manifest, manifest_sha256, target).map_err(|error| FlashError::Target {
        action: "inspecting".to_owned(),
        target: target.name().to_owned(),
        error,
    })
}

/// Makes the target carry the image, verified and committed.
///
/// If it fails or the power goes, the target does not boot, and the next call continues from there.
pub fn flash(job: &Job<'_>) -> Result<Report, FlashError> {
    let state = inspect(job.manifest, job.manifest_sha256, job.target)?;
    let tally = Tally::default();
    let mut flash = Flash::new(job, &tally);
    if state == TargetState::Done && !job.options.again && !job.options.erase {
        return Ok(flash.report(Outcome::AlreadyDone));
    }
    // Erasing keeps nothing that is on the disk.
    let state = if job.options.erase {
        TargetState::Other
    } else {
        state
    };
    let (found, expected) = (job.source.size(), job.manifest.stored_size);
    if found != expected {
        return Err(FlashError::SourceSize { found, expected });
    }
    let mut crew = Crew::new(job.manifest, job.options.workers)?;
    let mut pieces = plan::pieces(job.manifest);

    flash.stage(Stage::Prepare, |flash| flash.prepare(state))?;
    if state != TargetState::Other {
        flash.stage(Stage::Scan, |flash| flash.scan(&mut crew, &mut pieces))?;
    }
    let written = flash.stage(Stage::Write, |flash| flash.write(&mut crew, &pieces))?;
    flash.stage(Stage::Verify, |flash| flash.verify(&mut crew, written))?;
    flash.stage(Stage::Commit, Flash::commit)?;
    Ok(flash.report(Outcome::Flashed))
}

impl Flash<'_> {
    fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl FnOnce(&mut Self) -> Result<T, FlashError>,
    ) -> Result<T, FlashError> {
        self.job.observer.event(Event::Stage(stage));
        let start = self.job.clock.now();
        let result = work(self)?;
        let time = self.job.clock.now().saturating_sub(start);
        self.stages.push((stage, time));
        Ok(result)
    }

    fn prepare(&mut self, state: TargetState) -> Result<(), FlashError> {
        let progress = self.progress(Stage::Prepare, &[]);
        self.is_discarded = head::prepare(&self.medium, self.job, state, &progress)?;
        Ok(())
    }

    /// Removes from `pieces` the chunks that are already on the target. Holes stay, because zeroing them again is cheaper than checking
    /// them.
    fn scan(&mut self, crew: &mut Crew, pieces: &mut Vec<Piece>) -> Result<(), FlashError> {
        let (candidates, others): (Vec<_>, Vec<_>) =
            pieces.drain(..).partition(|piece| match piece {
                Piece::Data(index) => plan::withheld(self.chunk(*index)) == 0,
                Piece::Hole(_) => false,
            });
        let missing = self.read_back(crew, &candidates, Stage::Scan)?;
        self.kept = candidates.len() - missing.len();
        *pieces = others;
        pieces.extend(missing.into_iter().map(|wrong| wrong.piece));
        pieces.sort_by_key(|piece| self.range(piece).start);
        self.job.observer.event(Event::Resumed {
            kept: self.kept,
            total: self.data_chunks(),
        });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), FlashError> {
        let manifest = self.job.manifest;
        let committed = head::record(self.job, head::committed(manifest), self.is_discarded);
        let progress = self.progress(Stage::Commit, &[]);
        head::commit(
            &self.medium,
            &mut lock(&self.head),
            &committed,
            &self.job.options.network,
            &manifest.partitions,
            &progress,
        )
    }
}
