//! The engine on a model of a board. The network stack is behind a link that the kernel limits to the board's rate. The disk is in memory,
//! and sleeps for as long as its rates require. Servers, network stacks, the agent's readers, decoding and hashing are real, on this
//! machine's cores.
//!
//! This machine may have fewer cores than the board, and the server and others use them. So the time of the link and the disk can be
//! stretched until cores do not matter. The printed times are divided by the same factor.
//!
//! Not modelled: a disk's cache, whose writes are fast until it is full, and the board's cores.

mod board;
mod disk;
mod far;
mod flash;
mod lane;
mod table;

pub use flash::run as flash;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_format::manifest::Manifest;
use gild_tests::ganesha::{Export, Ganesha};
use gild_tests::nginx::Nginx;
use gild_tests::rack;
use serde::{Deserialize, Serialize};

use crate::image;
use board::Model;
use flash::{Run, Task};

/// The first word of the process in the namespace, and that of the board in it.
pub const INSIDE: &str = "inside";
pub const BOARD: &str = "board";

/// What the process in the namespace does.
#[derive(Deserialize, Serialize)]
struct Plan {
    model: Model,
    /// The folder of a share with published images.
    folder: PathBuf,
    /// The board that the image is for.
    board: String,
    rounds: usize,
}

impl Plan {
    fn manifest(&self) -> PathBuf {
        self.folder.join(&self.board).join("golden.json")
    }
}

/// Flashes this often onto each disk of this board from each server, in turn. It uses the bench's image, or the board's current one in a
/// folder of published images.
pub fn bench(name: &str, images: Option<&Path>, rounds: usize, stretch: Option<u32>) -> Result<()> {
    let model = Model::of(name, stretch)?;
    let (folder, board) = if let Some(folder) = images {
        let folder = folder.canonicalize();
        (folder.context("looking for the images")?, name.to_owned())
    } else {
        let image = image::published()?;
        (image.share, image.manifest.board)
    };
    let plan = Plan {
        model,
        folder,
        board,
        rounds,
    };
    rack::enter(&[INSIDE.to_owned(), serde_json::to_string(&plan)?])
}

/// Runs in a separate network, which ends with this process.
pub fn inside(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan)?;
    let model = &plan.model;
    rack::build(1, model.shaped())?;
    let nginx = Nginx::serve_on(rack::SERVER, &plan.folder)?;
    let export = Export {
        address: rack::SERVER.parse()?,
        ..Export::default()
    };
    let ganesha = Ganesha::start_as(&plan.folder, export)?;
    let servers = [("NFS", ganesha.url()), ("HTTP", nginx.url())];
    let disks = model.disks();
    let manifest = Manifest::parse(&std::fs::read(plan.manifest())?)?;
    table::machine(model, &manifest.image_id, plan.rounds)?;
    let mut runs = [const { [const { Vec::<Run>::new() }; 2] }; 2];
    for round in 0..plan.rounds {
        for ((server, url), runs) in servers.iter().zip(&mut runs) {
            for (disk, runs) in disks.iter().zip(runs) {
                let run = one(&plan, url, disk)?;
                let wall = (run.wall / model.stretch).as_secs_f64();
                eprintln!("round {}: {server}: {wall:.2} s", round + 1);
                runs.push(run);
            }
        }
    }
    table::head();
    for ((server, _), runs) in servers.iter().zip(&runs) {
        for (disk, runs) in disks.iter().zip(runs) {
            table::row(server, disk, runs)?;
        }
    }
    Ok(())
}

fn one(plan: &Plan, share: &str, disk: &Model) -> Result<Run> {
    let (path, ports) = share.split_once('?').unwrap_or((share, ""));
    let ports = if ports.is_empty() {
        String::new()
    } else {
        format!("?{ports}")
    };
    let task = Task {
        model: disk.clone(),
        url: format!("{}/{}{ports}", path.trim_end_matches('/'), plan.board),
        manifest: plan.manifest(),
    };
    let output = rack::node(0)?
        .args([BOARD, &serde_json::to_string(&task)?])
        .output()
        .context("starting the board")?;
    ensure!(
        output.status.success(),
        "the board ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}
