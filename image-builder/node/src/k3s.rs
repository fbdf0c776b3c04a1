//! What systemd and the journal know of k3s' agent.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Its unit.
pub const AGENT: &str = "k3s-agent.service";
/// Lines of its log that are looked at.
const LINES: &str = "60";

/// Whether it runs and says that it is ready, which it does once the cluster has let the node in.
pub fn is_active() -> Result<bool> {
    Ok(property("ActiveState")? == "active")
}

/// Starts it again with what its configuration says now. It is ready later, or never.
pub fn restart() -> Result<()> {
    // systemd takes many starts in a row for a fault.
    output("systemctl", &["reset-failed", AGENT])?;
    output("systemctl", &["restart", "--no-block", AGENT]).map(drop)
}

/// The last error of its present run.
pub fn last_error() -> Result<Option<String>> {
    let run = format!("_SYSTEMD_INVOCATION_ID={}", property("InvocationID")?);
    let log = output(
        "journalctl",
        &[
            "--quiet",
            "--no-pager",
            "--output=cat",
            "--lines",
            LINES,
            &run,
        ],
    )?;
    Ok(log.lines().rev().find_map(error_of))
}

fn property(name: &str) -> Result<String> {
    output("systemctl", &["show", "--value", "--property", name, AGENT])
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("running `{command}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{command}` ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// The message of a line of k3s' log, if it is an error: `time="..." level=error msg="..."`.
fn error_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("level=")?;
    let (level, rest) = rest.split_once(' ')?;
    if !["error", "fatal", "panic"].contains(&level) {
        return None;
    }
    let message = rest.strip_prefix("msg=")?;
    let Some(quoted) = message.strip_prefix('"') else {
        return Some(message.to_owned());
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
    fn an_error_of_k3s_is_found_in_its_line() {
        let line = r#"time="2026-11-27T10:00:00Z" level=error msg="Get \"https://127.0.0.1:6444/cacerts\": EOF""#;
        assert_eq!(
            error_of(line).as_deref(),
            Some(r#"Get "https://127.0.0.1:6444/cacerts": EOF"#)
        );
        assert_eq!(
            error_of("time=x level=fatal msg=failed").as_deref(),
            Some("failed")
        );
        for line in [
            "",
            "time=x level=info msg=\"Starting k3s agent\"",
            "time=x level=error msg=\"cut",
            "I1127 10:00:00 kubelet level of nothing",
        ] {
            assert_eq!(error_of(line), None, "{line}");
        }
    }
}
