//! A board from a power-on through all its restarts.
//!
//! The Rock 5B restarts by itself, in one QEMU process, and U-Boot decides what starts. For the Pi 5 the harness plays the firmware at each
//! restart.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::pi5::{Medium, Pi5};
use crate::scene::Scene;
use crate::serial::printable;
use crate::virtual_board::{End, VirtualBoard, has_come_to};

/// What U-Boot says first.
const BANNER: &str = "U-Boot 20";

/// How a board's console is watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Time for one step. Its only purpose is to end a run that hangs.
    pub patience: Duration,
    /// Shows a line from the console of the board with this name.
    pub show: Option<fn(&str, &str)>,
    /// A text on the console which means that the run cannot continue.
    pub failure: Option<&'static str>,
}

/// A board that is on.
pub struct Chain<'a> {
    scene: &'a mut Scene,
    board: VirtualBoard,
    /// Of a Pi 5.
    firmware: Option<Pi5>,
    watch: Watch,
}

impl<'a> Chain<'a> {
    /// Applies power to a board with firmware ([`Scene::use_firmware`]). It must start from `first`.
    pub fn power_on(scene: &'a mut Scene, first: Medium, watch: Watch) -> Result<Self> {
        let (board, firmware) = if scene.hardware.u_boot.is_some() {
            (scene.hardware.switch_on()?, None)
        } else {
            let mut firmware = Pi5::default();
            let (medium, board) = firmware.power_on(scene)?;
            ensure!(
                medium == first,
                "the firmware started {medium:?} and not {first:?}"
            );
            (board, Some(firmware))
        };
        let mut chain = Self {
            scene,
            board,
            firmware,
            watch,
        };
        if chain.firmware.is_none() {
            chain.wait_for(BANNER)?;
            chain.u_boot_starts(first)?;
        }
        Ok(chain)
    }

    /// The board's setting, as it is now.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        self.scene
    }

    /// From here on a fault on the console is expected.
    pub fn tolerate_faults(&mut self) {
        self.board.tolerate_faults();
    }

    /// The board itself, for what happens to it.
    pub fn board(&mut self) -> &mut VirtualBoard {
        &mut self.board
    }

    /// Removes the speed limit of a slow disk, for later starts too.
    pub fn let_disk_run(&mut self) -> Result<()> {
        self.scene.hardware.nvme[0].bytes_per_second = 0;
        self.board.let_disk_run(0)
    }

    /// All console lines since the last start of QEMU.
    pub fn console(&mut self) -> String {
        self.board.console().join("\n")
    }

    /// Waits for a line on the console, and gives it.
    pub fn wait_for(&mut self, pattern: &str) -> Result<String> {
        self.wait_until(pattern, |line| line.contains(pattern))
    }

    /// Waits until the agent has done this many per cent of a stage.
    pub fn wait_for_progress(&mut self, percent: u64) -> Result<String> {
        let what = format!("progress of at least {percent} %");
        self.wait_until(&what, |line| has_come_to(line, percent))
    }

    /// Waits until the console and the LED show a fault and the next step. Returns the line of the fault.
    pub fn wait_for_fault_on_the_led(&mut self, number: u8) -> Result<String> {
        self.tolerate_faults();
        let line = self.wait_for(&format!("gild: FAULT {number}:"))?;
        self.wait_for("gild: next: ")?;
        self.board.wait_for_the_led(number, self.watch.patience)?;
        Ok(line)
    }

    fn wait_until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let name = self.scene.hardware.product.name();
        let Watch {
            patience,
            show,
            failure,
        } = self.watch;
        let has_failed = |line: &str| failure.is_some_and(|failure| line.contains(failure));
        let line = self.board.wait_until(what, patience, |line| {
            let text = printable(line);
            if let Some(show) = show
                && !text.is_empty()
            {
                show(name, &text);
            }
            wanted(line) || has_failed(line)
        })?;
        ensure!(!has_failed(&line), "the node says `{line}`");
        Ok(line)
    }

    /// Waits until the board restarts. Returns what `look` sees before anything runs again. The board continues from `next`.
    pub fn restart<T>(
        &mut self,
        next: Medium,
        look: impl FnOnce(&Scene, &str) -> Result<T>,
    ) -> Result<T> {
        let Some(firmware) = &mut self.firmware else {
            return self.restart_by_u_boot(next, look);
        };
        let end = self.board.wait_end(self.watch.patience)?;
        ensure!(
            end == End::Reset,
            "the board was to restart, and ended with {end:?}"
        );
        let seen = look(self.scene, &self.board.console().join("\n"))?;
        let (medium, board) = firmware.restart(self.scene)?;
        ensure!(
            medium == next,
            "the firmware started {medium:?} and not {next:?}"
        );
        self.board = board;
        Ok(seen)
    }

    /// Switches the board off and on, as a person would if it hangs. For QEMU it is a reset.
    pub fn power_cycle(&mut self, next: Medium) -> Result<()> {
        self.board.qmp().execute("system_reset", json!({}))?;
        let Some(firmware) = &mut self.firmware else {
            self.wait_for(BANNER)?;
            return self.u_boot_starts(next);
        };
        self.board.wait_end(self.watch.patience)?;
        let (medium, board) = firmware.power_on(self.scene)?;
        ensure!(
            medium == next,
            "the firmware started {medium:?} and not {next:?}"
        );
        self.board = board;
        Ok(())
    }

    fn restart_by_u_boot<T>(
        &mut self,
        next: Medium,
        look: impl FnOnce(&Scene, &str) -> Result<T>,
    ) -> Result<T> {
        self.wait_for(BANNER)?;
        self.board.qmp().execute("stop", json!({}))?;
        let seen = look(self.scene, &self.board.console().join("\n"))?;
        self.board.qmp().execute("cont", json!({}))?;
        self.u_boot_starts(next)?;
        Ok(seen)
    }

    fn u_boot_starts(&mut self, medium: Medium) -> Result<()> {
        self.wait_for(match medium {
            Medium::Card => "gild: starting the agent",
            Medium::Nvme => "gild: starting the disk",
        })
        .context("U-Boot started something else")?;
        Ok(())
    }

    /// Cuts the power.
    pub fn cut_power(self) -> Result<()> {
        self.board.cut_power()
    }

    /// Waits until the board switches itself off; gives all that was on its console since the last start of QEMU.
    pub fn power_off(mut self) -> Result<String> {
        let end = self.board.wait_end(self.watch.patience)?;
        ensure!(
            end == End::PowerOff,
            "the board was to switch itself off, and ended with {end:?}"
        );
        Ok(self.board.console().join("\n"))
    }
}
