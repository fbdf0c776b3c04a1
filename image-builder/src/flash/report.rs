//! What the person sees: progress while the engine works, and a summary.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use gild_flash::{Event, Observer, Report, Stage};

use crate::progress::Progress;

/// One bar per stage.
#[derive(Default)]
pub struct Bars(Mutex<Option<Bar>>);

struct Bar {
    stage: Stage,
    progress: Progress,
    done: u64,
}

impl Observer for Bars {
    fn event(&self, event: Event<'_>) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Stage(_) => *bar = None,
            Event::Progress { total: 0, .. } => {}
            Event::Progress { stage, done, total } => {
                let bar = bar.get_or_insert_with(|| Bar {
                    stage,
                    progress: Progress::new(stage.name(), total),
                    done: 0,
                });
                // The events of several threads overtake each other.
                if bar.stage == stage && done > bar.done {
                    bar.progress.add(done - bar.done);
                    bar.done = done;
                }
            }
            Event::Resumed { kept, total } => {
                log::info!("resume: {kept} of {total} chunks already on the disk");
            }
            Event::Retry {
                chunk,
                attempt,
                reason,
            } => log::warn!("chunk {chunk}, attempt {attempt}: {reason}; fetching it again"),
            Event::HoleUnreadable { attempt, reason } => {
                log::warn!("attempt {attempt}: {reason}; making it zero again");
            }
            Event::ZeroingFailed { offset } => log::warn!(
                "the target does not read zero at {offset}, though it said so: writing all holes out"
            ),
        }
    }
}

/// The numbers of the summary.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "  {name:<11}{value}");
    };
    line("fetched", &format_args!("{} bytes", report.bytes_fetched));
    line("hashed", &format_args!("{} bytes", report.bytes_hashed));
    line("written", &format_args!("{} bytes", report.bytes_written));
    line(
        "zeroed",
        &format_args!(
            "{} bytes by {}",
            report.bytes_zeroed,
            report.zero_method.map_or("nothing", |method| method.name())
        ),
    );
    line(
        "read back",
        &format_args!("{} bytes", report.bytes_read_back),
    );
    line(
        "holes",
        &format_args!(
            "{} bytes, of which {} were read back",
            report.hole_bytes, report.hole_bytes_read_back
        ),
    );
    line(
        "chunks",
        &format_args!(
            "{}, of which {} were there, {} came damaged, {} were written again",
            report.chunks, report.chunks_kept, report.chunks_damaged, report.chunks_rewritten
        ),
    );
    for (stage, time) in &report.stages {
        line(stage.name(), &format_args!("{:.2} s", time.as_secs_f64()));
    }
    text
}
