//! The fuzz targets, without cargo-fuzz and with this compiler. Each runs over its corpus and over damaged copies of it, which are the same
//! in each run. That finds what a careless change breaks; `make fuzz` looks for what nobody has thought of.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use gild_fuzz::targets::{ALL, Target};
use gild_tests::workspace;

/// Damaged copies for each target.
const COPIES: usize = 2000;

fn folder(name: &str) -> PathBuf {
    workspace::root().join("fuzz").join(name)
}

fn corpus(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder("corpus").join(target);
    let files = fs::read_dir(&folder).with_context(|| {
        format!(
            "{} is not there; next: `fuzz/examples/corpus.rs` makes it",
            folder.display()
        )
    })?;
    let mut paths: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}

/// Flips bits, sets bytes, cuts out or doubles parts, and cuts off the end.
fn damage(input: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        if input.is_empty() {
            return;
        }
        let start = random.usize(..input.len());
        let end = (start + random.usize(1..16)).min(input.len());
        match random.u8(..6) {
            0 => input[start] ^= 1 << random.u8(..8),
            1 => input[start..end].fill(*random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap_or(&0)),
            2 => input[start] = random.u8(..),
            3 => drop(input.drain(start..end)),
            4 => {
                let part = input[start..end].to_vec();
                input.splice(start..start, part);
            }
            _ => input.truncate(start),
        }
    }
}

/// The message of the target's panic, if it panics.
fn failure((name, check): Target, input: &[u8]) -> Option<String> {
    catch_unwind(|| check(input)).err().map(|_| {
        let hex = hex::encode(input);
        format!("{name} fails, as the lines above say, with the bytes {hex}")
    })
}

fn failures(target: Target) -> Result<Vec<String>> {
    let inputs = corpus(target.0)?;
    ensure!(!inputs.is_empty(), "the corpus of {} is empty", target.0);
    let mut random = Rng::with_seed(target.0.len() as u64);
    let copies = (0..COPIES).map(|number| {
        let mut input = inputs[number % inputs.len()].clone();
        damage(&mut input, &mut random);
        input
    });
    let copies: Vec<_> = copies.collect();
    let all = inputs
        .iter()
        .chain(&copies)
        .map(Vec::as_slice)
        .chain([&[][..]]);
    Ok(all
        .filter_map(|input| failure(target, input))
        .take(1)
        .collect())
}

#[test]
fn no_fuzz_target_fails_on_its_corpus_or_a_damaged_copy_of_it() -> Result<()> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let failures = failures(*target);
                    found.lock().expect("no panic").push(failures);
                }
            });
        }
    });
    let found = found.into_inner().expect("no panic");
    let found: Vec<Vec<String>> = found.into_iter().collect::<Result<_>>()?;
    assert!(found.concat().is_empty(), "{}", found.concat().join("\n\n"));
    Ok(())
}

#[test]
fn each_fuzz_target_has_a_program_of_cargo_fuzz() -> Result<()> {
    let mut programs = Vec::new();
    for file in fs::read_dir(folder("fuzz_targets"))? {
        let path = file?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy();
        let calls = format!("use gild_fuzz::targets::{name}::check_input;");
        assert!(
            fs::read_to_string(&path)?.contains(&calls),
            "{} should have: {calls}",
            path.display()
        );
        programs.push(name.into_owned());
    }
    programs.sort();
    assert_eq!(programs, ALL.map(|(name, _)| name));
    Ok(())
}
