//! The stages of the agent's story, and how long each took.

use std::time::{Duration, Instant};

/// A stage of the story, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// File systems, log, panic hook.
    Takeover,
    /// Which board this is, and its kernel modules.
    Board,
    /// The flasher card and its configuration.
    Card,
    /// What the disk holds, and what is to be done with it.
    Disk,
    /// Link, MAC address, IP address.
    Network,
    /// The signed manifest of the image.
    Manifest,
    /// The disk to write.
    Target,
    /// Chunks are fetched and written, and most of them read back.
    Flash,
    /// The rest is read back.
    Verify,
    /// The first MiB is written.
    Commit,
    /// The firmware is pointed at the target.
    BootOrder,
    /// What happened is reported on card, console and status URL.
    Receipt,
}

impl Stage {
    /// Its name on the console and in the receipt.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::Board => "board",
            Self::Card => "card",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Manifest => "manifest",
            Self::Target => "target",
            Self::Flash => "flash",
            Self::Verify => "verify",
            Self::Commit => "commit",
            Self::BootOrder => "boot-order",
            Self::Receipt => "receipt",
        }
    }
}

/// The present stage and the time spent in each so far. A stage that is entered again adds up.
pub struct Stages {
    spent: Vec<(Stage, Duration)>,
    present: Stage,
    since: Instant,
}

impl Stages {
    /// Begins with the takeover.
    pub fn start() -> Self {
        Self {
            spent: Vec::new(),
            present: Stage::Takeover,
            since: Instant::now(),
        }
    }

    /// The stage the agent is in.
    pub fn present(&self) -> Stage {
        self.present
    }

    /// Ends the present stage and begins another.
    pub fn enter(&mut self, stage: Stage) {
        self.spent = self.spent();
        self.present = stage;
        self.since = Instant::now();
    }

    /// The stages so far, in the order they were first entered.
    pub fn spent(&self) -> Vec<(Stage, Duration)> {
        let mut spent = self.spent.clone();
        let so_far = self.since.elapsed();
        match spent.iter_mut().find(|(stage, _)| *stage == self.present) {
            Some((_, time)) => *time += so_far,
            None => spent.push((self.present, so_far)),
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_entered_again_is_listed_once() {
        let mut stages = Stages::start();
        for stage in [Stage::Board, Stage::Card, Stage::Board, Stage::Receipt] {
            stages.enter(stage);
        }
        let order: Vec<_> = stages.spent().iter().map(|(stage, _)| *stage).collect();
        assert_eq!(
            order,
            [Stage::Takeover, Stage::Board, Stage::Card, Stage::Receipt]
        );
        assert_eq!(stages.present(), Stage::Receipt);
    }
}
