//! Troubles that a restart of the board may cure, and how long each has lasted. docs/failures.md has the rule.

use std::time::Duration;

use gild_faults::{Fault, Policy};

use crate::failure::{ATTEMPTS, Failure, Remedy};
use crate::stage::Stage;

/// A trouble that lasts: the same fault with the same kind of remedy, until the work gets past the failing stage.
struct Trouble {
    fault: Fault,
    is_counted: bool,
    stage: Stage,
    failures: u32,
    /// When it began to count.
    since: Duration,
}

/// All troubles that last. Each has its own time, so that none shortens the pause of another.
#[derive(Default)]
pub struct Troubles(Vec<Trouble>);

impl Troubles {
    /// Notes a failure in this stage, at this time. If a restart may help, returns how long the trouble has lasted.
    ///
    /// If a step is tried several times, the trouble counts from the last of these attempts. If a restart cannot help, for example because
    /// a server is away, the failure only shows how far the work got.
    pub fn lasting(&mut self, failure: &Failure, stage: Stage, now: Duration) -> Option<Duration> {
        let fault = failure.fault;
        let stage = match fault {
            // A missing disk is noticed before the network is up. But the work is past that trouble only when a disk is chosen.
            Fault::NoTarget | Fault::TargetFailed => stage.max(Stage::Target),
            _ => stage,
        };
        self.0.retain(|trouble| trouble.stage >= stage);
        let is_counted = match failure.remedy {
            Remedy::Restart => false,
            Remedy::CountedRestart(_) => true,
            Remedy::LookAgain | Remedy::Pause(_) => return None,
        };
        let attempts = match fault.policy() {
            Policy::Bounded if !is_counted => ATTEMPTS,
            Policy::Bounded | Policy::RetryForever | Policy::Hold => 1,
        };
        let is_it = |trouble: &Trouble| (trouble.fault, trouble.is_counted) == (fault, is_counted);
        let at = self.0.iter().position(is_it).unwrap_or_else(|| {
            self.0.push(Trouble {
                fault,
                is_counted,
                stage,
                failures: 0,
                since: now,
            });
            self.0.len() - 1
        });
        let trouble = &mut self.0[at];
        trouble.failures = trouble.failures.saturating_add(1);
        if trouble.failures <= attempts {
            trouble.since = now;
        }
        (trouble.failures >= attempts).then(|| now.saturating_sub(trouble.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A node's failures, a minute apart.
    #[derive(Default)]
    struct Scene {
        troubles: Troubles,
        now: Duration,
    }

    impl Scene {
        /// Reports a failure, and returns for how many minutes the trouble has lasted.
        fn fails(&mut self, fault: Fault, remedy: Remedy, stage: Stage) -> Option<u64> {
            let failure = Failure {
                fault,
                message: String::new(),
                next_step: fault.next_step().into(),
                remedy,
            };
            let lasting = self.troubles.lasting(&failure, stage, self.now);
            self.now += MINUTE;
            lasting.map(|time| time.as_secs() / 60)
        }

        fn has_no_disk(&mut self, stage: Stage) -> Option<u64> {
            self.fails(Fault::NoTarget, Remedy::Restart, stage)
        }

        fn disk_fails(&mut self, stage: Stage) -> Option<u64> {
            self.fails(Fault::TargetFailed, Remedy::Restart, stage)
        }

        fn misses_server(&mut self, stage: Stage) {
            let lasting = self.fails(Fault::ServerUnreachable, Remedy::LookAgain, stage);
            assert_eq!(lasting, None);
        }
    }

    #[test]
    fn a_trouble_lasts_from_its_first_failure_on_whatever_a_look_takes() {
        let mut scene = Scene::default();
        assert_eq!(scene.has_no_disk(Stage::Target), Some(0));
        assert_eq!(scene.has_no_disk(Stage::Target), Some(1));
        scene.now += MINUTE;
        assert_eq!(scene.has_no_disk(Stage::Target), Some(3));
    }

    #[test]
    fn a_server_that_hiccups_does_not_put_the_restart_off() {
        let mut scene = Scene::default();
        assert_eq!(scene.has_no_disk(Stage::Target), Some(0));
        scene.misses_server(Stage::Manifest);
        scene.fails(Fault::NoNetwork, Remedy::LookAgain, Stage::Network);
        assert_eq!(scene.has_no_disk(Stage::Target), Some(3));
        let hung = Remedy::Pause(Some(0));
        scene.fails(Fault::TargetFailed, hung, Stage::Target);
        assert_eq!(scene.has_no_disk(Stage::Target), Some(5));
    }

    #[test]
    fn a_disk_that_the_gate_misses_is_the_one_that_is_not_there_to_be_chosen() {
        let mut scene = Scene::default();
        for (minutes, stage) in [
            Stage::Network,
            Stage::Manifest,
            Stage::Target,
            Stage::Network,
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(scene.has_no_disk(stage), Some(minutes as u64));
        }
    }

    #[test]
    fn the_pause_of_one_trouble_is_not_shortened_by_another() {
        let mut scene = Scene::default();
        scene.has_no_disk(Stage::Target);
        assert_eq!(scene.has_no_disk(Stage::Target), Some(1));
        // The disk appears, but fails when it is written.
        let failures: Vec<_> = (0..5).map(|_| scene.disk_fails(Stage::Flash)).collect();
        assert_eq!(failures, [None, None, Some(0), Some(1), Some(2)]);
        assert_eq!(scene.has_no_disk(Stage::Target), Some(0), "it was there");
        let came_back = Remedy::CountedRestart(Some(0));
        let mut comes_back = || scene.fails(Fault::BootOrder, came_back, Stage::BootOrder);
        assert_eq!([comes_back(), comes_back()], [Some(0), Some(1)]);
    }

    #[test]
    fn a_disk_that_fails_and_vanishes_by_turns_restarts_the_board() {
        let mut scene = Scene::default();
        let mut turn = || {
            scene.has_no_disk(Stage::Target);
            scene.disk_fails(Stage::Flash)
        };
        let turns: Vec<_> = (0..4).map(|_| turn()).collect();
        assert_eq!(turns, [None, None, Some(0), Some(2)]);
    }

    #[test]
    fn a_trouble_is_over_when_the_work_gets_past_its_stage() {
        let mut scene = Scene::default();
        scene.has_no_disk(Stage::Target);
        scene.misses_server(Stage::Flash);
        assert_eq!(scene.has_no_disk(Stage::Target), Some(0));
        for stage in [Stage::Flash, Stage::Flash, Stage::Flash] {
            scene.disk_fails(stage);
        }
        assert_eq!(scene.disk_fails(Stage::Verify), None, "it got on");
        assert_eq!(scene.disk_fails(Stage::Flash), None);
        assert_eq!(scene.disk_fails(Stage::Verify), Some(0));
    }
}
