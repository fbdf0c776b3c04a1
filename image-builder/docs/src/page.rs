//! docs/cli.md: the help of every command, as `--help` prints it.

use std::fmt::Write;

use clap::Command;

const HEAD: &str = "\
# The command line of gild

This page is the help that each command prints for `--help`. `make docs` writes it, and a test fails when it is out of date.
[Golden images](golden-image.md), [the card](card.md) and [firmware](firmware.md) say when to use which command.
";

/// The page.
pub fn page(mut root: Command) -> String {
    root.build();
    let mut page = HEAD.to_owned();
    add(&mut page, &root);
    page
}

/// Adds the section of a command and those of its own commands.
fn add(page: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let help = command.clone().render_long_help().to_string();
    write!(page, "\n## `{name}`\n\n```text\n").expect("a String takes all");
    for line in help.trim_end().lines() {
        writeln!(page, "{}", line.trim_end()).expect("a String takes all");
    }
    page.push_str("```\n");
    for command in commands(command) {
        add(page, command);
    }
}

/// The commands in a command, without clap's own `help`.
fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    let commands = command.get_subcommands();
    commands.filter(|command| command.get_name() != "help")
}
