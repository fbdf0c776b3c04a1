//! Runs programs that may never end, because they may wait for a disk or a server that does not answer.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::systemd::apart;

const LOOK: Duration = Duration::from_millis(100);

/// How the program ended, or `None` if it did not end in time. A program that waits for a disk cannot even be killed, so it is left alone.
/// Nothing may wait for the files that it has open.
pub fn run(program: &mut Command, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = apart(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > patience {
            child.kill()?;
            return Ok(None);
        }
        sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_left() {
        let start = Instant::now();
        let mut program = Command::new("sleep");
        let ended = run(program.arg("50"), Duration::from_millis(200));
        assert_eq!(ended.expect("a program"), None);
        assert!(start.elapsed() < Duration::from_secs(20));
        let ended = run(&mut Command::new("true"), Duration::from_secs(20));
        assert!(ended.expect("a program").expect("an end").success());
    }
}
