//! Runs the stock tools the harness is built on, and reports the command when one fails.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command by name, found also in the directories that hold the partition and file system tools.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps sfdisk, mke2fs and mkfs.vfat out of an ordinary user's PATH.
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Runs a command to its end and gives its standard output; a failure carries its standard error.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    run_with_input(command, Stdio::null())
}

/// As [`run`], with this standard input.
pub fn run_with_input(command: &mut Command, input: Stdio) -> Result<Vec<u8>> {
    let words = words_of(command);
    let output = command.stdin(input).output().with_context(|| {
        format!("starting `{words}`: is it installed? `make setup` installs all tools")
    })?;
    if !output.status.success() {
        bail!(
            "`{words}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// Runs a command whose standard input is `text`.
pub fn run_with_text(command: &mut Command, text: &str) -> Result<Vec<u8>> {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    run_with_input(command, file.into())
}

/// Runs a command with its standard output in a file.
pub fn run_into(command: &mut Command, output: &Path) -> Result<()> {
    let words = words_of(command);
    let file =
        std::fs::File::create(output).with_context(|| format!("creating {}", output.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .status()
        .with_context(|| format!("starting `{words}`"))?;
    if !status.success() {
        bail!("`{words}` ended with {status}");
    }
    Ok(())
}

fn words_of(command: &Command) -> String {
    let mut words = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        words.push(' ');
        words.push_str(&arg.to_string_lossy());
    }
    words
}
