//! The units that are stopped before a drain, and the restart.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::{Context, Result, bail};

/// The units to stop, in this order. First come those that would start the agent again or restart the node. Then comes the agent, which
/// leaves its pods running (`KillMode=process`). A timer comes before its service.
const UNITS: [&str; 4] = [
    "k3s-init.service",
    "gild-seed-refresh.timer",
    "gild-seed-refresh.service",
    "k3s-agent.service",
];

/// What systemd knows of a unit.
#[derive(Debug, PartialEq, Eq)]
enum Unit {
    /// systemd does not know it: an image without k3s has no agent.
    Unknown,
    /// It does not run, but may be about to.
    Idle,
    Runs,
}

/// The units that were running when they were stopped for an order, one in each line. If something else ends this program, for example
/// systemd after its time limit, the note says which units to start again.
const NOTE: &str = "run/gild/stopped-for-order";

/// The units that ran until they were stopped.
#[derive(Debug, Default)]
pub struct Stopped {
    units: Vec<&'static str>,
    note: Option<PathBuf>,
}

impl Stopped {
    /// No unit yet. They will be noted below this root.
    pub fn noted(root: &Path) -> Self {
        Self {
            units: Vec::new(),
            note: Some(root.join(NOTE)),
        }
    }

    /// The units that an earlier run stopped, if that run was ended before it began to make the disk blank.
    pub fn by_note(root: &Path) -> Result<Self> {
        let note = root.join(NOTE);
        let text = match fs::read_to_string(&note) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).context("reading which units were stopped"),
        };
        let is_noted = |unit: &&str| text.lines().any(|line| line == *unit);
        Ok(Self {
            units: UNITS.into_iter().filter(is_noted).collect(),
            note: Some(note),
        })
    }

    /// Stops all of them. Each is noted before it is stopped.
    pub fn stop(&mut self, say: impl Fn(&str)) -> Result<()> {
        for unit in UNITS {
            match look(unit)? {
                Unit::Unknown => continue,
                Unit::Idle => {}
                Unit::Runs => self.remember(unit)?,
            }
            say(&format!("stopping {unit}"));
            systemctl(&["stop", unit])?;
        }
        Ok(())
    }

    fn remember(&mut self, unit: &'static str) -> Result<()> {
        self.units.push(unit);
        let Some(note) = &self.note else {
            return Ok(());
        };
        let write = || {
            fs::create_dir_all(note.parent().unwrap_or(Path::new("/")))?;
            fs::write(note, self.units.join("\n"))
        };
        write().context("noting which units are stopped")
    }

    /// Starts them again, the one that was stopped last first.
    pub fn start_again(&self, say: impl Fn(&str)) -> Result<()> {
        for unit in self.units.iter().rev() {
            say(&format!("starting {unit} again"));
            systemctl(&["start", "--no-block", unit])?;
        }
        self.forget()
    }

    /// From now on nothing may start them again, because the disk is about to become blank.
    pub fn forget(&self) -> Result<()> {
        match self.note.as_deref().map(fs::remove_file) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Some(Err(error)) => Err(error).context("forgetting which units were stopped"),
        }
    }

    /// How to get back to normal.
    pub fn next_step(&self) -> String {
        if self.units.is_empty() {
            return "next: try again".to_owned();
        }
        format!(
            "next: systemctl start {} to go on as before, or try again",
            self.units.join(" ")
        )
    }
}

fn look(unit: &str) -> Result<Unit> {
    let output = Command::new("systemctl")
        .args(["show", "--property=LoadState,ActiveState", unit])
        .output()
        .context("running systemctl show")?;
    if !output.status.success() {
        bail!("systemctl show {unit} ended with {}", output.status);
    }
    Ok(state(&String::from_utf8_lossy(&output.stdout)))
}

/// The state in the output of `systemctl show`. A unit whose file was removed while it ran still runs.
fn state(shown: &str) -> Unit {
    let is = |line: &str| shown.lines().any(|shown| shown == line);
    if !is("ActiveState=inactive") && !is("ActiveState=failed") {
        Unit::Runs
    } else if is("LoadState=not-found") {
        Unit::Unknown
    } else {
        Unit::Idle
    }
}

/// Runs systemctl.
pub fn systemctl(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    let status = apart(command.args(arguments))
        .stdin(Stdio::null())
        .status()
        .context("running systemctl")?;
    if !status.success() {
        bail!("systemctl {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// Puts the program into its own process group. A lost terminal sends its signal to the whole group, so it does not end this program.
pub fn apart(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unit_that_is_not_there_and_does_not_run_is_passed_over() {
        for (load, active, unit) in [
            ("not-found", "inactive", Unit::Unknown),
            ("not-found", "active", Unit::Runs),
            ("loaded", "activating", Unit::Runs),
            // A job that starts it may be waiting. Stopping the unit cancels the job.
            ("loaded", "inactive", Unit::Idle),
            ("masked", "failed", Unit::Idle),
        ] {
            let shown = format!("LoadState={load}\nActiveState={active}\n");
            assert_eq!(state(&shown), unit, "{shown}");
        }
    }

    #[test]
    fn whoever_cannot_drain_learns_what_to_start_again() {
        let stopped = Stopped {
            units: vec!["k3s-init.service", "k3s-agent.service"],
            note: None,
        };
        let next = stopped.next_step();
        assert!(
            next.contains("systemctl start k3s-init.service k3s-agent.service "),
            "{next}"
        );
        assert!(!Stopped::default().next_step().contains("start"));
    }

    #[test]
    fn whoever_ends_this_program_before_the_disk_is_blank_has_the_units_started_again() {
        let root = tempfile::tempdir().expect("a folder");
        let by_note = || Stopped::by_note(root.path()).expect("a note").units;
        assert!(by_note().is_empty(), "nothing was stopped");
        let mut stopped = Stopped::noted(root.path());
        stopped.remember("gild-seed-refresh.timer").expect("a note");
        stopped.remember("k3s-agent.service").expect("a note");
        assert_eq!(by_note(), ["gild-seed-refresh.timer", "k3s-agent.service"]);
        // If a person runs it, nothing is noted: the unit for orders would start again what the operator stopped.
        let mut by_hand = Stopped::default();
        by_hand.remember("k3s-init.service").expect("no note");
        assert_eq!(by_note().len(), 2);
        stopped.forget().expect("the note");
        assert!(by_note().is_empty(), "the disk is blank");
        stopped.forget().expect("no note");
        let unit = include_str!("../../../rootfs/usr/lib/systemd/system/gild-order.service");
        assert!(unit.contains("\nExecStopPost=-/usr/sbin/gild-reprovision --start-again\n"));
    }

    #[test]
    fn what_starts_the_agent_again_is_stopped_before_it() {
        assert_eq!(UNITS.last(), Some(&"k3s-agent.service"));
        let place = |unit| UNITS.iter().position(|one| *one == unit);
        assert!(place("k3s-init.service") < place("k3s-agent.service"));
        assert!(place("gild-seed-refresh.timer") < place("gild-seed-refresh.service"));
    }
}
