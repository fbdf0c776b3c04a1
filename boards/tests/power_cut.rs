//! Power is cut after every step of a flash update, and in the middle of every step. The flash is simulated in memory: an
//! erase sets all bits of a block, programming only clears bits, a cut leaves the rest of a step undone.

use std::ops::Range;

use gild_boards::nor::{PAGE, Step, plan};
use gild_boards::rk3588::{
    ENVIRONMENT, FLASH_SIZE, FlashError, IdBlock, Image, Layout, Medium, NVME_FIRST, flash_content,
};
use gild_boards::uboot_env::{Block, Environment};
use gild_boards_testkit::*;

const BLOCK: usize = 4096;
const ID_BLOCK: usize = 0x8000;

struct Flash {
    bytes: Vec<u8>,
}

impl Flash {
    fn erase(&mut self, bytes: Range<usize>) {
        self.bytes[bytes].fill(0xff);
    }

    fn program(&mut self, place: Range<usize>, wanted: &[u8]) {
        for at in place {
            self.bytes[at] &= wanted[at];
        }
    }

    fn apply(&mut self, step: &Step, wanted: &[u8]) {
        match step {
            Step::Erase(bytes) => self.erase(bytes.clone()),
            Step::CheckErased(bytes) => {
                assert!(self.bytes[bytes.clone()].iter().all(|b| *b == 0xff));
            }
            Step::Write(bytes) => self.program(bytes.clone(), wanted),
            Step::Check(bytes) => assert!(self.bytes[bytes.clone()] == wanted[bytes.clone()]),
        }
    }

    /// The part of the step that is done when it is cut in the middle: some of the block, some of the pages, half of the last.
    fn apply_half(&mut self, step: &Step, wanted: &[u8]) {
        match step {
            Step::Erase(bytes) => self.erase(bytes.start..bytes.start + bytes.len() / 2),
            Step::Write(bytes) => {
                let half = bytes.len() / 2 - bytes.len() / 2 % PAGE + PAGE / 2;
                self.program(bytes.start..bytes.start + half, wanted);
            }
            Step::CheckErased(_) | Step::Check(_) => {}
        }
    }
}

/// The ROM may start what a header with a right hash leads to, without another check: then everything must be right.
fn is_safe(flash: &[u8], whole: &[&[u8]]) -> bool {
    let header = &flash[ID_BLOCK..ID_BLOCK + 0x620];
    let is_bootable =
        IdBlock::begins(header) && sha256(&header[..0x600]) == hex::encode(&header[0x600..]);
    !is_bootable || whole.contains(&flash)
}

/// The flash of a test need not have 16 MiB: no format in it depends on its size.
fn small(image: &[u8]) -> Vec<u8> {
    let mut flash = vec![0xff; 0x8_0000];
    flash[..image.len()].copy_from_slice(image);
    flash
}

fn survives_every_cut(old: &[u8], wanted: &[u8], block: usize) {
    let steps = plan(old, wanted, block, ID_BLOCK).expect("a plan");
    assert!(!steps.is_empty());
    let finish = |mut flash: Flash| {
        for step in plan(&flash.bytes, wanted, block, ID_BLOCK).expect("a plan") {
            flash.apply(&step, wanted);
            assert!(
                is_safe(&flash.bytes, &[old, wanted]),
                "second attempt: {step:x?}"
            );
        }
        assert!(flash.bytes == wanted);
    };
    let mut flash = Flash {
        bytes: old.to_vec(),
    };
    for step in &steps {
        let mut cut = Flash {
            bytes: flash.bytes.clone(),
        };
        cut.apply_half(step, wanted);
        assert!(
            is_safe(&cut.bytes, &[old, wanted]),
            "in the middle of {step:x?}"
        );
        finish(cut);
        flash.apply(step, wanted);
        assert!(is_safe(&flash.bytes, &[old, wanted]), "after {step:x?}");
        finish(Flash {
            bytes: flash.bytes.clone(),
        });
    }
    assert!(flash.bytes == wanted);
}

#[test]
fn a_valid_id_block_never_stands_before_anything_but_what_belongs_to_it() {
    let shop = Workshop::new();
    let old = small(&shop.rock5b_spi(MAINLINE));
    let image = Image::parse(shop.rock5b_spi(MAINLINE), Medium::Spi).expect("an image");
    let new = small(
        image
            .with_boot_targets(&NVME_FIRST)
            .expect("changed")
            .bytes(),
    );
    survives_every_cut(&old, &new, BLOCK);
    survives_every_cut(&old, &new, 64 << 10);
    survives_every_cut(&vec![0xff; old.len()], &new, BLOCK);
    survives_every_cut(&pattern(old.len()), &new, BLOCK);
    // Another loader, and a FIT that is shorter.
    shop.write("tpl", pattern(12000));
    let fit = shop.fit(&pattern(1000), ROCK5B, &FitSettings::default());
    survives_every_cut(&small(&shop.spi(&fit)), &new, BLOCK);
}

