//! `gild-docs DIR`: writes `cli.md`, `man/*.1` and `completions/` into a folder, from the definition of gild's command line.

mod page;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

const NAME: &str = "gild";

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("there is no folder to write to; next: give one, as in: gild-docs target/docs")?;
    write_all(Path::new(&folder))
}

fn write_all(folder: &Path) -> Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let command = gild::Cli::command();
    let file = folder.join("cli.md");
    fs::write(&file, page::page(&command)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    clap_mangen::generate_to(command.clone(), &man)
        .with_context(|| format!("cannot write to {}", man.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), NAME, &completions)
            .with_context(|| format!("cannot write to {}", completions.display()))?;
    }
    Ok(())
}
