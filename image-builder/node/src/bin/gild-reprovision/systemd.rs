//! The units that are stopped before a drain, and the restart.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What would start the agent again or restart the node, before the agent itself, which stops nothing but itself:
/// `KillMode=process`. A timer comes before its service.
const UNITS: [&str; 4] = [
    "k3s-init.service",
    "gild-seed-refresh.timer",
    "gild-seed-refresh.service",
    "k3s-agent.service",
];

/// What systemd knows of a unit.
#[derive(Debug, PartialEq, Eq)]
enum Unit {
    /// Nothing: an image without k3s has no agent.
    Unknown,
    /// It does not run, and may be about to.
    Idle,
    Runs,
}

/// The units that ran until they were stopped.
#[derive(Debug, Default)]
pub struct Stopped(Vec<&'static str>);

impl Stopped {
    /// Stops them all, and remembers each before it does.
    pub fn stop(&mut self, say: impl Fn(&str)) -> Result<()> {
        for unit in UNITS {
            match look(unit)? {
                Unit::Unknown => continue,
                Unit::Idle => {}
                Unit::Runs => self.0.push(unit),
            }
            say(&format!("stopping {unit}"));
            systemctl(&["stop", unit])?;
        }
        Ok(())
    }

    /// Starts them all again, the last that was stopped first.
    pub fn start_again(&self, say: impl Fn(&str)) -> Result<()> {
        for unit in self.0.iter().rev() {
            say(&format!("starting {unit} again"));
            systemctl(&["start", "--no-block", unit])?;
        }
        Ok(())
    }

    /// How to go on as before.
    pub fn next_step(&self) -> String {
        if self.0.is_empty() {
            return "next: try again".to_owned();
        }
        format!(
            "next: systemctl start {} to go on as before, or try again",
            self.0.join(" ")
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

/// As `systemctl show` says it. A unit whose file was removed while it ran still runs.
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

/// A program that a lost terminal does not end: its signal goes to a group of processes.
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
            // A job to start it may be waiting: stopping takes that away.
            ("loaded", "inactive", Unit::Idle),
            ("masked", "failed", Unit::Idle),
        ] {
            let shown = format!("LoadState={load}\nActiveState={active}\n");
            assert_eq!(state(&shown), unit, "{shown}");
        }
    }

    #[test]
    fn whoever_cannot_drain_learns_what_to_start_again() {
        let stopped = Stopped(vec!["k3s-init.service", "k3s-agent.service"]);
        let next = stopped.next_step();
        assert!(
            next.contains("systemctl start k3s-init.service k3s-agent.service "),
            "{next}"
        );
        assert!(!Stopped::default().next_step().contains("start"));
    }

    #[test]
    fn what_starts_the_agent_again_is_stopped_before_it() {
        assert_eq!(UNITS.last(), Some(&"k3s-agent.service"));
        let place = |unit| UNITS.iter().position(|one| *one == unit);
        assert!(place("k3s-init.service") < place("k3s-agent.service"));
        assert!(place("gild-seed-refresh.timer") < place("gild-seed-refresh.service"));
    }
}
