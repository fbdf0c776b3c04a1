//! How much processor time programs have used.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The processor time of a running process, and of all processes below it that are still running.
pub fn of_tree(process: u32) -> Result<Duration> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // The process may have ended in the meantime.
        if let Ok(stat) = fs::read_to_string(entry.path().join("stat")) {
            all.insert(
                number,
                Line::parse(&stat)
                    .with_context(|| format!("reading the state of process {number}"))?,
            );
        }
    }
    let ticks: u64 = all
        .iter()
        .filter(|(number, _)| is_below(**number, process, &all))
        .map(|(_, line)| line.ticks)
        .sum();
    // USER_HZ, which is 100 on all machines that this runs on.
    Ok(Duration::from_millis(ticks * 10))
}

fn is_below(mut number: u32, top: u32, all: &HashMap<u32, Line>) -> bool {
    while number != top {
        match all.get(&number) {
            Some(line) if line.parent != number => number = line.parent,
            _ => return false,
        }
    }
    true
}

/// What one line of `/proc/<number>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    parent: u32,
    ticks: u64,
}

impl Line {
    /// proc(5): number, name in brackets, state, parent; user and system time are fields 14 and 15.
    fn parse(line: &str) -> Result<Self> {
        // The name may hold spaces and brackets.
        let (_, rest) = line.rsplit_once(')').context("no name in brackets")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| -> Result<u64> {
            let text = fields
                .get(field - 3)
                .with_context(|| format!("no field {field}"))?;
            text.parse()
                .with_context(|| format!("`{text}` is not a number"))
        };
        Ok(Self {
            parent: u32::try_from(number(4)?)?,
            ticks: number(14)? + number(15)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Line, of_tree};

    #[test]
    fn parent_and_times_are_read_behind_any_name() {
        let line = "42 (a) b (c) S 7 1 1 0 -1 4194560 9 9 9 9 30 12 5 5 20 0 1 0 100 0 0";
        assert_eq!(
            Line::parse(line).expect("a line"),
            Line {
                parent: 7,
                ticks: 42
            }
        );
        assert!(Line::parse("42 (a) S 7").is_err(), "no times");
    }

    #[test]
    fn the_time_of_a_program_that_works_grows() {
        let own = std::process::id();
        let before = of_tree(own).expect("/proc");
        while of_tree(own).expect("/proc") < before + Duration::from_millis(30) {}
    }

    #[test]
    fn nothing_counts_for_a_process_that_is_not_there() {
        assert_eq!(of_tree(u32::MAX).expect("/proc"), Duration::ZERO);
    }
}
