//! Recognizes the boards' firmware files.

use gild_boards::fit::{Fit, FitError};
use gild_boards::rk3588::{ENVIRONMENT, IdBlock, Image as Loader, Medium};
use gild_boards::rpi_eeprom::{
    BootOrder, Chip, Image as Eeprom, Recovery, SectionKind, Signature, day,
};
use gild_boards::uboot_env::Block;
use gild_boards::uboot_script::Script;
use serde_json::{Value, json};

use super::facts::shown;

/// What is known of a file.
pub struct Found {
    /// What it is.
    pub kind: &'static str,
    /// Why it is not whole.
    pub problem: Option<String>,
    /// Whether gild can see that.
    pub is_checked: bool,
    /// Names of the boards it is for, as gild calls them.
    pub boards: Vec<&'static str>,
    /// All the rest, by name.
    pub details: Vec<(&'static str, Value)>,
}

impl Found {
    fn damaged(kind: &'static str, error: &dyn std::error::Error) -> Self {
        Self {
            kind,
            problem: Some(error.to_string()),
            is_checked: true,
            boards: Vec::new(),
            details: Vec::new(),
        }
    }

    fn whole(kind: &'static str, details: Vec<(&'static str, Value)>) -> Self {
        Self {
            kind,
            problem: None,
            is_checked: true,
            boards: Vec::new(),
            details,
        }
    }
}

