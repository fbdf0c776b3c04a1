//! `gild image inspect`: checks that a finished image has no identity and no secret, and has what a node needs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_format::Manifest;
use gild_format::chunk::Decoder;
use gild_format::release::{GOLDEN, signature_of};
use gild_inspect::{Canary, Exemption, Options, Report};
use tempfile::NamedTempFile;

use super::release::{self, PUBLISH_AGAIN, Signed};
use crate::input::{must_be_file, must_exist};
use crate::output;
use crate::parallel;
use crate::progress::Progress;
use crate::published::Place;

/// The name that stands for standard output.
const STDOUT: &str = "-";

/// Arguments of `gild image inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Raw disk image, folder with golden.json, folder that holds the folders of boards, or one manifest
    #[arg(value_name = "IMAGE|DIR|MANIFEST")]
    path: PathBuf,
    /// Write the report as JSON to this file, or to standard output for `-`
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    #[command(flatten)]
    scope: Scope,
}

/// What is looked for, beside the rules.
#[derive(Debug, Default, clap::Args)]
pub struct Scope {
    /// Do not look for the name, user, home, folder, name servers and proxies of this machine
    #[arg(long)]
    not_this_host: bool,
    /// File with texts that must not be in the image, one in each line
    #[arg(long, value_name = "FILE")]
    canary_file: Option<PathBuf>,
    /// Accept the findings of a rule in these paths (`*` within a folder, `**` across folders); may be given several times
    #[arg(long = "exempt", value_name = "RULE=PATH")]
    exemptions: Vec<Exemption>,
}

impl Scope {
    fn options(&self) -> Result<Options> {
        let mut options = if self.not_this_host {
            Options::default()
        } else {
            Options::for_this_host()
        };
        options.exemptions.clone_from(&self.exemptions);
        if let Some(path) = &self.canary_file {
            options.canaries.extend(Canary::read_list(path)?);
        }
        Ok(options)
    }
}

/// Runs `gild image inspect`.
pub fn run(args: &Args) -> Result<()> {
    let options = args.scope.options()?;
    let is_manifest = args.path.extension().is_some_and(|ending| ending == "json");
    let paths = if args.path.is_dir() {
        let folders = release::folders(&args.path)?;
        folders.iter().map(|folder| folder.join(GOLDEN)).collect()
    } else {
        must_exist(
            &args.path,
            "the image",
            "give a raw disk image, or the folder that `gild image build`, `pack` or `publish` wrote",
        )?;
        vec![args.path.clone()]
    };
    ensure!(
        args.json.is_none() || paths.len() == 1,
        "--json holds one report: give the folder of one board"
    );
    let json = match args.json.as_deref() {
        Some(file) if file != Path::new(STDOUT) => {
            let read = inputs(&paths, &args.scope);
            let read: Vec<_> = read.iter().map(PathBuf::as_path).collect();
            Some(output::place(file, &read)?)
        }
        given => given.map(Path::to_owned),
    };
    let mut failed = Vec::new();
    for path in &paths {
        let report = if is_manifest || args.path.is_dir() {
            published(path, &options)
        } else {
            gild_inspect::inspect(path, &options).map_err(Into::into)
        };
        let report = report.with_context(|| format!("cannot inspect {}", path.display()))?;
        match &json {
            Some(file) => write_json(file, &report)?,
            None => println!("{}: {report}", path.display()),
        }
        if !report.passed() {
            failed.push(path.display().to_string());
        }
    }
    ensure!(
        failed.is_empty(),
        "{} must not be flashed; next: fix what made the image, and build it again",
        failed.join(", ")
    );
    Ok(())
}

/// What is read: a published image is in several files.
fn inputs(paths: &[PathBuf], scope: &Scope) -> Vec<PathBuf> {
    let mut files: Vec<_> = scope.canary_file.iter().cloned().collect();
    for path in paths {
        files.push(path.clone());
        let is_manifest = path.extension().is_some_and(|ending| ending == "json");
        if let (true, Some(name)) = (is_manifest, path.file_name().and_then(|name| name.to_str())) {
            files.push(path.with_file_name(signature_of(name)));
            let manifest = fs::read(path).ok();
            let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
            files.extend(manifest.map(|manifest| path.with_file_name(manifest.stored_file)));
        }
    }
    files.retain(|file| file.exists());
    files
}

/// Inspects a published image, and bails out unless it passes.
pub fn sealed(manifest: &Path, scope: &Scope) -> Result<Report> {
    let shown = manifest.display();
    let report = published(manifest, &scope.options()?);
    let report = report.with_context(|| format!("cannot inspect {shown}"))?;
    ensure!(
        report.passed(),
        "{shown} does not pass: it is not sealed:\n{report}"
    );
    Ok(report)
}

/// Inspects a published image, unpacked for as long as that takes.
fn published(path: &Path, options: &Options) -> Result<Report> {
    let folder = path.parent().ok_or_else(|| anyhow!("it is in no folder"))?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| anyhow!("it has no name"))?;
    let manifest = Signed::read(&Place::Folder(folder.to_owned()), name)?.check(None)?;
    let image = unpack(&manifest, &folder.join(&manifest.stored_file))?;
    let report = gild_inspect::inspect(image.path(), options)?;
    for (what, signed, found) in [
        ("image", &manifest.image_id, &report.image_id),
        ("board", &manifest.board, &report.board),
    ] {
        if found.as_ref().is_some_and(|found| found != signed) {
            bail!(
                "the manifest names another {what} than the image itself: build and pack it again"
            );
        }
    }
    Ok(report)
}

/// The raw image in a temporary file, with holes where it has them. Every chunk is checked against the manifest.
fn unpack(manifest: &Manifest, stored: &Path) -> Result<NamedTempFile> {
    must_be_file(stored, "the stored image", PUBLISH_AGAIN)?;
    let source = File::open(stored).with_context(|| format!("cannot read {}", stored.display()))?;
    let place = std::env::temp_dir();
    let context = || {
        format!(
            "cannot unpack {} bytes into {}: make room, or set TMPDIR to a folder that has it",
            manifest.raw_size,
            place.display()
        )
    };
    let target = NamedTempFile::new_in(&place).with_context(context)?;
    target
        .as_file()
        .set_len(manifest.raw_size)
        .with_context(context)?;
    let worker = || {
        let mut decoder = Decoder::new()?;
        let mut raw = Vec::new();
        let (source, target) = (&source, target.as_file());
        Ok(move |index: usize| {
            let chunk = &manifest.chunks[index];
            if chunk.hole {
                return Ok(chunk.raw_length);
            }
            let mut frame = vec![0; chunk.stored_length as usize];
            source
                .read_exact_at(&mut frame, chunk.stored_offset)
                .with_context(|| format!("cannot read {}", stored.display()))?;
            raw.resize(chunk.raw_length as usize, 0);
            decoder.decode(chunk, &frame, &mut raw)?;
            target
                .write_all_at(&raw, chunk.raw_offset)
                .with_context(context)?;
            Ok(chunk.raw_length)
        })
    };
    let mut progress = Progress::new("unpack", manifest.raw_size);
    parallel::in_order(manifest.chunks.len(), worker, |length| {
        progress.add(length.into());
        Ok(())
    })?;
    Ok(target)
}

fn write_json(path: &Path, report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    if path == Path::new(STDOUT) {
        print!("{json}");
        return Ok(());
    }
    gild_whole_file::replace(path, json.as_bytes())
        .with_context(|| format!("cannot write the report {}", path.display()))
}
