//! `gild firmware uboot-env`: variables of a U-Boot environment, in a file or in a copy of a flash.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use gild_boards::uboot_env::{Block, EnvError, Environment, FLAG_AT};
use serde_json::{Map, Value};

use super::facts::{Facts, shown};
use super::file::{self, Output};

/// Read and change the environment of a U-Boot
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the variables of an environment
    Get(GetArgs),
    /// Set and remove variables in a copy of an environment
    Set(SetArgs),
}

/// Print the variables of an environment
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// File with the environment, or a copy of the flash that it is in
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the value of this variable alone
    #[arg(value_name = "NAME")]
    name: Option<OsString>,
    #[command(flatten)]
    place: Place,
    /// Print JSON: one object with a member for each variable, or the text of the one that was named
    #[arg(long)]
    json: bool,
}

/// Set and remove variables in a copy of an environment
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// File with the environment, or a copy of the flash that it is in
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Variables with their new values; `NAME=` removes one
    #[arg(value_name = "NAME=VALUE", required = true)]
    variables: Vec<OsString>,
    /// Start with the environment that is built into this U-Boot (u-boot.bin), if FILE has no valid one
    #[arg(long, value_name = "U-BOOT")]
    defaults: Option<PathBuf>,
    /// New file to write: all of FILE with the new environment in it
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print JSON: one object with what was done
    #[arg(long)]
    json: bool,
}

/// Where in the file the environment is.
#[derive(Debug, clap::Args)]
struct Place {
    /// Where in FILE the environment begins, in bytes: decimal, or hexadecimal as in 0x3f8000
    #[arg(long, value_name = "BYTES", value_parser = number, default_value = "0")]
    offset: usize,
    /// Size of one copy in bytes, because the checksum is right for one size only [default: all to the end of FILE]
    #[arg(long, value_name = "BYTES", value_parser = number)]
    size: Option<usize>,
    /// Where in FILE the second copy begins, in bytes [default: there is one copy]
    #[arg(long, value_name = "BYTES", value_parser = number)]
    second: Option<usize>,
}

/// A number, as in U-Boot's own configuration.
fn number(text: &str) -> Result<usize, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