/// The plan's promise is the order. Seen from the other side: no other step may come before or after the first page's.
#[test]
fn the_first_page_goes_first_and_comes_back_last() {
    let shop = Workshop::new();
    let new = small(&shop.rock5b_spi(MAINLINE));
    for old in [vec![0xff; new.len()], pattern(new.len())] {
        let steps = plan(&old, &new, BLOCK, ID_BLOCK).expect("a plan");
        assert_eq!(steps[0], Step::Erase(ID_BLOCK..ID_BLOCK + BLOCK));
        assert_eq!(steps[1], Step::CheckErased(ID_BLOCK..ID_BLOCK + BLOCK));
        let page = ID_BLOCK..ID_BLOCK + PAGE;
        let end = &steps[steps.len() - 2..];
        assert_eq!(end, [Step::Write(page.clone()), Step::Check(page)]);
    }
}

#[test]
fn blocks_that_are_right_are_left_alone() {
    let shop = Workshop::new();
    let image = Image::parse(shop.rock5b_spi(MAINLINE), Medium::Spi).expect("an image");
    let old = small(image.bytes());
    assert_eq!(plan(&old, &old, BLOCK, ID_BLOCK), Ok(Vec::new()));
    let new = small(
        image
            .with_boot_targets(&NVME_FIRST)
            .expect("changed")
            .bytes(),
    );
    let differing = old
        .chunks(BLOCK)
        .zip(new.chunks(BLOCK))
        .filter(|(a, b)| a != b)
        .count();
    let steps = plan(&old, &new, BLOCK, ID_BLOCK).expect("a plan");
    let erased = steps
        .iter()
        .filter(|step| matches!(step, Step::Erase(_)))
        .count();
    assert_eq!(erased, differing + 1, "these and the ID block's first");
}

#[test]
fn an_environment_is_valid_only_when_it_is_complete() {
    let block = |bootcmd: &str| {
        let environment =
            Environment::from_text(&format!("bootcmd={bootcmd}\nbootdelay=0")).expect("text");
        Block {
            environment,
            flag: None,
        }
        .to_bytes(0x4_0000, 0)
        .expect("a block")
    };
    let (old, new) = (block("run distro_bootcmd"), block("bootflow scan -lb"));
    let mut flash = Flash { bytes: old.clone() };
    for step in plan(&old, &new, old.len(), 0).expect("a plan") {
        let mut cut = Flash {
            bytes: flash.bytes.clone(),
        };
        cut.apply_half(&step, &new);
        flash.apply(&step, &new);
        for bytes in [&cut.bytes, &flash.bytes] {
            let whole = *bytes == old || *bytes == new;
            assert_eq!(Block::parse(bytes).is_ok(), whole, "{step:x?}");
        }
    }
    assert!(flash.bytes == new);
}

#[test]
fn the_content_of_a_flash_is_the_image_and_no_stale_environment() {
    let shop = Workshop::new();
    let image = Image::parse(shop.rock5b_spi(MAINLINE), Medium::Spi).expect("an image");
    let current = pattern(FLASH_SIZE);
    let end = image.bytes().len();
    let wanted = flash_content(&current, &Layout::BOARDS, &image, None).expect("content");
    assert!(wanted[..end] == *image.bytes());
    assert!(wanted[ENVIRONMENT].iter().all(|byte| *byte == 0xff));
    assert!(wanted[end..ENVIRONMENT.start] == current[end..ENVIRONMENT.start]);
    assert!(wanted[ENVIRONMENT.end..] == current[ENVIRONMENT.end..]);
    let wanted =
        flash_content(&current, &Layout::BOARDS, &image, Some(b"environment")).expect("content");
    assert!(wanted[ENVIRONMENT].starts_with(b"environment\xff"));

    let too_small = flash_content(&current[1..], &Layout::BOARDS, &image, None);
    assert_eq!(too_small, Err(FlashError::Size(FLASH_SIZE - 1)));
    let longest = vec![1; ENVIRONMENT.len()];
    let wanted = flash_content(&current, &Layout::BOARDS, &image, Some(&longest));
    assert!(wanted.is_ok_and(|wanted| wanted[ENVIRONMENT] == longest));
    let long = vec![0; ENVIRONMENT.len() + 1];
    assert!(matches!(
        flash_content(&current, &Layout::BOARDS, &image, Some(&long)),
        Err(FlashError::Environment { .. })
    ));
    let mut large = image.bytes().to_vec();
    large.resize(ENVIRONMENT.start + 1, 0xff);
    let large = Image::parse(large, Medium::Spi).expect("an image");
    assert!(matches!(
        flash_content(&current, &Layout::BOARDS, &large, Some(b"x")),
        Err(FlashError::Environment { .. })
    ));
    assert!(flash_content(&current, &Layout::BOARDS, &large, None).is_ok());
    let fit = shop.fit(&pattern(10), ROCK5B, &FitSettings::default());
    let card = Image::parse(shop.card(&fit), Medium::Card).expect("an image");
    assert_eq!(
        flash_content(&current, &Layout::BOARDS, &card, None),
        Err(FlashError::Medium)
    );
}
