//! The way back to the flasher card of an image that has not started yet.

use gild_boards::BootFirmware;
use gild_proof::trial::{CONFIG_TXT, ON, TOKENS, without_trial};

use crate::boot_script::BOOT_SCR;
use crate::image::{Image, missing};
use crate::report::Finding;

/// What the firmware of the Raspberry Pi looks at after a restart: the card, then the NVMe.
const CARD_FIRST: &str = "0xf61";
/// What U-Boot would take before the script.
const BEFORE_THE_SCRIPT: [&str; 2] = ["extlinux/extlinux.conf", "boot.scr.uimg"];

pub fn way_back(image: &Image) -> Vec<Finding> {
    match image.board().map(|board| board.boot_firmware) {
        Some(BootFirmware::RpiEeprom) => {
            // The rule about files reports a missing one.
            let wrong = image
                .boot_text(CONFIG_TXT)
                .and_then(|text| wrong_in_config(&text));
            let finding = |what| Finding::new(format!("boot:{CONFIG_TXT}"), what);
            wrong.map(finding).into_iter().collect()
        }
        Some(BootFirmware::Rk3588Spi) => of_u_boot(image),
        None => Vec::new(),
    }
}

/// The restart order that holds at the end of the file, and whether it holds for every board.
fn restart_order(config: &str) -> Option<(bool, String)> {
    let (mut for_all, mut order) = (true, None);
    for line in config.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            for_all = line.eq_ignore_ascii_case("[all]");
        } else if let Some((key, value)) = line.split_once('=')
            && key.trim() == "set_reboot_order"
        {
            order = Some((for_all, value.trim().to_owned()));
        }
    }
    order
}

fn wrong_in_config(config: &str) -> Option<&'static str> {
    let Some(proven) = without_trial(config) else {
        return Some(
            "has no way back between gild's marks: a node that does not start is not flashed again",
        );
    };
    let wanted = Some((true, CARD_FIRST.to_owned()));
    if restart_order(config) != wanted {
        return Some("the set_reboot_order that applies does not look at the card first");
    }
    (restart_order(&proven) == wanted)
        .then_some("the set_reboot_order of the way back stays when the node has started")
}

fn of_u_boot(image: &Image) -> Vec<Finding> {
    let is_there = |path: &str| image.boot.files.contains_key(path);
    let absent = TOKENS.iter().chain([&ON]).filter(|path| !is_there(path));
    let mut findings: Vec<Finding> = absent.map(|path| missing(format!("boot:{path}"))).collect();
    let taken = BEFORE_THE_SCRIPT.iter().filter(|path| is_there(path));
    findings.extend(taken.map(|path| {
        let what = "U-Boot takes it before boot.scr, which has the way back";
        Finding::new(format!("boot:{path}"), what)
    }));
    let wrong = match image.boot_script() {
        // The rule about files reports it.
        None => None,
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(commands)) => wrong_in_script(&commands),
    };
    findings.extend(wrong.map(|what| Finding::new(format!("boot:{BOOT_SCR}"), what)));
    findings
}

/// The script must use up a start before anything starts, and call the card's script if none is left.
fn wrong_in_script(commands: &str) -> Option<String> {
    let starts = [ON].into_iter().chain(TOKENS);
    let mut rest = commands;
    for word in starts.chain(["fatrm ", "source ", "booti "]) {
        let Some(at) = rest.find(word) else {
            let word = word.trim();
            return Some(format!("has no `{word}` where the way back needs it"));
        };
        let passed = &rest[..at];
        if passed.contains("booti ") {
            return Some("starts a kernel before it uses up a start".to_owned());
        }
        rest = &rest[at + word.len()..];
    }
    None
}
