//! What a command was not given, asked on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Result, bail};

/// The value of an option, or the answer to a question. Without a terminal there is nobody to ask.
pub fn given_or_asked(given: Option<&String>, option: &str, question: &str) -> Result<String> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!("{option} is missing, and there is no terminal to ask on; next: give {option}");
    }
    eprint!("{question}: ");
    io::stderr().flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let answer = line.trim();
    if answer.is_empty() {
        bail!("nothing was answered; next: begin again, or give {option}");
    }
    Ok(answer.to_owned())
}
