//! The status LED of a running node. It shows whether the flasher card still has something to do.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use gild_boards::Board;
use gild_faults::led::{IDENTIFIES, STILL_NEEDS_THE_CARD};
use gild_proof::Standing;

const COMPATIBLE: &str = "proc/device-tree/compatible";
const LEDS: &str = "sys/class/leds";

/// Shows whether the disk is on trial or proven. A board that gild does not know shows nothing, and neither does one without an LED.
pub fn show(root: &Path, standing: Option<&Standing>) -> io::Result<()> {
    let needs_card = match standing {
        None => true,
        Some(Standing::Proven(record)) => record.is_boot_order_pending,
        Some(Standing::NoRecord(_)) => return Ok(()),
    };
    match led(root) {
        Some(led) if needs_card => blink(&led, STILL_NEEDS_THE_CARD),
        Some(led) => light(&led),
        None => Ok(()),
    }
}

/// Identifies this board by its LED until something else is shown.
pub fn identify(root: &Path) -> io::Result<()> {
    led(root).map_or(Ok(()), |led| blink(&led, IDENTIFIES))
}

fn led(root: &Path) -> Option<PathBuf> {
    let compatible = fs::read(root.join(COMPATIBLE)).ok()?;
    led_of(root, gild_boards::detect(&compatible).ok()?)
}

/// The directory of the board's first LED that exists.
fn led_of(root: &Path, board: &Board) -> Option<PathBuf> {
    let leds = root.join(LEDS);
    let mut found = board.leds.iter().map(|name| leds.join(name));
    found.find(|led| led.join("brightness").exists())
}

fn light(led: &Path) -> io::Result<()> {
    fs::write(led.join("trigger"), "none")?;
    let brightest = fs::read_to_string(led.join("max_brightness"))?;
    fs::write(led.join("brightness"), brightest.trim())
}

fn blink(led: &Path, (lit, dark): (u64, u64)) -> io::Result<()> {
    fs::write(led.join("trigger"), "timer")?;
    for (file, milliseconds) in iter::zip(["delay_on", "delay_off"], [lit, dark]) {
        fs::write(led.join(file), milliseconds.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gild_format::manifest::Sha256Hex;
    use gild_format::record::{Record, State};

    use super::*;

    fn proven(is_boot_order_pending: bool) -> Standing {
        Standing::Proven(Record {
            state: State::Proven,
            image_id: "rpi5-1".to_owned(),
            manifest_sha256: Sha256Hex([7; 32]),
            rollback_counter: 4,
            rollback_floor: 3,
            trial_starts: 0,
            is_discarded: true,
            is_boot_order_pending,
            orders: Vec::new(),
        })
    }

    /// The content of the LED's files on a Rock 5B after this was shown.
    fn shown(standing: Option<&Standing>) -> [String; 3] {
        after(|root| show(root, standing))
    }

    fn after(shows: impl FnOnce(&Path) -> io::Result<()>) -> [String; 3] {
        let root = tempfile::tempdir().expect("a directory");
        let led = root.path().join(LEDS).join("blue:status");
        fs::create_dir_all(&led).expect("an LED");
        fs::create_dir_all(root.path().join("proc/device-tree")).expect("a tree");
        fs::write(
            root.path().join(COMPATIBLE),
            "radxa,rock-5b\0rockchip,rk3588\0",
        )
        .expect("a board");
        fs::write(led.join("max_brightness"), "255\n").expect("a file");
        fs::write(led.join("brightness"), "0\n").expect("a file");
        shows(root.path()).expect("an LED");
        ["trigger", "brightness", "delay_off"]
            .map(|file| fs::read_to_string(led.join(file)).unwrap_or_default())
    }

    #[test]
    fn the_led_is_lit_once_nothing_is_pending() {
        assert_eq!(shown(Some(&proven(false))), ["none", "255", ""]);
        let blinking = ["timer", "0\n", "100"];
        assert_eq!(shown(Some(&proven(true))), blinking, "an order is pending");
        assert_eq!(shown(None), blinking, "on trial");
        let unknown = Standing::NoRecord("no record".to_owned());
        assert_eq!(shown(Some(&unknown)), ["", "0\n", ""]);
    }

    #[test]
    fn a_board_that_is_asked_for_blinks_slowly() {
        assert_eq!(after(identify), ["timer", "0\n", "1000"]);
    }

    #[test]
    fn a_board_without_an_led_is_no_mistake() {
        let root = tempfile::tempdir().expect("a directory");
        show(root.path(), None).expect("nothing");
        identify(root.path()).expect("nothing");
    }
}
