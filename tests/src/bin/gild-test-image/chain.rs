//! The board from the first power-on through all its restarts.
//!
//! The Rock 5B goes through them by itself, in one QEMU process: U-Boot decides what is started. For the Pi 5 the harness
//! plays the firmware at each restart.

use anyhow::{Context, Result, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::pi5::{Medium, Pi5};
use gild_tests::scene::Scene;
use gild_tests::virtual_board::{End, VirtualBoard};
use serde_json::json;

use crate::node::PATIENCE;

/// What U-Boot says first.
const BANNER: &str = "U-Boot 20";

/// What the test's service in the image says when it cannot go on.
const FAILED: &str = "gild-witness: FAILED";

/// A board that is on.
pub struct Chain<'a> {
    scene: &'a mut Scene,
    board: VirtualBoard,
    /// Of a Pi 5.
    firmware: Option<Pi5>,
    show: bool,
}

impl<'a> Chain<'a> {
    /// Puts a whole card into the slot, and applies power. `show`: everything that is on the console is shown.
    pub fn power_on(scene: &'a mut Scene, show: bool) -> Result<Self> {
        let (board, firmware) = match scene.hardware.product {
            Product::Rpi5 => {
                scene.use_eeprom()?;
                let mut firmware = Pi5::default();
                let (medium, board) = firmware.power_on(scene)?;
                ensure!(medium == Medium::Card, "a new board started {medium:?}");
                (board, Some(firmware))
            }
            Product::Rock5b | Product::Unknown => {
                scene.use_whole_card(&gild_card::firmware::Firmware::default())?;
                scene.use_u_boot()?;
                (scene.hardware.switch_on()?, None)
            }
        };
        let mut chain = Self {
            scene,
            board,
            firmware,
            show,
        };
        if chain.firmware.is_none() {
            chain.wait_for(BANNER)?;
        }
        Ok(chain)
    }

    /// Waits for a line on the console.
    pub fn wait_for(&mut self, pattern: &str) -> Result<()> {
        let name = self.scene.hardware.product.name();
        let show = self.show;
        let line = self.board.wait_until(pattern, PATIENCE, |line| {
            if show {
                println!("{name} | {line}");
            }
            line.contains(pattern) || line.contains(FAILED)
        })?;
        ensure!(!line.contains(FAILED), "the node says `{line}`");
        Ok(())
    }

    /// Waits until the board restarts, and gives what `look` sees before anything runs again. The board goes on from
    /// `next`.
    pub fn restart<T>(
        &mut self,
        next: Medium,
        look: impl FnOnce(&Scene, &str) -> Result<T>,
    ) -> Result<T> {
        let Some(firmware) = &mut self.firmware else {
            return self.restart_by_u_boot(next, look);
        };
        let end = self.board.wait_end(PATIENCE)?;
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

    fn restart_by_u_boot<T>(
        &mut self,
        next: Medium,
        look: impl FnOnce(&Scene, &str) -> Result<T>,
    ) -> Result<T> {
        self.wait_for(BANNER)?;
        self.board.qmp().execute("stop", json!({}))?;
        let seen = look(self.scene, &self.board.console().join("\n"))?;
        self.board.qmp().execute("cont", json!({}))?;
        self.wait_for(match next {
            Medium::Card => "gild: starting the agent",
            Medium::Nvme => "with extlinux",
        })
        .context("U-Boot started something else")?;
        Ok(seen)
    }
}
