//! What `gild-docs` writes: the page, the manual pages and the completions of the command line that gild has now.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command as Process;

use clap::{Command, CommandFactory};
use tempfile::TempDir;

/// A folder with all that `gild-docs` writes.
fn written() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let status = Process::new(env!("CARGO_BIN_EXE_gild-docs"))
        .arg(folder.path())
        .status();
    assert!(status.expect("gild-docs starts").success());
    folder
}

/// Calls `visit` for a command and all commands in it, with the words of its name.
fn each(command: &Command, words: &[&str], visit: &mut impl FnMut(&Command, &[&str])) {
    let words = [words, &[command.get_name()]].concat();
    visit(command, &words);
    for command in command.get_subcommands() {
        each(command, &words, visit);
    }
}

/// What bash offers for the last of these words.
fn completed(folder: &Path, words: &[&str]) -> Vec<String> {
    const SCRIPT: &str = r#"
        set -e
        . "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _gild "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Process::new("bash")
        .args(["-c", SCRIPT, "bash"])
        .arg(folder.join("completions/gild.bash"))
        .args(words)
        .output()
        .expect("bash starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_page_has_the_help_of_this_gild() {
    let new = fs::read_to_string(written().path().join("cli.md")).expect("the new page");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("GILD_WRITE_DOCS").is_some() {
        fs::write(&page, new).expect("the page");
        return;
    }
    let found = fs::read_to_string(&page).expect("the page");
    let differs = found.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(
        found == new,
        "{} is not the help of this gild, first in {differs:?}; next: GILD_WRITE_DOCS=1 cargo test -p gild-docs, or make docs",
        page.display()
    );
}

#[test]
fn every_command_and_option_has_a_help_that_ends_without_a_full_stop() {
    let mut options = 0;
    each(&gild::Cli::command(), &[], &mut |command, words| {
        assert!(command.get_about().is_some(), "{words:?} has no help");
        for option in command.get_arguments() {
            let help = option.get_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let name = option.get_id();
            assert!(!help.is_empty(), "{words:?} {name} has no help");
            assert!(!help.ends_with('.'), "{words:?} {name}: {help}");
            options += 1;
        }
    });
    assert!(options > 60, "{options} options were looked at");
}

#[test]
fn every_command_has_a_manual_page_and_a_section_of_the_page() {
    let folder = written();
    let page = fs::read_to_string(folder.path().join("cli.md")).expect("the page");
    let mut wanted = BTreeSet::new();
    each(&gild::Cli::command(), &[], &mut |command, words| {
        let file = format!("{}.1", words.join("-"));
        let manual = fs::read_to_string(folder.path().join("man").join(&file));
        let manual = manual.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(manual.contains(".SH NAME"), "{file}");
        let about = command.get_about().expect("a help").to_string();
        assert!(page.contains(&about), "{words:?}");
        let section = format!("\n## `{}`\n", words.join(" "));
        assert_eq!(page.matches(&section).count(), 1, "{section}");
        wanted.insert(file);
    });
    let found = fs::read_dir(folder.path().join("man")).expect("the folder");
    let found: BTreeSet<_> = found
        .map(|entry| entry.expect("a page").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("a name");
    assert_eq!(found, wanted);
}

#[test]
fn bash_accepts_its_completions_and_offers_commands_options_and_boards() {
    let folder = written();
    let file = folder.path().join("completions/gild.bash");
    let status = Process::new("bash").arg("-n").arg(file).status();
    assert!(status.expect("bash starts").success());
    assert_eq!(completed(folder.path(), &["gild", "im"]), ["image"]);
    let offered = completed(folder.path(), &["gild", "flash", "--read"]);
    assert_eq!(offered, ["--read-holes"]);
    let boards = completed(folder.path(), &["gild", "image", "pack", "--board", "r"]);
    assert_eq!(boards, ["rpi5", "rock5b"]);
}

#[test]
fn zsh_and_fish_have_completions_with_every_command() {
    let folder = written();
    for name in ["_gild", "gild.fish"] {
        let file = folder.path().join("completions").join(name);
        let text = fs::read_to_string(file).expect("the completions");
        each(&gild::Cli::command(), &[], &mut |command, words| {
            assert!(text.contains(command.get_name()), "{name} has no {words:?}");
        });
    }
}

#[test]
fn without_a_folder_it_says_what_to_give() {
    let output = Process::new(env!("CARGO_BIN_EXE_gild-docs"))
        .output()
        .expect("gild-docs starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("; next: give one"), "{said}");
}
