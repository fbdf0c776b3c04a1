//! `gild`, the workstation's tool: makes, checks and publishes golden images, and builds what goes on the card.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use gild::Cli;

/// Exit code of a wrong command line (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format(|out, record| writeln!(out, "gild: {}", record.args()))
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            return match printed {
                _ if error.use_stderr() => ExitCode::from(USAGE),
                Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(&gild::unsaid(error)),
                _ => ExitCode::SUCCESS,
            };
        }
    };
    match gild::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to be said when standard error is gone. The exit code stays right.
    let _ = writeln!(io::stderr(), "gild: {}", gild::message(error));
    ExitCode::from(gild::exit_code(error))
}
