//! `gild`, the workstation's tool: makes, checks and publishes golden images, and builds what goes on the card.

use std::io::Write;
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
            // Nothing is left to be said when stderr is gone.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match gild::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild: {}", gild_faults::message(error.as_ref()));
            ExitCode::from(gild::exit_code(&error))
        }
    }
}
