//! Valid files, damaged at random, with a fixed seed. No parser may panic, and what it accepts it must be able to write
//! back as it was.

use fastrand::Rng;
use gild_boards::fit::Fit;
use gild_boards::rk3588::{IdBlock, Image as LoaderImage, Medium, NVME_FIRST};
use gild_boards::rpi_eeprom::{Image as EepromImage, Signature, set_keys};
use gild_boards::uboot_env::{Block, Environment};
use gild_boards::uboot_script::Script;
use gild_boards_testkit::*;

const SEED: u64 = 0x6769_6c64;

/// Values at which lengths and offsets go wrong.
const EDGES: [u32; 10] = [
    0,
    1,
    7,
    8,
    15,
    16,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    0xffff_ffff,
];

/// Damages the bytes in one to four places, most of them in the part where the structure is.
fn damage(random: &mut Rng, bytes: &mut Vec<u8>, structure: &[usize]) {
    for _ in 0..random.usize(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = match random.u8(..) {
            0..=199 if !structure.is_empty() => {
                random.choice(structure).copied().unwrap_or(0) + random.usize(..48)
            }
            _ => random.usize(..bytes.len()),
        }
        .min(bytes.len() - 1);
        match random.u8(..8) {
            0 => bytes.truncate(at),
            1 | 2 => bytes[at] = random.u8(..),
            3 => bytes[at] ^= 1 << random.u8(..8),
            _ => {
                let edge = random
                    .choice(EDGES)
                    .unwrap_or(0)
                    .wrapping_add(random.u32(..3))
                    .wrapping_sub(1);
                let field = if random.bool() {
                    edge.to_be_bytes()
                } else {
                    edge.to_le_bytes()
                };
                let at = at & !3;
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&field[..end - at]);
            }
        }
    }
}

fn rounds(
    count: usize,
    original: &[u8],
    structure: &[usize],
    mut check: impl FnMut(&mut Rng, Vec<u8>),
) {
    let mut random = Rng::with_seed(SEED);
    for _ in 0..count {
        let mut bytes = original.to_vec();
        damage(&mut random, &mut bytes, structure);
        check(&mut random, bytes);
    }
}

#[test]
fn damaged_eeprom_images() {
    // A small image that says that it is one of the large kind.
    let mut odd = eeprom_2711();
    section(&mut odd, 0x1000, MODULE, 0xeff8, &[]);
    file(&mut odd, 0x1_0000, "bootsys", &pattern(0xffe8));
    for original in [eeprom_2712(), eeprom_2711(), eeprom_ab(), odd] {
        let image = EepromImage::parse(original.clone()).expect("an image");
        let structure: Vec<usize> = image.sections().iter().map(|s| s.offset).collect();
        let mut accepted = 0;
        rounds(400, &original, &structure, |random, bytes| {
            let Ok(mut image) = EepromImage::parse(bytes.clone()) else {
                return;
            };
            accepted += 1;
            assert!(image.bytes() == bytes);
            let mut end = 0;
            for section in image.sections() {
                assert!(section.offset >= end && section.content().end <= bytes.len());
                end = section.content().end;
            }
            let _ = (
                image.timestamp(),
                image.build_timestamp(),
                image.is_live(),
                image.is_signed(),
            );
            let config: Vec<u8> = (0..random.usize(..4200)).map(|_| random.u8(..)).collect();
            match image.set_config(&config) {
                Ok(()) => assert_eq!(image.config(), Ok(&config[..])),
                Err(_) => assert!(image.bytes() == bytes, "an error changes nothing"),
            }
            let _ = image.set_timestamp(random.u32(..));
            assert_eq!(EepromImage::parse(image.bytes().to_vec()), Ok(image));
        });
        assert!(
            accepted > 40,
            "only {accepted} of the damaged images were looked into"
        );
    }
}

/// With its checksums right again: what is behind them must hold as well.
#[test]
fn damaged_fits() {
    let shop = Workshop::new();
    for placement in [vec!["-E"], vec![]] {
        let settings = FitSettings {
            placement,
            ..FitSettings::default()
        };
        let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &settings);
        let structure: Vec<usize> = (0..fit.len().min(1600)).step_by(4).collect();
        rounds(6000, &fit, &structure, |_, bytes| {
            if let Ok(fit) = Fit::parse(&bytes) {
                assert!(fit.length <= bytes.len());
                for image in &fit.images {
                    assert!(image.data.end <= bytes.len());
                    assert!(
                        image
                            .hashes
                            .iter()
                            .all(|hash| hash.place.end <= bytes.len())
                    );
                }
            }
        });
    }
}

