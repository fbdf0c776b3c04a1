//! `gild flash`: the agent's engine, run from a workstation.

pub mod confirm;
pub mod disk;
mod report;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};
use gild_card_format::order_id;
use gild_disk::{AlignedBuffer, SystemClock, Target};
use gild_faults::{Fault, HasFault};
use gild_flash::{Job, Options, TargetState, Terms, flash, inspect};
use gild_format::record::{MAX_ORDERS, RECORD_LENGTH, RECORD_OFFSET, Record};
use gild_format::release::signature_of;
use gild_format::signature::{PublicKey, SignatureError};
use gild_format::{Manifest, manifest_sha256, release};

use crate::board;
use crate::image::{Signed, explain_signature, key_file, read_key};
use crate::published::{Place, ServerArgs};
use crate::say::say_done;

/// Arguments of `gild flash`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image's manifest, such as golden.json: a file, or one on a server (nfs://, https://, http://)
    #[arg(long, value_name = "FILE|URL")]
    manifest: String,
    #[command(flatten)]
    server: ServerArgs,
    /// The disk to write: everything on it is destroyed
    #[arg(long, value_name = "DEV")]
    target: PathBuf,
    /// Public key that the image must be signed for, as a file or as its line
    #[arg(long, value_name = "PUB")]
    key: String,
    /// Refuse an image for a board that is not this one [default: accept the images of all boards]
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    /// Note on the disk that this order to flash is carried out, so that no flasher writes the disk for it again; repeat it for up to five
    #[arg(long = "order", value_name = "ID", value_parser = order_id)]
    orders: Vec<String>,
    /// Do not ask before writing
    #[arg(long)]
    yes: bool,
    /// Accept a regular file as the target
    #[arg(long)]
    allow_file: bool,
    /// Read back all holes of the image, and not only samples of them; this takes longer
    #[arg(long)]
    read_holes: bool,
}

/// Runs `gild flash`.
pub fn run(args: &Args) -> Result<()> {
    let key = read_key(&args.key)?;
    ensure!(
        args.orders.len() <= MAX_ORDERS,
        "a disk remembers {MAX_ORDERS} orders, not {}; next: leave out the oldest",
        args.orders.len()
    );
    if let Some(name) = &args.board {
        board::named(name).map_err(|error| Refused::manifest(error.to_string()))?;
    }
    let (place, name) = Place::of_manifest(&args.manifest, &args.server)?;
    // Before any server is waited for.
    disk::look(&args.target, args.allow_file)?;
    let refusing = || format!("refusing {}", place.shown(&name));
    let bytes = signed_manifest(&place, &name, &key)?.with_context(refusing)?;
    let manifest = Manifest::parse(&bytes).with_context(refusing)?;
    check_use(&manifest, args.board.as_deref())?;
    let manifest_sha256 = manifest_sha256(&bytes);

    let disk = {
        let read = inputs(&place, &name, &manifest, &args.key);
        let read: Vec<_> = read.iter().map(PathBuf::as_path).collect();
        disk::open(&args.target, args.allow_file, manifest.sector_size, &read)?
    };
    let state = inspect(&manifest, manifest_sha256, &disk.target)?;
    let id = &manifest.image_id;
    if state == TargetState::Done {
        let noted = orders_on(&disk.target)?;
        ensure!(
            args.orders.iter().all(|id| noted.contains(id)),
            Refused::target(format!(
                "{} already carries image {id}, so nothing is written, and an order is not noted; next: make the disk empty \
                 (wipefs --all) if its data may go, or take the order off the card",
                disk.description
            ))
        );
        say_done(&format!(
            "{} already carries image {id}: nothing written",
            disk.description
        ));
        return Ok(());
    }
    if !args.yes {
        let (id, board) = (&manifest.image_id, &manifest.board);
        confirm::ask(
            &disk,
            &format!("It will carry image {id} for board {board}."),
        )?;
    }
    let orders = orders_with(&disk.target, &args.orders)?;
    let source = place.source(&manifest.stored_file, manifest.stored_size)?;
    let report = flash(&Job {
        manifest: &manifest,
        manifest_sha256,
        source: &*source,
        target: &disk.target,
        clock: &SystemClock::new(),
        observer: &report::Bars::default(),
        options: &Options {
            read_holes: args.read_holes,
            terms: Terms {
                orders,
                ..Terms::default()
            },
            ..Options::default()
        },
    })?;
    say_done(&format!(
        "{} carries image {id}, verified and committed",
        disk.description
    ));
    print!("{}", report::text(&report));
    Ok(())
}

/// The files that are read on the way. Those on a server are none that a disk of this machine holds.
fn inputs(place: &Place, name: &str, manifest: &Manifest, key: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = key_file(key).map(Path::to_owned).into_iter().collect();
    if let Place::Folder(folder) = place {
        let names = [name, &signature_of(name), &manifest.stored_file];
        files.extend(names.map(|name| folder.join(name)));
    }
    files.retain(|file| file.exists());
    files
}

/// The orders that the disk is going to remember: these, and what it remembers already. Forgetting one would have it carried out again.
fn orders_with(disk: &dyn Target, orders: &[String]) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for id in orders.iter().cloned().chain(orders_on(disk)?) {
        if !all.contains(&id) && all.len() < MAX_ORDERS {
            all.push(id);
        }
    }
    Ok(all)
}

fn orders_on(disk: &dyn Target) -> Result<Vec<String>> {
    let mut record = AlignedBuffer::new(RECORD_LENGTH);
    disk.read_at(&mut record, RECORD_OFFSET).with_context(|| {
        format!(
            "reading the orders that {} remembers; next: look at the kernel's log (dmesg) and at the disk's cable",
            disk.name()
        )
    })?;
    Ok(Record::parse(&record).map_or_else(Vec::new, |record| record.orders))
}

/// The manifest's bytes. A pair that does not fit may be in the middle of its replacement: it is read again.
fn signed_manifest(place: &Place, name: &str, key: &PublicKey) -> Result<Result<Vec<u8>>> {
    let read = || {
        let signed = Signed::read(place, name)?;
        Ok((signed.manifest, signed.signature))
    };
    let wait = |time| {
        log::info!(
            "waiting: {}; it may be in the middle of its replacement",
            SignatureError::Mismatch
        );
        thread::sleep(time);
    };
    let found = release::read_signed::<anyhow::Error>(&[key], read, wait)?;
    Ok(found.map(|(bytes, _)| bytes).map_err(explain_signature))
}

fn check_use(manifest: &Manifest, board: Option<&str>) -> Result<()> {
    if let Some(board) = board {
        ensure!(
            manifest.board == board,
            Refused::manifest(format!(
                "the image is for board {}, not {board}",
                manifest.board
            ))
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        manifest.accepts_agent(version),
        Refused::manifest(format!(
            "the image asks for gild {} or newer, this is {version}",
            manifest.min_agent_version
        ))
    );
    Ok(())
}

/// A refusal with the number a node would blink for it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    fault: Fault,
    reason: String,
}

impl HasFault for Refused {
    fn fault(&self) -> Fault {
        self.fault
    }
}

impl Refused {
    fn manifest(reason: String) -> Self {
        let fault = Fault::ManifestRefused;
        Self { fault, reason }
    }

    /// A disk that must not be written.
    pub fn target(reason: String) -> Self {
        let fault = Fault::NoTarget;
        Self { fault, reason }
    }
}
