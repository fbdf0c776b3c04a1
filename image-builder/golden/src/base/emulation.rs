//! Whether programs of the boards' processor run on this machine.

use std::fs;
use std::path::Path;

use super::BaseError;

/// What the kernel reports about the programs that it hands to QEMU.
const HANDLER: &str = "/proc/sys/fs/binfmt_misc/qemu-aarch64";

/// Refuses a machine that cannot run the programs of the new root.
pub fn check() -> Result<(), BaseError> {
    if cfg!(target_arch = "aarch64") {
        return Ok(());
    }
    judge(fs::read_to_string(Path::new(HANDLER)).ok().as_deref())
        .map_err(|reason| BaseError::Emulation { reason })
}

fn judge(handler: Option<&str>) -> Result<(), String> {
    let Some(handler) = handler else {
        return Err(format!("there is no {HANDLER}"));
    };
    if handler.lines().next() != Some("enabled") {
        return Err(format!("{HANDLER} says that it is switched off"));
    }
    // F: the kernel holds the interpreter open, so that the new root need not have it.
    let flags = handler.lines().find_map(|line| line.strip_prefix("flags:"));
    if !flags.is_some_and(|flags| flags.contains('F')) {
        return Err(format!(
            "{HANDLER} lacks the flag F, without which no other root can use it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_a_handler_that_is_on_and_fixed_will_do() {
        assert_eq!(
            judge(Some("enabled\ninterpreter /usr/bin/qemu\nflags: PF\n")),
            Ok(())
        );
        for (handler, complaint) in [
            (None, "there is no"),
            (Some("disabled\nflags: PF\n"), "switched off"),
            (Some("enabled\nflags: P\n"), "flag F"),
        ] {
            let reason = judge(handler).expect_err(complaint);
            assert!(reason.contains(complaint), "{reason}");
        }
    }
}
