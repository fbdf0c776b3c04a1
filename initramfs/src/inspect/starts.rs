//! What a card needs so that boards start the agent from it.

use gild_boards::dtbo;
use gild_boards::uboot_script::Script;
use gild_boards::{Board, BootFirmware};
use gild_card_format::names::CONFIG;

use crate::fat::Files;
use crate::{boot, device_tree, kernel};

/// The zstd frame that the initramfs is.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Finds what is wrong with what the boards need to start the agent.
pub fn check(files: &Files, problems: &mut Vec<String>) {
    let mut expect = |name: &str, wrong: &dyn Fn(&[u8]) -> Option<String>| match files.get(name) {
        None => problems.push(format!("{name} is missing: no board starts")),
        Some(content) => problems.extend(wrong(content).map(|error| format!("{name}: {error}"))),
    };
    expect(boot::KERNEL, &|content| {
        let image = kernel::unpack(content).and_then(|image| kernel::check(&image));
        image.err().map(|error| error.to_string())
    });
    expect(boot::PLAIN_KERNEL, &|content| {
        kernel::check(content).err().map(|error| error.to_string())
    });
    expect(boot::INITRAMFS, &|content| {
        (!content.starts_with(&ZSTD)).then(|| "it is not compressed with zstd".to_owned())
    });
    expect(boot::BOOT_SCR, &|content| {
        Script::parse(content).err().map(|error| error.to_string())
    });
    expect(boot::CONFIG_TXT, &|content| {
        let text = String::from_utf8_lossy(content);
        let names = [
            format!("kernel={}", boot::KERNEL),
            format!("initramfs {} followkernel", boot::INITRAMFS),
        ];
        let missing = names
            .iter()
            .find(|wanted| !text.lines().any(|line| line == *wanted));
        // Without the check a board that is not supported would be started halfway. Overlays are the firmware's own choice.
        let harmful = text.lines().find(|line| {
            ["os_check", "dtoverlay"]
                .iter()
                .any(|key| line.trim().starts_with(key))
        });
        missing
            .map(|line| format!("the line `{line}` is missing"))
            .or(harmful.map(|line| format!("the line `{line}` must not be there")))
    });
    expect(boot::CMDLINE_TXT, &|content| {
        let lines = String::from_utf8_lossy(content).trim().lines().count();
        (lines != 1).then(|| format!("it has {lines} lines, and the firmware takes one"))
    });
    expect(CONFIG, &|_| None);
    for board in gild_boards::all() {
        match board.boot_firmware {
            BootFirmware::RpiEeprom => {
                let newer = board.stepping.as_ref();
                let trees = newer.map(|stepping| stepping.vendor_dtb.as_str());
                for name in [board.base_dtb()].into_iter().chain(trees) {
                    expect(name, &|content| is_not_edited(content, board));
                }
            }
            BootFirmware::Rk3588Spi => expect(&board.dtb[0], &|content| {
                device_tree::check(content, board.identity())
                    .err()
                    .map(|error| error.to_string())
            }),
        }
    }
    problems.extend(
        gild_boards::all()
            .iter()
            .filter_map(|board| overlay(files, board)),
    );
    if files
        .keys()
        .any(|path| path.starts_with(boot::NEVER_ON_THE_CARD))
    {
        problems.push(format!(
            "there is a folder {}: U-Boot takes it before {}, so a finished disk would never start",
            boot::NEVER_ON_THE_CARD,
            boot::BOOT_SCR
        ));
    }
}

/// What a device tree for the Raspberry Pi's firmware lacks.
fn is_not_edited(content: &[u8], board: &Board) -> Option<String> {
    match device_tree::is_edited(content, board.identity()) {
        Err(error) => Some(error.to_string()),
        Ok(false) => Some("it lacks what the board's firmware and the agent need".to_owned()),
        Ok(true) => None,
    }
}

/// What is wrong with the overlay that the Raspberry Pi's firmware applies on boards with the newer stepping.
fn overlay(files: &Files, board: &Board) -> Option<String> {
    let stepping = board.stepping.as_ref()?;
    let name = &stepping.overlay;
    let Some(content) = files.get(name) else {
        return Some(format!(
            "{name} is missing: a {} with the newer stepping of the processor does not start",
            board.model
        ));
    };
    // A missing tree is a separate problem.
    let base = files.get(board.base_dtb())?;
    let newer = files.get(&stepping.vendor_dtb)?;
    let wrong = dtbo::check_order(base, newer, &stepping.compatible)
        .and_then(|()| dtbo::check_devices(base, content, newer))
        .and_then(|()| dtbo::check_gives(base, content, newer))
        .err()?;
    Some(format!("{name}: {wrong}"))
}
