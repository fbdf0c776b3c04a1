//! The LED of a board, derived from its console (docs/failures.md).

use crate::screen::News;
use crate::summary::STAGES;

/// A second of the LED in its steps of a tenth. The last one of a list is shown only once the demo is over.
const DARK: &[&str] = &["○", "○"];
const LIT: &[&str] = &["●", "●"];
const ONE_BLINK: &[&str] = &["●", "○", "○", "○", "○", "○", "○", "○", "○", "○", "○"];
const TWO_BLINKS: &[&str] = &["●", "○", "○", "●", "○", "○", "○", "○", "○", "○", "○"];
const THREE_BLINKS: &[&str] = &["●", "○", "○", "●", "○", "○", "●", "○", "○", "○", "○"];
const FIVE_BLINKS: &[&str] = &["●", "○", "●", "○", "●", "○", "●", "○", "●", "○", "○"];

/// The LED of one board.
#[derive(Default)]
pub struct Led {
    /// A place in the agent's story; none before its first stage.
    stage: Option<usize>,
    is_waiting: bool,
    is_golden: bool,
    /// A fault, and the stage that failed.
    fault: Option<(u8, Option<usize>)>,
}

impl Led {
    /// The console says this.
    pub fn hear(&mut self, news: &News) {
        self.is_waiting = matches!(news, News::Waiting);
        match news {
            News::Stage(name) => {
                self.is_golden = false;
                self.stage = STAGES.iter().position(|stage| stage == name);
                // The fault stays until the work gets past the failed stage.
                self.fault = self.fault.filter(|(_, failed)| self.stage <= *failed);
            }
            News::Fault(number) => self.fault = Some((*number, self.stage)),
            News::Golden => {
                *self = Self {
                    is_golden: true,
                    ..Self::default()
                }
            }
            News::NoPower => *self = Self::default(),
            News::Progress(..) | News::Waiting => {}
        }
    }

    /// The steps that it repeats.
    pub fn ticks(&self) -> Vec<&'static str> {
        if let Some((number, _)) = self.fault {
            return fault(number);
        }
        let stage = self.stage.map_or("", |stage| STAGES[stage]);
        let ticks = match stage {
            _ if self.is_golden => LIT,
            _ if self.is_waiting => TWO_BLINKS,
            "network" => ONE_BLINK,
            "manifest" | "target" => TWO_BLINKS,
            "flash" | "commit" | "boot-order" => FIVE_BLINKS,
            "verify" => THREE_BLINKS,
            "receipt" => LIT,
            _ => DARK,
        };
        ticks.to_vec()
    }
}

/// A second of flicker, a pause, and as many slow blinks as the number.
fn fault(number: u8) -> Vec<&'static str> {
    let mut ticks = ["●", "○"].repeat(5);
    ticks.extend(["○"; 10]);
    for _ in 0..number {
        ticks.extend(["●"; 5]);
        ticks.extend(["○"; 5]);
    }
    ticks.extend(["○"; 11]);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(news: &[News]) -> Vec<&'static str> {
        let mut led = Led::default();
        for one in news {
            led.hear(one);
        }
        led.ticks()
    }

    #[test]
    fn a_fault_stays_until_the_work_is_past_the_stage_that_failed() {
        use News::{Fault, Progress, Stage};
        let again = [
            Stage("flash"),
            Fault(7),
            Stage("board"),
            Stage("flash"),
            Progress(90, ""),
        ];
        assert_eq!(heard(&again[..3]), fault(7));
        assert_eq!(heard(&again), fault(7));
        let past = [Stage("flash"), Fault(7), Stage("verify")];
        assert_eq!(heard(&past), THREE_BLINKS);
    }

    #[test]
    fn a_fault_blinks_its_number() {
        let ticks = fault(4);
        let slow = ticks
            .split(|tick| *tick == "○")
            .filter(|lit| lit.len() == 5);
        assert_eq!(slow.count(), 4);
    }

    #[test]
    fn a_board_that_waits_in_the_middle_of_a_flash_shows_it_until_it_gets_on() {
        use News::{Golden, Progress, Stage, Waiting};
        let goes_on = [Stage("flash"), Waiting, Progress(52, "")];
        assert_eq!(heard(&goes_on[..2]), TWO_BLINKS);
        assert_eq!(heard(&goes_on), FIVE_BLINKS);
        assert_eq!(heard(&[Stage("receipt"), Golden]), LIT);
    }
}
