//! `make bench`: the flash engine beside the manual methods, with the same NFS server, image and target.
//!
//! Everything is real: nfs-ganesha, the stock tools, the kernel's loop device or a file. A board's network, NVMe and slower cores are
//! missing, so the ratios are true only for this kind of machine. `--model` has the network and the disk of a board. `--beside` compares
//! only with another build of gild.

mod image;
mod measure;
mod method;
mod model;
mod stages;
mod table;
mod target;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use gild_tests::ganesha::Ganesha;

use crate::method::Method;

/// Rounds are interleaved, so that other load on the machine affects all methods equally.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => bench(ROUNDS, None),
        ["measure", usage, program, ref rest @ ..] => measure::child(usage.as_ref(), program, rest),
        [model::INSIDE, plan] => model::inside(plan),
        [model::BOARD, task] => model::flash(task),
        ["--model", board, "--images", folder, ref times @ ..] if times.len() <= 2 => {
            on_model(board, Some(folder.as_ref()), times)
        }
        ["--model", board, ref times @ ..] if times.len() <= 2 => on_model(board, None, times),
        ["--beside", other] => bench(ROUNDS, Some(other.as_ref())),
        ["--beside", other, rounds] => bench(rounds.parse()?, Some(other.as_ref())),
        [rounds] => bench(rounds.parse()?, None),
        _ => bail!(
            "usage: gild-bench [--beside GILD] [ROUNDS], or gild-bench --model BOARD [--images FOLDER] [ROUNDS [STRETCH]]"
        ),
    }
}

/// `times` has the number of rounds and the factor by which time is stretched.
fn on_model(board: &str, images: Option<&Path>, times: &[&str]) -> Result<()> {
    let rounds = times.first().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let stretch = times.get(1).map(|stretch| stretch.parse()).transpose()?;
    model::bench(board, images, rounds, stretch)
}

fn bench(rounds: usize, other: Option<&Path>) -> Result<()> {
    let image = image::published()?;
    let target = target::Target::new(image.manifest.raw_size)?;
    let server = Ganesha::start(&image.share)?;
    table::machine(&image, &target)?;

    let methods: &[Method] = match other {
        Some(_) => &Method::BUILDS,
        None => &Method::ALL,
    };
    let mut runs: Vec<Vec<measure::Run>> = methods.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..methods.len() {
            // In each round another method is first.
            let index = (round + turn) % methods.len();
            target.reset()?;
            let run = methods[index].run(&image, &server, &target, other)?;
            eprintln!(
                "round {}: {}: {:.2} s",
                round + 1,
                methods[index].name(),
                run.wall.as_secs_f64()
            );
            runs[index].push(run);
        }
    }
    table::methods(&image, methods, &runs);
    if other.is_some() {
        return Ok(());
    }
    table::stages(&stages::alone(&image, &server, &target, rounds.min(3))?);
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    times.map(|time| time.as_secs_f64()).collect()
}
