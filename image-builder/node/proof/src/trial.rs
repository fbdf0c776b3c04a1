//! The way back of an image on trial: until the image has proven that it starts, the firmware returns to the flasher card.
//!
//! On the Raspberry Pi it consists of a few lines in `config.txt`. On U-Boot it consists of files, of which `boot.scr` uses up one with
//! each start. The builder adds them, and the node removes them once it runs. This module handles only text; others read and write the
//! files.

/// The firmware's file on the boot partition that has the lines.
pub const CONFIG_TXT: &str = "config.txt";
/// U-Boot's script on the boot partition. U-Boot looks for `extlinux/extlinux.conf` first, so that file must not exist.
pub const BOOT_SCR: &str = "boot.scr";
/// The exact line that begins the section.
pub const BEGIN: &str = "# gild-trial: begin";
/// The exact line that ends the section.
pub const END: &str = "# gild-trial: end";
/// What the firmware tries at the next restart: card, then NVMe, then both again. It reads the digits from the lowest.
pub const REBOOT_ORDER: &str = "set_reboot_order=0xf61";

/// The folder on the boot partition that U-Boot's script looks into.
pub const FOLDER: &str = "gild-trial";
/// The image is on trial while this file exists. The tokens mean nothing without it, so it is removed first.
pub const ON: &str = gild_card_format::ON_TRIAL;
/// The starts that are left. The script removes the first that exists.
pub const TOKENS: [&str; 3] = ["gild-trial/1", "gild-trial/2", "gild-trial/3"];

/// `config.txt` with the way back at its end, where no filter hides it and no other line overrides it.
///
/// The firmware reads no more than 98 characters of a line.
#[must_use]
pub fn with_trial(config_txt: &str) -> String {
    let newline = match config_txt {
        "" => "",
        text if text.ends_with('\n') => "",
        _ => "\n",
    };
    format!(
        "\
{config_txt}{newline}{BEGIN}
# This image has not started yet. Until it has, a restart looks at the flasher card first:
# an image that does not start is replaced. Then gild removes this. Old firmware ignores it.
[all]
{REBOOT_ORDER}
{END}
"
    )
}

/// `config.txt` without the way back. `None` if there is none, or if the two marks are not there exactly once and in order.
#[must_use]
pub fn without_trial(config_txt: &str) -> Option<String> {
    let lines: Vec<&str> = config_txt.split_inclusive('\n').collect();
    let only = |mark: &str| {
        let mut found = lines.iter().enumerate();
        let (at, _) = found.by_ref().find(|(_, line)| line.trim_end() == mark)?;
        found.all(|(_, line)| line.trim_end() != mark).then_some(at)
    };
    let (begin, end) = (only(BEGIN)?, only(END)?);
    (begin < end).then(|| [&lines[..begin], &lines[end + 1..]].concat().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[all]\nkernel=vmlinuz.gz\n[pi4]\narm_boost=1\n";

    #[test]
    fn what_is_added_is_taken_out_and_nothing_else() {
        for config in [CONFIG, "", "# gild-trial: beginning\n"] {
            let on_trial = with_trial(config);
            assert!(on_trial.starts_with(config), "{on_trial}");
            assert_eq!(without_trial(&on_trial).as_deref(), Some(config));
        }
        // Meanwhile the node's owner has added lines, on Windows.
        let edited = with_trial(CONFIG).replace('\n', "\r\n") + "dtparam=fan\r\n";
        let wanted = CONFIG.replace('\n', "\r\n") + "dtparam=fan\r\n";
        assert_eq!(without_trial(&edited), Some(wanted));
    }

    #[test]
    fn a_config_without_a_line_end_keeps_its_last_line() {
        let on_trial = with_trial("kernel=a");
        assert_eq!(without_trial(&on_trial).as_deref(), Some("kernel=a\n"));
    }

    #[test]
    fn marks_that_are_not_a_pair_remove_nothing() {
        let once = with_trial(CONFIG);
        for config in [
            CONFIG.to_owned(),
            format!("{CONFIG}{BEGIN}\n"),
            format!("{CONFIG}{END}\n"),
            format!("{END}\n{CONFIG}{BEGIN}\n"),
            format!("{once}{BEGIN}\n"),
            format!("{END}\n{once}"),
            with_trial(&once),
        ] {
            assert_eq!(without_trial(&config), None, "{config}");
        }
    }

    #[test]
    fn the_firmware_applies_the_line_on_every_board_and_reads_the_lines_whole() {
        let on_trial = with_trial(CONFIG);
        let lines: Vec<&str> = on_trial.lines().collect();
        let at = lines.iter().position(|line| *line == REBOOT_ORDER);
        let filter = lines[..at.expect("the line")]
            .iter()
            .rfind(|line| line.starts_with('['));
        assert_eq!(filter, Some(&"[all]"));
        assert!(lines.iter().all(|line| line.len() <= 98), "{on_trial}");
    }

    #[test]
    fn the_files_lie_in_the_folder() {
        for file in TOKENS.iter().chain([&ON]) {
            assert_eq!(
                file.rsplit_once('/').map(|(folder, _)| folder),
                Some(FOLDER)
            );
        }
    }
}