impl Place {
    /// The bytes of the one or two copies.
    fn copies(&self, length: usize) -> Result<Vec<Range<usize>>> {
        let size = match self.size {
            Some(size) => size,
            None => length.saturating_sub(self.offset),
        };
        let copy = |offset: usize| {
            let end = offset.checked_add(size).filter(|end| *end <= length);
            let end = end.ok_or_else(|| {
                anyhow!("the file has {length} bytes: no environment of {size} bytes can begin at {offset:#x}")
            })?;
            Ok(offset..end)
        };
        let offsets = [Some(self.offset), self.second];
        let copies: Vec<_> = offsets
            .into_iter()
            .flatten()
            .map(copy)
            .collect::<Result<_>>()?;
        if let [first, second] = &copies[..] {
            let apart = first.end <= second.start || second.end <= first.start;
            ensure!(apart, "the two copies overlap: give --size");
        }
        Ok(copies)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Block, EnvError> {
        match self.second {
            Some(_) => Block::parse_redundant(bytes),
            None => Block::parse(bytes),
        }
    }

    /// The copy that U-Boot would use, and its number.
    fn current(&self, bytes: &[u8], copies: &[Range<usize>]) -> Result<(usize, Block), EnvError> {
        let parsed: Vec<_> = copies
            .iter()
            .map(|copy| self.parse(&bytes[copy.clone()]))
            .collect();
        match &parsed[..] {
            [Ok(first), Ok(second)] if first.is_older_than(second) => Ok((1, second.clone())),
            [Err(_), Ok(second)] => Ok((1, second.clone())),
            [Ok(first), ..] => Ok((0, first.clone())),
            [Err(error), ..] => Err(error.clone()),
            [] => Err(EnvError::Short(0)),
        }
    }
}

/// Runs `get`.
pub fn get(args: &GetArgs) -> Result<()> {
    let bytes = file::read(&args.file)?;
    let copies = args.place.copies(bytes.len())?;
    let (_, block) = args
        .place
        .current(&bytes, &copies)
        .map_err(|error| unreadable(&args.file, &error, ""))?;
    match &args.name {
        None if args.json => println!("{:#}", object(&block.environment)),
        None => block
            .environment
            .iter()
            .for_each(|(name, value)| println!("{}={}", shown(name), shown(value))),
        Some(name) => {
            let value = block
                .environment
                .get(name.as_bytes())
                .map(shown)
                .with_context(|| {
                    let name = shown(name.as_bytes());
                    format!("{} has no variable {name}", args.file.display())
                })?;
            if args.json {
                println!("{:#}", Value::from(value));
            } else {
                println!("{value}");
            }
        }
    }
    Ok(())
}

/// Runs `set`.
pub fn set(args: &SetArgs) -> Result<()> {
    let mut bytes = file::read(&args.file)?;
    let copies = args.place.copies(bytes.len())?;
    let (current, mut block) = match (args.place.current(&bytes, &copies), &args.defaults) {
        (Ok(found), _) => found,
        (Err(_), Some(u_boot)) => {
            let environment = Environment::built_into(&file::read(u_boot)?).with_context(|| {
                format!(
                    "{} has no built-in environment that can be found without doubt",
                    u_boot.display()
                )
            })?;
            // The first copy is written, and is the only valid one.
            let flag = args.place.second.map(|_| 0);
            (copies.len() - 1, Block { environment, flag })
        }
        (Err(error), None) => {
            let more = ", or --defaults with the U-Boot that it is for";
            return Err(unreadable(&args.file, &error, more));
        }
    };
    for variable in &args.variables {
        let variable = variable.as_bytes();
        let equals = variable
            .iter()
            .position(|byte| *byte == b'=')
            .with_context(|| format!("`{}` is not NAME=VALUE", shown(variable)))?;
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        if value.is_empty() {
            block.environment.remove(name);
        } else {
            block.environment.set(name, value)?;
        }
    }
    if block.environment.get("bootcmd").is_none() {
        bail!(
            "an environment without bootcmd leaves the board at U-Boot's prompt, because it replaces the built-in one whole: set bootcmd too"
        );
    }
    // The older copy is replaced, so that a power cut leaves the newer one.
    let copy = copies[(current + 1) % copies.len()].clone();
    block.flag = block.flag.map(|flag| match flag {
        // In NOR flash Linux knows no counting: 1 is the copy in use and 0 the other one.
        0 | 1 => 1,
        flag => flag.wrapping_add(1),
    });
    let written = block
        .to_bytes(copy.len(), 0)
        .with_context(|| format!("cannot write the environment of {}", args.file.display()))?;
    bytes[copy.clone()].copy_from_slice(&written);
    if block.flag == Some(1) {
        bytes[copies[current].start + FLAG_AT] = 0;
    }
    let mut inputs = vec![args.file.as_path()];
    inputs.extend(args.defaults.as_deref());
    Output::stage(&args.out, &bytes, &inputs)?.put()?;
    let mut facts = Facts::default();
    facts.add("file", args.out.display().to_string());
    facts.add("offset", copy.start);
    facts.add("size", copy.len());
    facts.add_if("flag", block.flag);
    facts.add("variables", object(&block.environment));
    facts.print(args.json);
    Ok(())
}

fn unreadable(file: &Path, error: &EnvError, more: &str) -> anyhow::Error {
    anyhow!(
        "no environment can be read from {}: {error}; next: give --offset and --size as U-Boot was built with \
         (CONFIG_ENV_OFFSET, CONFIG_ENV_SIZE){more}",
        file.display()
    )
}

fn object(environment: &Environment) -> Value {
    let fields = environment
        .iter()
        .map(|(name, value)| (shown(name), shown(value).into()));
    Value::Object(fields.collect::<Map<_, _>>())
}
