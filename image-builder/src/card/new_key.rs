//! `gild card new-key`: another `status_key` for a desk and its cards, because a card is lost.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_desk::folder::Folder;

use crate::input::{must_be_file, text_of};
use crate::key;

/// The key in the cards' configuration.
const STATUS_KEY: &str = "status_key";

/// Arguments of `gild card new-key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the desk, as `gild init` made it
    #[arg(value_name = "DIR")]
    desk: PathBuf,
}

/// Runs `gild card new-key`.
pub fn run(args: &Args) -> Result<()> {
    let folder = Folder::open(&args.desk)?;
    let of_cards = folder.card_configuration();
    must_be_file(
        &of_cards,
        "the cards' configuration",
        "write it again (docs/desk.md), with a line `status_key = \"\"`",
    )?;
    let text = text_of(&of_cards, "the cards' configuration")?;
    let key = key::random()?;
    let changed =
        with_key(&text, &key).with_context(|| format!("cannot change {}", of_cards.display()))?;
    // If this ends between the two files, the desk still takes the reports of the cards that are in use, and the next try gives both a
    // third key.
    replace(&of_cards, &folder, &changed)?;
    replace(&folder.report_key(), &folder, &format!("{key}\n"))?;
    let shown = args.desk.display();
    log::info!(
        "{shown} and its cards have another key; next: start `gild serve {shown}` again, because it reads the key only when it starts, and give each card the new key: \
         `gild card build` and `gild card write`, or the new line in its gild.toml. Until a card has it, the desk takes no report of its board"
    );
    Ok(())
}

/// The configuration with another key. All other lines stay as they are.
fn with_key(text: &str, key: &str) -> Result<String> {
    let mut changed = String::new();
    let mut keys = 0;
    for line in text.split_inclusive('\n') {
        let rest = line.trim_start().strip_prefix(STATUS_KEY);
        if rest.is_some_and(|rest| rest.trim_start().starts_with('=')) {
            keys += 1;
            changed += STATUS_KEY;
            changed += " = \"";
            changed += key;
            changed += "\"\n";
        } else {
            changed += line;
        }
    }
    ensure!(
        keys == 1,
        "it should have one line `{STATUS_KEY} = \"...\"`; next: correct that, and run this again"
    );
    Ok(changed)
}

/// Replaces a file that only its owner may read. It belongs to the owner of the folder, so that root may do this for the user of the desk.
fn replace(path: &Path, folder: &Folder, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let owner = fs::metadata(folder.path())?;
        gild_whole_file::replace_secret_with(path, |file| {
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
                fchown(&*file, Some(owner.uid()), Some(owner.gid()))?;
            }
            file.write_all(text.as_bytes())
        })
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "11223344556677889900aabbccddeeff11223344556677889900aabbccddeeff";
    const NEW: &str = "22223344556677889900aabbccddeeff11223344556677889900aabbccddeeff";

    fn configuration(line: &str) -> String {
        format!(
            "# {STATUS_KEY} = \"{OLD}\" is the cards' key\nserver = \"nfs://192.168.1.10/images\"\nstatus_url = \"http://192.168.1.10/report\"\n{line}\n# The end\n"
        )
    }

    #[test]
    fn only_the_line_of_the_key_changes() {
        for line in [
            format!("status_key = \"{OLD}\""),
            format!("status_key=\"{OLD}\" # ours"),
            format!("  status_key  = '{OLD}'"),
        ] {
            let changed = with_key(&configuration(&line), NEW).expect("a configuration");
            assert_eq!(changed, configuration(&format!("status_key = \"{NEW}\"")));
        }
    }

    #[test]
    fn a_configuration_without_the_key_is_refused_and_no_key_is_shown() {
        let twice = format!("status_key = \"{OLD}\"\nstatus_key = \"{OLD}\"");
        for line in ["", "status_keys = \"x\"", &twice] {
            let error = with_key(&configuration(line), NEW).expect_err("no such line");
            let text = format!("{error:#}");
            assert!(!text.contains(NEW), "{text}");
        }
    }
}
