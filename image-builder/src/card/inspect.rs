//! `gild card inspect`.

use std::fmt::Write;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use gild_boards::rpi_eeprom::day;
use gild_card::config;
use gild_card::inspect::{FirmwareReport, Inspection, inspect};
use gild_card_format::{Arguments, Config};

use crate::input::must_be_file;
use crate::key;

/// Arguments of `gild card inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A card image, or the device of a card
    #[arg(value_name = "FILE|DEV")]
    card: PathBuf,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
}

/// Runs `gild card inspect`.
pub fn run(args: &Args) -> Result<()> {
    let shown = args.card.display();
    must_be_file(&args.card, super::IMAGE.0, super::IMAGE.1)?;
    let mut disk = File::open(&args.card).with_context(|| format!("cannot open {shown}"))?;
    let mut inspection = inspect(&mut disk).with_context(|| format!("cannot inspect {shown}"))?;
    if let Err(error) = config::prepare(&inspection.config, None) {
        inspection.problems.push(format!("gild.toml: {error}"));
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{}", text(&inspection));
    }
    let problems = inspection.problems.len();
    ensure!(
        problems == 0,
        "{shown} has {problems} problem{}",
        if problems == 1 { "" } else { "s" }
    );
    Ok(())
}

fn text(card: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name:<16} {value}");
    };
    line(
        "card",
        &format_args!("disk {}, file system {}", card.disk_id, card.volume_id),
    );
    if let Some(version) = &card.agent {
        line("agent", version);
    }
    // The problems name the mistakes of a configuration that cannot be read.
    if let Ok(config) = Config::parse(Some(&card.config), &Arguments::default()) {
        for server in &config.servers {
            line("server", server);
        }
        for key in config.keys() {
            if let Ok(id) = key::id(key) {
                let name = config.name_of(key).replace('_', " ");
                line(&name, &format_args!("{id} ({key})"));
            }
        }
        if config.status_url.is_some() {
            line(
                "reports",
                &match config.status_key {
                    Some(_) => {
                        "signed with `status_key`: keep the card like a key (docs/recovery.md, a lost card)"
                    }
                    None => "not signed: no status_key",
                },
            );
        }
        if let Some(url) = &config.order_url {
            let key = match &config.order_key {
                Some(_) => "the key `order_key`",
                None => "the keys of the images",
            };
            line("orders", &format_args!("{url}, signed with {key}"));
        }
    }
    for (path, length) in &card.files {
        line("file", &format_args!("{path}, {length} bytes"));
    }
    for path in &card.others {
        line("added later", path);
    }
    for image in &card.gate {
        line("finished", image);
    }
    for report in &card.boards {
        let model = gild_boards::by_name(report.board).map_or(report.board, |board| &board.model);
        match &report.firmware {
            FirmwareReport::RpiEeprom(eeprom) => {
                if let (Some(built), Some(order)) = (eeprom.eeprom_built, &eeprom.boot_order) {
                    let firmware = day(built);
                    line(
                        model,
                        &format_args!("boot order {order}, EEPROM firmware of {firmware}"),
                    );
                }
            }
            FirmwareReport::Rk3588Spi(spi) => {
                if spi.u_boot_on_card {
                    line(model, &"starts from this card");
                }
                if let Some(order) = &spi.boot_order {
                    line(model, &format_args!("boot order {}", order.join(" ")));
                }
            }
        }
    }
    for consequence in &card.missing {
        line("missing", consequence);
    }
    for problem in &card.problems {
        line("PROBLEM", problem);
    }
    if card.problems.is_empty() {
        line("whole", &"yes");
    }
    text
}
