//! What systemd and the journal know of k3s' agent.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Its unit.
pub const AGENT: &str = "k3s-agent.service";
/// Lines of its log that are looked at.
const LINES: &str = "60";
/// Seconds that systemd or the journal may take for an answer.
const LIMIT: &str = "60";
/// How k3s' agent begins to say why it has no configuration yet, which it does not call an error.
const NOT_READY: &str = "server is not ready: ";

/// What systemd says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It says that it is ready, which it does once the cluster has let the node in.
    Active,
    /// It is on its way, or waits to be started again.
    Starting,
    /// Nothing starts it: it has failed, or somebody has stopped it.
    Stopped,
}

/// Its state.
pub fn state() -> Result<State> {
    Ok(match &*property("ActiveState")? {
        "active" => State::Active,
        "inactive" | "failed" => State::Stopped,
        _ => State::Starting,
    })
}

/// Starts it, or starts it again with what its configuration says now. It is ready later, or never.
pub fn restart() -> Result<()> {
    // systemd takes many starts in a row for a fault. It refuses to forget those of a unit that it has not loaded, as one that was
    // stopped: there are none.
    let _ = output("systemctl", &["reset-failed", AGENT]);
    output("systemctl", &["restart", "--no-block", AGENT]).map(drop)
}

/// Stops it. It is stopped when this returns.
pub fn stop() -> Result<()> {
    output("systemctl", &["stop", AGENT]).map(drop)
}

/// How often it has ended by itself, and was started again, since somebody last started it.
pub fn ends() -> Result<u32> {
    Ok(property("NRestarts")?.parse()?)
}

/// The last trouble of its present run, by its log.
pub fn last_trouble() -> Result<Option<String>> {
    let run = format!("_SYSTEMD_INVOCATION_ID={}", property("InvocationID")?);
    let log = output(
        "journalctl",
        &[
            "--quiet",
            "--no-pager",
            "--output=cat",
            "--since=-2min",
            "--lines",
            LINES,
            &run,
        ],
    )?;
    Ok(log.lines().rev().find_map(trouble_of))
}

fn property(name: &str) -> Result<String> {
    output("systemctl", &["show", "--value", "--property", name, AGENT])
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new("timeout")
        .args([LIMIT, program])
        .args(arguments)
        .output();
    let output = output.with_context(|| format!("running `{command}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{command}` ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// What a line of k3s' log complains of: `time="..." level=error msg="..."`, or what keeps the agent from its configuration.
fn trouble_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("level=")?;
    let (level, rest) = rest.split_once(' ')?;
    let message = unquoted(rest.strip_prefix("msg=")?)?;
    if ["error", "fatal", "panic"].contains(&level) {
        return Some(message);
    }
    let (_, reason) = message.split_once(NOT_READY)?;
    Some(reason.to_owned())
}

fn unquoted(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_k3s_complains_of_is_found_in_its_line() {
        let line = r#"time="2026-11-27T10:00:00Z" level=error msg="Get \"https://127.0.0.1:6444/cacerts\": EOF""#;
        assert_eq!(
            trouble_of(line).as_deref(),
            Some(r#"Get "https://127.0.0.1:6444/cacerts": EOF"#)
        );
        assert_eq!(
            trouble_of("time=x level=fatal msg=failed").as_deref(),
            Some("failed")
        );
        let waits = r#"level=info msg="Waiting to retrieve agent configuration; server is not ready: Node password rejected""#;
        assert_eq!(trouble_of(waits).as_deref(), Some("Node password rejected"));
        for line in [
            "",
            "time=x level=info msg=\"Starting k3s agent\"",
            "time=x level=error msg=\"cut",
            "I1127 10:00:00 kubelet level of nothing",
        ] {
            assert_eq!(trouble_of(line), None, "{line}");
        }
    }
}
