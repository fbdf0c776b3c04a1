//! What systemd and the journal know of k3s' agent.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Its unit.
pub const AGENT: &str = "k3s-agent.service";
/// How many lines of its log are searched.
const LINES: &str = "60";
/// Seconds that systemd or the journal may take for an answer.
const LIMIT: &str = "60";
/// The agent begins with these words when it says why it has no configuration yet. It does not log that as an error.
const NOT_READY: &str = "server is not ready: ";

/// What systemd says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is ready. k3s says so once the cluster has let the node in.
    Active,
    /// It is starting, or will be restarted soon.
    Starting,
    /// It has failed, or somebody has stopped it. Nothing will start it.
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

/// Starts or restarts it with its present configuration. Does not wait until it is ready.
pub fn restart() -> Result<()> {
    // systemd treats many starts in a row as a fault, so its count is reset. It refuses that for a unit that is not loaded, for example a
    // stopped one, but then there is no count either.
    let _ = output("systemctl", &["reset-failed", AGENT]);
    output("systemctl", &["restart", "--no-block", AGENT]).map(drop)
}

/// Stops it, and returns when it has stopped.
pub fn stop() -> Result<()> {
    output("systemctl", &["stop", AGENT]).map(drop)
}

/// How often systemd has restarted it after it ended by itself, since it was last started by hand.
pub fn ends() -> Result<u32> {
    Ok(property("NRestarts")?.parse()?)
}

/// The last trouble in the log of its present run.
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

/// The trouble in a line of the agent's log: an error (`time="..." level=error msg="..."`), or the reason why it has no configuration.
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
