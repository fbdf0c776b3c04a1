//! `gild firmware rpi-eeprom`: the configuration in an EEPROM image.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Subcommand, value_parser};
use gild_boards::rpi_eeprom::{BootOrder, CONFIG_MAX, Image, Signature};

use super::facts::Facts;
use super::file::{self, Output};
use crate::source_date;

/// EEPROM images of the Raspberry Pi
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replace the configuration in an image, and write the .sig file beside it
    Set(SetArgs),
}

/// Replace the configuration in an image, and write the .sig file beside it
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The image, as Raspberry Pi publishes it: pieeprom-*.bin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File with the text of the new configuration
    #[arg(long, value_name = "TEXTFILE")]
    config: PathBuf,
    /// Time of the update, in seconds since 1970, for the image, where updaters under Linux look for it, and for the .sig
    /// file [default: the image keeps its time; the .sig file gets `SOURCE_DATE_EPOCH` of the environment, or now]
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..i64::from(u32::MAX)))]
    timestamp: Option<u32>,
    /// New image to write; its .sig file gets the same name with that ending
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Print JSON: one object with what was done
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn set(args: &SetArgs) -> Result<()> {
    let subject = args.file.display();
    let input = file::read(&args.file)?;
    let signature_path = signature_path(args, &input)?;
    let mut image =
        Image::parse(input).with_context(|| format!("{subject} is not a whole EEPROM image"))?;
    let config = file::read(&args.config)?;
    ensure!(
        config.len() <= CONFIG_MAX,
        "{} has {} bytes, and a configuration may have {CONFIG_MAX}: shorten it",
        args.config.display(),
        config.len()
    );
    // What no text has, in whatever encoding: the configuration may be in any.
    let is_control = |byte: &u8| byte.is_ascii_control() && !b"\t\r\n".contains(byte);
    if config.iter().any(is_control) {
        bail!(
            "{} is not a text, because it holds control characters: is it the configuration?",
            args.config.display()
        );
    }
    if BootOrder::of(&config).is_none() {
        log::warn!(
            "{} sets no BOOT_ORDER that is the same for every board",
            args.config.display()
        );
    }
    image
        .set_config(&config)
        .with_context(|| format!("cannot replace the configuration in {subject}"))?;
    if let Some(time) = args.timestamp {
        image
            .set_timestamp(time)
            .with_context(|| format!("cannot set the time in {subject}"))?;
    }
    let time = match args.timestamp {
        Some(time) => time,
        None => present_time()?,
    };
    let signature = Signature::of(image.bytes(), time);
    let inputs = [args.file.as_path(), args.config.as_path()];
    let outputs = [
        Output::stage(&args.out, image.bytes(), &inputs)?,
        Output::stage(&signature_path, signature.to_text().as_bytes(), &inputs)?,
    ];
    // Between the two the digest is wrong, and the firmware refuses the image.
    for output in outputs {
        output.put()?;
    }
    let mut facts = Facts::default();
    facts.add("image", args.out.display().to_string());
    facts.add("sha256", hex::encode(signature.sha256));
    facts.add("signature", signature_path.display().to_string());
    facts.add("update_timestamp", time);
    facts.add(
        "boot_order",
        BootOrder::of(&config).map(|order| order.to_string()),
    );
    facts.print(args.json);
    Ok(())
}

/// The firmware looks for the signature under the image's name. The input's signature is kept.
fn signature_path(args: &SetArgs, input: &[u8]) -> Result<PathBuf> {
    if args.out.extension() == Some(OsStr::new("sig")) {
        bail!(
            "{} is the name of a signature: choose another one for the image",
            args.out.display()
        );
    }
    let path = args.out.with_extension("sig");
    let existing = fs::read_to_string(&path).ok();
    let signature = existing.and_then(|text| Signature::parse(&text).ok());
    if signature.is_some_and(|signature| signature.matches(input)) {
        bail!(
            "{} is the signature of {} and would be replaced: write to another folder",
            path.display(),
            args.file.display()
        );
    }
    Ok(path)
}

fn present_time() -> Result<u32> {
    let seconds = source_date::or_now()?;
    u32::try_from(seconds)
        .with_context(|| format!("{seconds} is beyond what the firmware can hold"))
}
