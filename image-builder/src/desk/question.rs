//! What a command was not given, asked on the terminal.

use std::env;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};

/// The value of an option, or the answer to a question. Without a terminal there is nobody to ask.
pub fn given_or_asked(given: Option<&String>, option: &str, question: &str) -> Result<String> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    match asked(question)? {
        Some(answer) if !answer.is_empty() => Ok(answer),
        Some(_) => bail!("nothing was answered; next: begin again, or give {option}"),
        None => {
            bail!("{option} is missing, and there is no terminal to ask on; next: give {option}")
        }
    }
}

/// The same of a file that may be left out: then nothing is answered, or there is no terminal.
pub fn file_given_or_asked(given: Option<&PathBuf>, question: &str) -> Result<Option<PathBuf>> {
    if let Some(given) = given {
        return Ok(Some(given.clone()));
    }
    let answer = asked(question)?.filter(|answer| !answer.is_empty());
    Ok(answer.map(|answer| file(&answer)))
}

/// The file of an answer. No shell has seen the answer, so that `~` means the home folder here.
pub fn file(answer: &str) -> PathBuf {
    match (answer.strip_prefix("~/"), env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => answer.into(),
    }
}

/// What a person answers on the terminal, or nothing if there is none.
fn asked(question: &str) -> Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    eprint!("{question}: ");
    io::stderr().flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}