#[test]
fn damaged_loaders() {
    let shop = Workshop::new();
    let original = shop.rock5b_spi(MAINLINE);
    let structure: Vec<usize> = (0x8000..0x8200)
        .chain(0x6_0000..0x6_0600)
        .step_by(4)
        .collect();
    rounds(600, &original, &structure, |_, bytes| {
        if let Ok(image) = LoaderImage::parse(bytes.clone(), Medium::Spi) {
            assert!(image.bytes() == bytes);
            if let Ok(changed) = image.with_boot_targets(&NVME_FIRST) {
                let read = LoaderImage::parse(changed.bytes().to_vec(), Medium::Spi);
                assert_eq!(read, Ok(changed));
            }
        }
    });
    let id_block = shop.id_block();
    let structure: Vec<usize> = (0..0x240).step_by(4).collect();
    rounds(3000, &id_block, &structure, |_, mut bytes| {
        if let Some((hashed, rest)) = bytes.split_at_mut_checked(0x600)
            && rest.len() >= 32
        {
            rest[..32].copy_from_slice(&hex::decode(sha256(hashed)).expect("hex"));
        }
        if let Ok(block) = IdBlock::parse(&bytes) {
            assert!(block.length <= bytes.len());
        }
    });
}

#[test]
fn damaged_environments() {
    let environment =
        Environment::from_text("bootcmd=run a\na=b c\nempty=\nbootdelay=0\n").expect("text");
    for flag in [None, Some(3)] {
        let original = Block {
            environment: environment.clone(),
            flag,
        }
        .to_bytes(256, 0)
        .expect("a block");
        let header = 4 + usize::from(flag.is_some());
        let mut accepted = 0;
        rounds(4000, &original, &[0, 16, 32], |_, mut bytes| {
            let _ = Block::parse(&bytes);
            if bytes.len() <= header {
                return;
            }
            let crc = crc32fast::hash(&bytes[header..]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            let Ok(block) = Block::parse(&bytes) else {
                return;
            };
            accepted += 1;
            if let Ok(written) = block.to_bytes(bytes.len(), 0) {
                assert_eq!(Block::parse(&written), Ok(block));
            }
        });
        assert!(accepted > 1000, "{accepted}");
    }
}

#[test]
fn damaged_programs_with_an_environment() {
    let original = Workshop::u_boot(MAINLINE);
    rounds(4000, &original, &[3000, 3040, 3080, 3120], |_, bytes| {
        if let Some(environment) = Environment::built_into(&bytes) {
            let block = Block {
                environment,
                flag: None,
            };
            let written = block.to_bytes(bytes.len() + 64, 0).expect("room");
            assert_eq!(Block::parse(&written), Ok(block));
        }
    });
}

#[test]
fn damaged_scripts() {
    let script = Script {
        name: b"gate".to_vec(),
        time: 1,
        text: b"echo hello\n".to_vec(),
    };
    let original = script.to_bytes().expect("a script");
    rounds(4000, &original, &[0, 32], |_, mut bytes| {
        let _ = Script::parse(&bytes);
        if bytes.len() < 64 {
            return;
        }
        // With both checksums right, the rest must hold.
        let data = crc32fast::hash(&bytes[64..]);
        bytes[24..28].copy_from_slice(&data.to_be_bytes());
        bytes[4..8].fill(0);
        let header = crc32fast::hash(&bytes[..64]);
        bytes[4..8].copy_from_slice(&header.to_be_bytes());
        if let Ok(script) = Script::parse(&bytes) {
            let written = script.to_bytes().expect("a script");
            assert_eq!(Script::parse(&written), Ok(script));
        }
    });
}

#[test]
fn damaged_texts() {
    let signature = Signature::of(b"image", 1).to_text() + "target-soc: 2712\nrsa2048: 00ff\n";
    rounds(3000, signature.as_bytes(), &[0, 32, 60], |_, bytes| {
        if let Ok(signature) = Signature::parse(&String::from_utf8_lossy(&bytes)) {
            assert_eq!(Signature::parse(&signature.to_text()), Ok(signature));
        }
    });
    let config =
        "# ours\r\n[all]\nBOOT_UART=1\n[gpio8=0]\nX=1\n[all]\nBOOT_ORDER=0xf461\nPCIE_PROBE=0";
    let keys = [("BOOT_ORDER", "0xf416"), ("PCIE_PROBE", "1")];
    rounds(3000, config.as_bytes(), &[0, 40], |_, bytes| {
        if let Ok(once) = set_keys(&bytes, &keys) {
            for (key, value) in keys {
                assert_eq!(
                    gild_boards::rpi_eeprom::get_key(&once, key),
                    Some(value.as_bytes()),
                    "{}",
                    bytes.escape_ascii()
                );
            }
            assert_eq!(
                set_keys(&once, &keys),
                Ok(once),
                "setting twice is setting once"
            );
        }
    });
}
