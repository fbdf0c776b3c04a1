//! docs/cli.md: the help of every command, as `--help` prints it.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::Command;
use clap::error::ErrorKind;

const HEAD: &str = "\
# The command line of gild

This page is the help that each command prints for `--help`. `make docs` writes it, and a test fails when it is out of date.
[Golden images](golden-image.md), [the card](card.md) and [firmware](firmware.md) say when to use which command.
";

/// The page.
pub fn page(root: &Command) -> Result<String> {
    let mut page = HEAD.to_owned();
    add(&mut page, root, root, &[])?;
    Ok(page)
}

/// Adds the section of a command, whose name follows these words, and the sections of its commands.
fn add(page: &mut String, root: &Command, command: &Command, words: &[&str]) -> Result<()> {
    let words = [words, &[command.get_name()]].concat();
    write!(page, "\n## `{}`\n\n```text\n", words.join(" "))?;
    for line in help(root, &words)?.trim_end().lines() {
        writeln!(page, "{}", line.trim_end())?;
    }
    page.push_str("```\n");
    for command in command.get_subcommands() {
        add(page, root, command, &words)?;
    }
    Ok(())
}

/// What a command prints for `--help`. clap is asked as on the command line, because it chooses between a short form and a
/// long one.
fn help(root: &Command, words: &[&str]) -> Result<String> {
    let line = words.iter().chain(&["--help"]);
    match root.clone().try_get_matches_from(line) {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(error.to_string()),
        answer => bail!(
            "`{}` prints no help for --help: {answer:?}",
            words.join(" ")
        ),
    }
}
