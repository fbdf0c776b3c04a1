//! `gild card build`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use gild_card::config::{self, ConfigError};
use gild_card::firmware::{self, Firmware, FirmwareError, Rpi5};
use gild_card::{Contents, inspect};
use gild_card_format::{Arguments, Config};

use super::settings;
use crate::image::{key_file, read_key};
use crate::input::{must_be_file, text_in};
use crate::output;
use crate::own_files;

/// Arguments of `gild card build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration for the card: docs/configuration.md has the keys
    #[arg(long, value_name = "gild.toml")]
    config: PathBuf,
    /// Card image to write
    #[arg(long, value_name = "card.img")]
    out: PathBuf,
    /// Folder of the kernel: `version`, `vmlinuz`, `modules/` and `dtb/` [default: gild's own]
    #[arg(long, value_name = "DIR")]
    kernel: Option<PathBuf>,
    /// The agent: a static aarch64 program [default: gild's own]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Public key of the golden images, as a file or as its line, if the configuration has none
    #[arg(long, value_name = "PUB")]
    public_key: Option<String>,
    /// The vendor's EEPROM image for the Raspberry Pi 5, pieeprom-*.bin; give it with `--rpi-recovery`
    #[arg(long, value_name = "FILE", requires = "rpi_recovery")]
    rpi_eeprom: Option<PathBuf>,
    /// The vendor's recovery.bin for the Raspberry Pi 5; give it with `--rpi-eeprom`
    #[arg(long, value_name = "FILE", requires = "rpi_eeprom")]
    rpi_recovery: Option<PathBuf>,
    /// U-Boot for the Rock 5B's boot flash, u-boot-rockchip-spi.bin
    #[arg(long, value_name = "FILE")]
    rock5b_spi: Option<PathBuf>,
    /// U-Boot for a Rock 5B that starts from this card, u-boot-rockchip.bin
    #[arg(long, value_name = "FILE")]
    rock5b_u_boot: Option<PathBuf>,
}

/// Runs `gild card build`.
pub fn run(args: &Args) -> Result<()> {
    let config = configuration(args)?;
    let kernel = own_files::kernel(args.kernel.as_deref())?;
    let agent = own_files::AGENT.or(args.agent.as_deref())?;
    let firmware = firmware(args)?;
    let out = output::place(&args.out, &inputs(args, &kernel, &agent))?;
    let card = gild_card::build(&Contents {
        config: &config,
        kernel: &kernel,
        agent: &agent,
        firmware: &firmware,
        extra_modules: &[],
    })?;
    card.write(&out)?;
    print!("{}", card.initramfs);
    println!("card               {}", args.out.display());
    for (is_missing, consequence) in [
        (firmware.rpi5.is_none(), inspect::NO_EEPROM),
        (firmware.rock5b_spi.is_none(), inspect::NO_SPI),
        (firmware.rock5b_u_boot.is_none(), inspect::NO_U_BOOT),
    ] {
        if is_missing {
            log::warn!("{consequence}");
        }
    }
    for doubt in firmware.rpi5.iter().flat_map(Rpi5::doubts) {
        log::warn!("Raspberry Pi 5: {doubt}");
    }
    if firmware.has_untried_loader() {
        log::warn!(
            "Rock 5B: --rock5b-spi and --rock5b-u-boot begin with different programs, so the programs for the boot flash have started no board before they are written; if they hang, the board needs recovery by USB. Take both files from one build"
        );
    }
    for doubt in firmware.u_boot_doubts() {
        log::warn!("Rock 5B: {doubt}");
    }
    Ok(())
}

/// What is read, and so is never overwritten.
fn inputs<'a>(args: &'a Args, kernel: &'a Path, agent: &'a Path) -> Vec<&'a Path> {
    let key = args.public_key.as_deref().and_then(key_file);
    let given = [
        &args.rpi_eeprom,
        &args.rpi_recovery,
        &args.rock5b_spi,
        &args.rock5b_u_boot,
    ];
    let given = given.into_iter().filter_map(Option::as_deref);
    [&args.config, kernel, agent]
        .into_iter()
        .chain(key)
        .chain(given)
        .collect()
}

fn configuration(args: &Args) -> Result<String> {
    let shown = args.config.display();
    must_be_file(
        &args.config,
        "the configuration",
        "give a gild.toml; docs/configuration.md has an example",
    )?;
    let bytes = fs::read(&args.config).with_context(|| format!("cannot read {shown}"))?;
    let text = text_in(bytes, &args.config, "the configuration")?;
    let given = args.public_key.as_deref();
    // Its own words only: the exit code of a refused manifest would be wrong here.
    let key = given.map(|key| read_key(key).map_err(|error| anyhow!("{error}")));
    let text = config::prepare(&text, key.transpose()?.as_ref()).map_err(|error| match (error, given) {
        (ConfigError::TwoKeys, Some(given)) => anyhow!(
            "`public_key` in {shown} is another key than {given} (--public-key, PUBLIC_KEY= of `make card`); next: leave one of them out"
        ),
        (ConfigError::Agent(gild_card_format::ConfigError::Missing { key: "public_key", .. }), None) => anyhow!(
            "no `public_key` is configured; next: give --public-key (PUBLIC_KEY= of `make card`) the .pub file of `gild key new`, or write its second line into {shown}"
        )
        .context(format!("{shown} does not go on a card")),
        (error, _) => anyhow::Error::new(error).context(format!("{shown} does not go on a card")),
    })?;
    Config::parse(Some(&text), &Arguments::default())
        .map_err(anyhow::Error::from)
        .and_then(|config| settings::check(&config))
        .with_context(|| format!("{shown} does not go on a card"))?
        .iter()
        .for_each(|doubt| log::warn!("{doubt}"));
    Ok(text)
}

fn firmware(args: &Args) -> Result<Firmware> {
    let rpi5 = match (&args.rpi_eeprom, &args.rpi_recovery) {
        (Some(eeprom), Some(recovery)) => {
            let (upd, sig) = checked("--rpi-eeprom", eeprom, firmware::eeprom)?;
            let recovery = checked("--rpi-recovery", recovery, firmware::recovery)?;
            Some(Rpi5 { upd, sig, recovery })
        }
        (None, None) => None,
        _ => bail!("--rpi-eeprom and --rpi-recovery go together"),
    };
    let optional =
        |option, path: &Option<PathBuf>, check: fn(Vec<u8>) -> Result<Vec<u8>, FirmwareError>| {
            path.as_deref()
                .map(|path| checked(option, path, check))
                .transpose()
        };
    Ok(Firmware {
        rpi5,
        rock5b_spi: optional("--rock5b-spi", &args.rock5b_spi, firmware::rock5b_spi)?,
        rock5b_u_boot: optional(
            "--rock5b-u-boot",
            &args.rock5b_u_boot,
            firmware::rock5b_u_boot,
        )?,
    })
}

fn checked<T>(
    option: &str,
    path: &Path,
    check: impl Fn(Vec<u8>) -> Result<T, FirmwareError>,
) -> Result<T> {
    let shown = path.display();
    must_be_file(
        path,
        &format!("the file for {option}"),
        "give a file that is there; docs/card.md says where it comes from",
    )?;
    let bytes = fs::read(path).with_context(|| format!("cannot read {shown} ({option})"))?;
    check(bytes).with_context(|| format!("{shown} cannot be used as {option}"))
}