/// Says what these bytes are.
pub fn identify(bytes: &[u8]) -> Found {
    let at = |offset: usize| bytes.get(offset..).unwrap_or_default();
    let is_loader = |medium: Medium| {
        IdBlock::begins(at(medium.id_block_offset())) || Fit::begins(at(medium.fit_offset()))
    };
    if Eeprom::begins(bytes) {
        eeprom(bytes)
    } else if IdBlock::begins(bytes) && bytes.len() <= Medium::Card.fit_offset() {
        id_block(bytes)
    } else if is_loader(Medium::Spi) {
        loader(bytes, Medium::Spi)
    } else if is_loader(Medium::Card) {
        loader(bytes, Medium::Card)
    } else if Script::begins(bytes) {
        script(bytes)
    } else if Fit::begins(bytes) {
        fit(bytes)
    } else if let Ok(block) = Block::parse(bytes) {
        Found::whole("U-Boot environment", environment(&block))
    } else if let Some(signature) = text_of(bytes).and_then(|text| Signature::parse(text).ok()) {
        eeprom_signature(&signature)
    } else if let Some(recovery) = Recovery::of(bytes) {
        program(&recovery)
    } else {
        Found {
            is_checked: true,
            kind: "unknown",
            problem: Some("it is none of the firmware files that gild knows".to_owned()),
            boards: Vec::new(),
            details: Vec::new(),
        }
    }
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn eeprom(bytes: &[u8]) -> Found {
    let kind = "Raspberry Pi EEPROM image";
    let image = match Eeprom::parse(bytes.to_vec()) {
        Ok(image) => image,
        Err(error) => return Found::damaged(kind, &error),
    };
    let config = match image.config() {
        Ok(config) => config,
        Err(error) => return Found::damaged(kind, &error),
    };
    let order = BootOrder::of(config);
    let sections: Vec<Value> = image
        .sections()
        .iter()
        .map(|section| {
            let what = match &section.kind {
                SectionKind::Bootcode => "bootcode".to_owned(),
                SectionKind::File(name) => name.clone(),
                SectionKind::Padding => "padding".to_owned(),
                SectionKind::Module => "module".to_owned(),
                SectionKind::Other(magic) => format!("{magic:#010x}"),
            };
            json!({ "at": format!("{:#x}", section.offset), "length": section.length, "is": what })
        })
        .collect();
    let mut found = Found::whole(
        kind,
        vec![
            ("chip", image.chip().name().into()),
            ("build_timestamp", image.build_timestamp().into()),
            ("mfg_version", image.mfg_version().into()),
            ("update_timestamp", image.timestamp().into()),
            ("two_halves", image.is_ab().into()),
            ("read_from_a_chip", image.is_live().into()),
            ("signed", image.is_signed().into()),
            ("boot_order", order.map(|order| order.to_string()).into()),
            (
                "nvme_first",
                order.is_some_and(BootOrder::is_nvme_first).into(),
            ),
            ("config", shown(config).into()),
            ("sections", sections.into()),
        ],
    );
    if image.chip() == Chip::Bcm2712 {
        found.boards = names_of(|board| board.compatible.iter().any(|name| name == "brcm,bcm2712"));
    }
    found
}

/// Its format is not published: what its texts say is all that is known of it.
fn program(recovery: &Recovery) -> Found {
    let kind = if recovery.names_eeprom {
        "Raspberry Pi recovery.bin, by the texts in it"
    } else {
        "program of the Raspberry Pi's firmware, by the texts in it: recovery.bin is one"
    };
    let details = vec![
        ("says", recovery.line.clone().into()),
        ("build_timestamp", recovery.built.into()),
        ("built", recovery.built.map(day).into()),
    ];
    Found {
        is_checked: false,
        ..Found::whole(kind, details)
    }
}

fn eeprom_signature(signature: &Signature) -> Found {
    let details = vec![
        ("signed_sha256", hex::encode(signature.sha256).into()),
        ("update_timestamp", signature.timestamp.into()),
        ("target_soc", signature.target_soc.into()),
        ("signed", signature.rsa2048.is_some().into()),
    ];
    Found::whole("Raspberry Pi EEPROM signature", details)
}

fn id_block(bytes: &[u8]) -> Found {
    let kind = "Rockchip ID block";
    match IdBlock::parse(bytes) {
        Ok(block) => Found::whole(kind, vec![("programs", block.images.len().into())]),
        Err(error) => Found::damaged(kind, &error),
    }
}

fn loader(bytes: &[u8], medium: Medium) -> Found {
    let kind = match medium {
        Medium::Spi => "U-Boot for RK3588, SPI flash",
        Medium::Card => "U-Boot for RK3588, SD card",
    };
    let image = match Loader::parse(bytes.to_vec(), medium) {
        Ok(image) => image,
        Err(error) => {
            let mut found = Found::damaged(kind, &error);
            // A file for another processor has another ID block; its FIT says so.
            if let Ok(fit) = Fit::parse(bytes.get(medium.fit_offset()..).unwrap_or_default()) {
                found.details = fit_details(&fit);
            }
            return found;
        }
    };
    let order = image.boot_targets();
    let mut details = vec![
        (
            "boot_targets",
            order.as_ref().ok().map(|names| names.join(" ")).into(),
        ),
        ("nvme_first", image.is_nvme_first().unwrap_or(false).into()),
    ];
    if let Err(error) = order {
        details.push(("boot_targets_problem", error.to_string().into()));
    }
    details.extend(fit_details(image.fit()));
    if let Some(Ok(block)) = bytes.get(ENVIRONMENT).map(Block::parse) {
        let variables = environment(&block)
            .into_iter()
            .find(|(name, _)| *name == "variables");
        details.extend(variables);
    }
    let mut found = Found::whole(kind, details);
    found.boards = names_of(|board| image.validate_for(board).is_ok());
    found
}

fn fit(bytes: &[u8]) -> Found {
    match Fit::parse(bytes) {
        Ok(fit) => Found::whole("U-Boot FIT", fit_details(&fit)),
        Err(FitError::NoImages) => Found::whole("device tree", Vec::new()),
        Err(error) => Found::damaged("U-Boot FIT", &error),
    }
}

fn fit_details(fit: &Fit) -> Vec<(&'static str, Value)> {
    let images: Vec<Value> = fit
        .images
        .iter()
        .map(|image| {
            let hashes: Vec<&str> = image.hashes.iter().map(|h| h.algorithm.as_str()).collect();
            json!({ "name": image.name, "type": image.kind, "length": image.data.len(), "hashes": hashes })
        })
        .collect();
    vec![
        ("compatible", fit.boards().into()),
        ("signed", fit.is_signed.into()),
        ("configurations", fit.configurations.clone().into()),
        ("images", images.into()),
    ]
}

fn script(bytes: &[u8]) -> Found {
    let kind = "U-Boot boot script";
    match Script::parse(bytes) {
        Ok(script) => Found::whole(
            kind,
            vec![
                ("name", String::from_utf8_lossy(&script.name).into()),
                ("time", script.time.into()),
                ("script", String::from_utf8_lossy(&script.text).into()),
            ],
        ),
        Err(error) => Found::damaged(kind, &error),
    }
}

fn environment(block: &Block) -> Vec<(&'static str, Value)> {
    let variables = block.environment.iter();
    let variables: Vec<String> = variables
        .map(|(name, value)| format!("{}={}", shown(name), shown(value)))
        .collect();
    vec![("flag", block.flag.into()), ("variables", variables.into())]
}

fn names_of(is_meant: impl Fn(&gild_boards::Board) -> bool) -> Vec<&'static str> {
    let boards = gild_boards::all().iter().filter(|board| is_meant(board));
    boards.map(|board| board.name.as_str()).collect()
}
