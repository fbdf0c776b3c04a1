use gild_boards::rk3588::{ENVIRONMENT, NVME_FIRST};
use gild_boards::uboot_env::{Block, Environment};
use sha2::Digest;

use super::*;
use crate::boot_order::stand_in::{MemoryCard, MemoryNor, Power};
use crate::boot_order::vendor::{FitSettings, MAINLINE, Workshop};
use crate::boot_order::{Kind, Standing};
use crate::card::folder::Folder;

pub const BLOCK: usize = 4096;
const ID_BLOCK: usize = 0x8000;
pub const SERIAL: &str = "5b00c0ffee123456";

/// The image that `gild card build` makes from the mainline one.
pub fn wanted() -> Vec<u8> {
    let image = Image::parse(Workshop::new().rock5b_spi(MAINLINE), Medium::Spi).expect("an image");
    let image = image.with_boot_targets(&NVME_FIRST).expect("an order");
    image.bytes().to_vec()
}

/// A chip of 16 MiB that begins with these bytes.
pub fn chip(start: &[u8]) -> Vec<u8> {
    chip_of(FLASH_SIZE, start)
}

pub fn chip_of(size: usize, start: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; size];
    bytes[..start.len()].copy_from_slice(start);
    bytes
}

fn job(card: &MemoryCard, standing: Standing) -> Job<'_> {
    Job {
        board: gild_boards::by_name("rock5b").expect("a board"),
        id: "00e04c5b5b5b".to_owned(),
        card,
        policy: gild_card_format::BootOrderPolicy::default(),
        standing,
        changed: &|_| (),
        is_boot_medium: true,
        alive: &|| (),
    }
}

pub fn set_with(
    card: &MemoryCard,
    boot: Option<&MemoryNor>,
    environment: Option<&MemoryNor>,
    card_starts: bool,
) -> Result<BootOrder, BootOrderError> {
    set_as(card, boot, environment, card_starts, Standing::Proven)
}

/// The same on a flash with another layout.
pub fn set_in(
    layout: &Layout,
    card: &MemoryCard,
    boot: Option<&MemoryNor>,
    environment: Option<&MemoryNor>,
) -> Result<BootOrder, BootOrderError> {
    set_all(layout, card, boot, environment, true, Standing::Proven)
}

fn set_as(
    card: &MemoryCard,
    boot: Option<&MemoryNor>,
    environment: Option<&MemoryNor>,
    card_starts: bool,
    standing: Standing,
) -> Result<BootOrder, BootOrderError> {
    set_all(
        &Layout::BOARDS,
        card,
        boot,
        environment,
        card_starts,
        standing,
    )
}

fn set_all(
    layout: &Layout,
    card: &MemoryCard,
    boot: Option<&MemoryNor>,
    environment: Option<&MemoryNor>,
    card_starts: bool,
    standing: Standing,
) -> Result<BootOrder, BootOrderError> {
    let job = job(card, standing);
    let flash = Flash {
        boot: boot.map(|flash| flash as &dyn Nor),
        layout,
        environment: environment.map(|flash| flash as &dyn Nor),
        card_starts: &|| card_starts,
    };
    set(&job, &flash, SERIAL)
}

/// The content of the backups, unpacked with the stock tool.
pub fn backups(card: &MemoryCard) -> Vec<Vec<u8>> {
    let names = card.names().expect("the names");
    let backups = names.iter().filter(|name| name.starts_with("flash-"));
    backups
        .map(|name| {
            let file = card.get(name).expect("a backup");
            match name.strip_suffix(".zst") {
                Some(_) => unzstd(&file),
                None => file,
            }
        })
        .collect()
}

fn unzstd(packed: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup.bin.zst");
    std::fs::write(&path, packed).expect("a file");
    let mut zstd = std::process::Command::new("zstd");
    let ran = zstd.args(["-q", "-d"]).arg(&path).status();
    assert!(ran.is_ok_and(|status| status.success()), "zstd");
    std::fs::read(path.with_extension("")).expect("what it unpacks")
}

/// The ROM starts what a header with a right hash leads to. If there is such a header, everything must be in its place.
pub fn is_safe(flash: &[u8], whole: [&[u8]; 2]) -> bool {
    let header = &flash[ID_BLOCK..ID_BLOCK + 0x620];
    let is_started = IdBlock::begins(header)
        && sha2::Sha256::digest(&header[..0x600])[..] == header[0x600..0x620];
    !is_started || whole.contains(&flash)
}

#[test]
fn what_is_right_is_left_alone_with_and_without_a_file() {
    let power = Power::on();
    let image = wanted();
    let boot = MemoryNor::new(&power, BLOCK, chip(&image));
    let card = MemoryCard::new(&power);
    card.is_read_only.set(true);
    assert_eq!(
        set_with(&card, Some(&boot), None, false),
        Ok(BootOrder::AlreadyRight)
    );
    card.put_firmware(SPI_IMAGE, &image);
    assert_eq!(
        set_with(&card, Some(&boot), None, false),
        Ok(BootOrder::AlreadyRight)
    );
}

#[test]
fn another_u_boot_with_the_disk_first_is_left_alone() {
    let power = Power::on();
    let own = chip(&Workshop::new().rock5b_spi("nvme mmc1 mmc0 usb scsi pxe dhcp spi"));
    let boot = MemoryNor::new(&power, BLOCK, own.clone());
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &wanted());
    assert!(own != chip(&wanted()));
    assert_eq!(
        set_with(&card, Some(&boot), None, true),
        Ok(BootOrder::AlreadyRight)
    );
    assert!(*boot.bytes.borrow() == own);
}

#[test]
fn a_declared_environment_does_not_overrule_the_image() {
    let power = Power::on();
    let boot = MemoryNor::new(&power, BLOCK, chip(&[]));
    let size = 64 << 10;
    let declared = MemoryNor::new(&power, BLOCK, environment(FACTORY, size));
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &wanted());
    let set = || set_with(&card, Some(&boot), Some(&declared), true);
    assert_eq!(set(), Ok(BootOrder::Written));
    assert!(*boot.bytes.borrow() == chip(&wanted()));
    assert!(*declared.bytes.borrow() == environment(CHANGED, size));
    assert_eq!(set(), Ok(BootOrder::AlreadyRight));
}

#[test]
fn a_change_is_told_wherever_it_was_made() {
    let size = 64 << 10;
    let (old, new) = (chip(&Workshop::new().rock5b_spi(MAINLINE)), chip(&wanted()));
    for (flash, text) in [(&old, CHANGED), (&new, FACTORY)] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, flash.clone());
        let declared = MemoryNor::new(&power, BLOCK, environment(text, size));
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &wanted());
        assert_eq!(
            set_with(&card, Some(&boot), Some(&declared), true),
            Ok(BootOrder::Written)
        );
        assert!(*boot.bytes.borrow() == new);
        assert!(*declared.bytes.borrow() == environment(CHANGED, size));
    }
}

#[test]
fn where_no_environment_was_saved_the_built_in_order_counts() {
    let power = Power::on();
    let blank = MemoryNor::new(&power, BLOCK, vec![0xff; 64 << 10]);
    let card = MemoryCard::new(&power);
    let right = MemoryNor::new(&power, BLOCK, chip(&wanted()));
    let set = || set_with(&card, Some(&right), Some(&blank), true);
    assert_eq!(set(), Ok(BootOrder::AlreadyRight));
    card.put_firmware(SPI_IMAGE, &wanted());
    assert_eq!(set(), Ok(BootOrder::AlreadyRight));
    let card = MemoryCard::new(&power);
    let other = MemoryNor::new(&power, BLOCK, chip(&Workshop::new().rock5b_spi(MAINLINE)));
    let error = set_with(&card, Some(&other), Some(&blank), true).expect_err("the card first");
    assert_eq!(error.kind, Kind::NotPossible);
}

#[test]
fn an_environment_s_backup_is_not_put_where_something_else_is_now() {
    let power = Power::on();
    let size = 64 << 10;
    let flash = MemoryNor::new(&power, BLOCK, environment(FACTORY, size));
    let card = MemoryCard::new(&power);
    let set = || set_with(&card, None, Some(&flash), true);
    assert_eq!(set(), Ok(BootOrder::Written));
    let firmware: Vec<u8> = (0..=255).cycle().take(size).collect();
    flash.bytes.borrow_mut().clone_from(&firmware);
    let error = set().expect_err("another program's");
    assert!(error.reason.contains("something else"), "{error}");
    assert!(*flash.bytes.borrow() == firmware);
}

#[test]
fn each_environment_that_is_replaced_stays_on_the_card() {
    let power = Power::on();
    let size = 64 << 10;
    let edited = FACTORY.replace("usb", "usb pxe");
    let flash = MemoryNor::new(&power, BLOCK, environment(FACTORY, size));
    let card = MemoryCard::new(&power);
    for text in [FACTORY, &edited] {
        *flash.bytes.borrow_mut() = environment(text, size);
        assert_eq!(
            set_with(&card, None, Some(&flash), true),
            Ok(BootOrder::Written)
        );
    }
    let names = card.names().expect("names");
    let kept = names.iter().filter(|name| name.starts_with("env-"));
    let kept: Vec<_> = kept.filter_map(|name| card.get(name)).collect();
    assert_eq!(kept.len(), 2, "{names:?}");
    for text in [FACTORY, &edited] {
        assert!(kept.contains(&environment(text, size)));
    }
}

#[test]
fn a_stale_environment_does_not_outlive_the_image() {
    let power = Power::on();
    let image = wanted();
    let mut old = chip(&image);
    old[ENVIRONMENT].copy_from_slice(&environment(FACTORY, ENVIRONMENT.len()));
    let boot = MemoryNor::new(&power, BLOCK, old);
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &image);
    assert_eq!(
        set_with(&card, Some(&boot), None, true),
        Ok(BootOrder::Written)
    );
    assert!(*boot.bytes.borrow() == chip(&image));
}

#[test]
fn an_environment_without_an_order_still_overrules_the_image() {
    let power = Power::on();
    let image = wanted();
    let mut old = chip(&image);
    let text = "bootcmd=bootflow scan -lb";
    old[ENVIRONMENT].copy_from_slice(&environment(text, ENVIRONMENT.len()));
    let boot = MemoryNor::new(&power, BLOCK, old.clone());
    let card = MemoryCard::new(&power);
    let error = set_with(&card, Some(&boot), None, true).expect_err("no order");
    assert!(error.reason.contains("no boot_targets"), "{error}");
    assert!(*boot.bytes.borrow() == old);
    card.put_firmware(SPI_IMAGE, &image);
    assert_eq!(
        set_with(&card, Some(&boot), None, true),
        Ok(BootOrder::Written)
    );
    assert!(*boot.bytes.borrow() == chip(&image));
}

#[test]
fn a_flash_that_starts_the_board_is_not_touched_when_nothing_else_would() {
    let unknown = chip(&vec![7; 0x1_0000]);
    for old in [chip(&Workshop::new().rock5b_spi(MAINLINE)), unknown] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, old.clone());
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &wanted());
        let error = set_with(&card, Some(&boot), None, false).expect_err("no way back");
        assert_eq!(error.kind, Kind::NotPossible);
        assert!(
            error.next_step.contains("--rock5b-u-boot"),
            "{}",
            error.next_step
        );
        assert!(*boot.bytes.borrow() == old);
    }
}

/// A card in a reader is not looked at when the flash starts nothing.
#[test]
fn a_flash_that_starts_the_board_is_not_touched_with_the_card_in_another_slot() {
    let power = Power::on();
    let old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let boot = MemoryNor::new(&power, BLOCK, old.clone());
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &wanted());
    let job = Job {
        is_boot_medium: false,
        ..job(&card, Standing::Proven)
    };
    let flash = Flash {
        boot: Some(&boot),
        layout: &Layout::BOARDS,
        environment: None,
        card_starts: &|| true,
    };
    let error = set(&job, &flash, SERIAL).expect_err("a card in a reader");
    assert_eq!(error.kind, Kind::NotPossible);
    assert!(error.next_step.contains("slot"), "{}", error.next_step);
    assert!(*boot.bytes.borrow() == old);
}

/// The names and the numbers of the kernel's devices change from start to start.
#[test]
fn each_flash_is_known_by_its_size_and_its_place_in_the_device_tree() {
    let device = |size, own: &str, parents: &[&str]| Device {
        name: "mtd0".to_owned(),
        size,
        own: vec![own.to_owned()],
        parents: parents.iter().map(|&name| name.to_owned()).collect(),
    };
    let at_controller = ["jedec,spi-nor", CONTROLLER];
    for (device, boots, holds_variables) in [
        (device(FLASH_SIZE, "", &at_controller), true, false),
        (device(FLASH_SIZE / 2, "", &at_controller), false, false),
        (device(FLASH_SIZE, "", &["jedec,spi-nor"]), false, false),
        (
            device(64 << 10, ENVIRONMENT_NODE, &at_controller),
            false,
            true,
        ),
    ] {
        let found = (is_boot_flash(&device), is_environment(&device));
        assert_eq!(found, (boots, holds_variables), "{device:?}");
    }
}

#[test]
fn an_image_without_a_flash_for_it_leaves_the_declared_environment_to_be_set() {
    let power = Power::on();
    let size = 64 << 10;
    let declared = MemoryNor::new(&power, BLOCK, environment(FACTORY, size));
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &wanted());
    let outcome = set_with(&card, None, Some(&declared), true);
    assert_eq!(outcome, Ok(BootOrder::Written));
    assert!(*declared.bytes.borrow() == environment(CHANGED, size));
}

#[test]
fn a_locked_flash_and_a_card_without_room_for_the_backup_change_nothing() {
    let old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    for is_locked in [true, false] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, old.clone());
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &wanted());
        boot.is_locked.set(is_locked);
        card.is_read_only.set(!is_locked);
        let error = set_with(&card, Some(&boot), None, true).expect_err("locked");
        assert_eq!(error.kind, Kind::Failed);
        assert!(*boot.bytes.borrow() == old);
    }
}

#[test]
fn a_backup_that_reads_back_wrong_leaves_the_flash_as_it_is() {
    let u_boot = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let digest = hex::encode(sha2::Sha256::digest(&u_boot));
    let variables = environment(FACTORY, 64 << 10);
    for (backup, old) in [
        (format!("flash-{SERIAL}-{}.bin.zst", &digest[..8]), u_boot),
        (format!("env-{SERIAL}.bin"), variables),
    ] {
        let power = Power::on();
        let flash = MemoryNor::new(&power, BLOCK, old.clone());
        let card = MemoryCard::new(&power);
        card.bad.set(Some(backup.leak()));
        let set = if old.len() == FLASH_SIZE {
            card.put_firmware(SPI_IMAGE, &wanted());
            set_with(&card, Some(&flash), None, true)
        } else {
            set_with(&card, None, Some(&flash), true)
        };
        let error = set.expect_err("a card that does not keep what is written");
        assert_eq!(error.kind, Kind::Failed);
        assert!(error.reason.contains("reads back"), "{error}");
        assert!(*flash.bytes.borrow() == old);
    }
}

/// Backups of 16 MiB each would fill a card after some dozens of boards.
#[test]
fn a_backup_is_small_and_what_an_earlier_agent_kept_counts() {
    let old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let run = |card: &MemoryCard, flash: &[u8]| {
        let boot = MemoryNor::new(&Power::on(), BLOCK, flash.to_vec());
        card.put_firmware_again(SPI_IMAGE, &wanted());
        let outcome = set_with(card, Some(&boot), None, true);
        assert_eq!(outcome, Ok(BootOrder::Written));
        let names = card.names().expect("the names");
        names
            .into_iter()
            .filter(|name| name.starts_with("flash-"))
            .collect::<Vec<_>>()
    };
    let card = MemoryCard::new(&Power::on());
    let names = run(&card, &old);
    let [name] = &names[..] else {
        panic!("{names:?}")
    };
    assert!(name.ends_with(".bin.zst"), "{name}");
    assert!(card.get(name).expect("the backup").len() < 100_000);

    // Half of the content is missing. A content that starts nothing does not count as what the board had.
    let mut half = old.clone();
    half[ID_BLOCK..ID_BLOCK + BLOCK].fill(0xff);
    assert_eq!(run(&card, &half), names);
    assert!(backups(&card) == std::slice::from_ref(&old));

    let unpacked = name.strip_suffix(".zst").expect("packed");
    let card = MemoryCard::new(&Power::on());
    card.put(unpacked, &old);
    assert_eq!(run(&card, &old), [unpacked]);
    assert_eq!(run(&card, &half), [unpacked]);
    // A damaged file does not count as a backup while the flash can still be read.
    card.put(unpacked, &old[1..]);
    assert_eq!(run(&card, &old), [unpacked, name]);
}

/// Several boards may have used the card. A flash that starts nothing may be all that an operator has of its content.
#[test]
fn another_board_s_backup_does_not_stand_for_this_one_s() {
    let power = Power::on();
    let mut old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    old[ID_BLOCK + 2048] ^= 1;
    let boot = MemoryNor::new(&power, BLOCK, old.clone());
    let card = MemoryCard::new(&power);
    card.put_firmware(SPI_IMAGE, &wanted());
    card.put("flash-another-00000000.bin", b"another one's");
    assert_eq!(
        set_with(&card, Some(&boot), None, false),
        Ok(BootOrder::Written)
    );
    assert!(backups(&card).contains(&old));
}

#[test]
fn what_the_flash_held_before_a_cut_is_the_backup_that_the_mark_names() {
    let card = MemoryCard::new(&Power::on());
    let job = job(&card, Standing::Proven);
    let stem = What::Flash.stem(SERIAL);
    let (one, other) = (vec![1; BLOCK], vec![2; BLOCK]);
    card.put(&format!("{stem}-00000000.bin"), &one);
    card.put(&format!("{stem}-ffffffff.bin"), &other);
    for before in [one, other] {
        mark::put(&job, What::Flash, SERIAL, &before).expect("a card");
        let found = backup::flash_before(&job, BLOCK, SERIAL);
        assert_eq!(found, Ok(Some(before)));
        let found = backup::flash_before(&job, BLOCK + 1, SERIAL);
        assert_eq!(found, Ok(None), "of a smaller flash");
    }
}

#[test]
fn a_card_without_room_for_the_backup_says_what_to_delete() {
    let old = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let boot = MemoryNor::new(&Power::on(), BLOCK, old.clone());
    let card = MemoryCard::new(&Power::on());
    card.put_firmware(SPI_IMAGE, &wanted());
    card.is_full.set(true);
    let error = set_with(&card, Some(&boot), None, true).expect_err("no room");
    assert_eq!(error.kind, Kind::Failed);
    assert!(
        error.next_step.contains("delete them"),
        "{}",
        error.next_step
    );
    assert!(*boot.bytes.borrow() == old);
}

/// A flash that came with the vendor's image has that image's U-Boot at 8 MiB, where nothing starts it.
#[test]
fn what_an_earlier_u_boot_left_in_the_flash_is_no_reason_to_write() {
    let shop = Workshop::new();
    let mut own = chip(&shop.rock5b_spi("nvme mmc1 mmc0 usb scsi pxe dhcp spi"));
    let vendors = Workshop::u_boot(MAINLINE);
    own[0x80_0000..0x80_0000 + vendors.len()].copy_from_slice(&vendors);
    for has_file in [true, false] {
        let boot = MemoryNor::new(&Power::on(), BLOCK, own.clone());
        let card = MemoryCard::new(&Power::on());
        if has_file {
            card.put_firmware(SPI_IMAGE, &wanted());
        }
        assert_eq!(
            set_with(&card, Some(&boot), None, true),
            Ok(BootOrder::AlreadyRight)
        );
        assert!(*boot.bytes.borrow() == own);
    }
}

/// U-Boot checks only the checksum. So such a block overrides the built-in order.
#[test]
fn an_environment_that_is_not_text_counts_and_keeps_its_bytes() {
    let block = |order: &str, size: usize| {
        let mut data = format!("bootcmd=boot\0boot_targets={order}\0").into_bytes();
        data.extend(b"note=f\xfcr\0=x\0alone\0");
        data.resize(size - 4, 0);
        [&crc32fast::hash(&data).to_le_bytes()[..], &data].concat()
    };
    let size = 64 << 10;
    let flash = MemoryNor::new(&Power::on(), BLOCK, block("mmc1 nvme0 mmc0", size));
    let card = MemoryCard::new(&Power::on());
    let set = || set_with(&card, None, Some(&flash), true);
    assert_eq!(set(), Ok(BootOrder::Written));
    assert!(*flash.bytes.borrow() == block("nvme0 mmc1 mmc0", size));
    assert_eq!(set(), Ok(BootOrder::AlreadyRight));

    // In the boot flash it overrides the order of an image that is right otherwise.
    let mut old = chip(&wanted());
    old[ENVIRONMENT].copy_from_slice(&block("mmc1 nvme", ENVIRONMENT.len()));
    let boot = MemoryNor::new(&Power::on(), BLOCK, old);
    let card = MemoryCard::new(&Power::on());
    card.put_firmware(SPI_IMAGE, &wanted());
    assert_eq!(
        set_with(&card, Some(&boot), None, true),
        Ok(BootOrder::Written)
    );
    assert!(*boot.bytes.borrow() == chip(&wanted()));
}

#[test]
fn a_flash_that_does_not_keep_what_is_written_is_a_failure_and_starts_nothing_half() {
    let (old, new) = (chip(&Workshop::new().rock5b_spi(MAINLINE)), chip(&wanted()));
    let changed = (0..FLASH_SIZE).find(|at| old[*at] != new[*at]);
    for worn in [changed.expect("another order"), ID_BLOCK] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, old.clone());
        boot.worn.set(Some(worn));
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &wanted());
        let error = set_with(&card, Some(&boot), None, true).expect_err("worn out");
        assert_eq!(error.kind, Kind::Unfinished);
        assert!(
            error.next_step.contains("leave this card"),
            "{}",
            error.next_step
        );
        assert!(is_safe(&boot.bytes.borrow(), [&old, &new]), "{worn:#x}");
    }
}

#[test]
fn a_file_for_another_board_or_medium_or_order_is_refused() {
    let shop = Workshop::new();
    let u_boot = Workshop::u_boot("nvme mmc1 mmc0 scsi usb pxe dhcp spi");
    let other = r#""radxa,rock-5b-plus", "rockchip,rk3588""#;
    let other = shop.fit(&u_boot, other, &FitSettings::default());
    let mut damaged = wanted();
    let inside = damaged.windows(9).position(|text| text == b"bootdelay");
    damaged[inside.expect("U-Boot in the FIT")] ^= 1;
    for (complaint, file) in [
        ("rock-5b-plus", shop.spi(&other)),
        ("ID block", shop.card(&other)),
        ("NVMe disk first", shop.rock5b_spi(MAINLINE)),
        // The eMMC is not the card.
        ("the card after it", shop.rock5b_spi("nvme usb mmc0")),
        ("FIT", damaged),
    ] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, chip(&[]));
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &file);
        let error = set_with(&card, Some(&boot), None, true).expect_err(complaint);
        assert_eq!(error.kind, Kind::NotPossible);
        assert!(error.reason.contains(complaint), "{complaint}: {error}");
        assert!(*boot.bytes.borrow() == chip(&[]));
    }
}

#[test]
fn a_missing_flash_and_a_missing_file_are_told_apart() {
    let power = Power::on();
    let card = MemoryCard::new(&power);
    let boot = MemoryNor::new(&power, BLOCK, chip(&[]));
    for boot in [None, Some(&boot)] {
        let error = set_with(&card, boot, None, true).expect_err("no file");
        assert_eq!(error.kind, Kind::Known);
        assert!(
            error.next_step.contains("leave the card in"),
            "{}",
            error.next_step
        );
    }
    card.put_firmware(SPI_IMAGE, &wanted());
    let error = set_with(&card, None, None, true).expect_err("no flash");
    assert_eq!(error.kind, Kind::NotPossible);
    assert!(error.reason.contains("no boot flash"), "{error}");
    assert!(
        error.next_step.contains("leave this card in"),
        "{}",
        error.next_step
    );
}

pub fn environment(text: &str, size: usize) -> Vec<u8> {
    let environment = Environment::from_text(text).expect("text");
    Block {
        environment,
        flag: None,
    }
    .to_bytes(size, 0)
    .expect("a block")
}

pub const FACTORY: &str =
    "bootcmd=bootflow scan -lb\nboot_targets=mmc1 mmc0 nvme usb\nethaddr=00:e0:4c:5b:5b:5b";
pub const CHANGED: &str =
    "bootcmd=bootflow scan -lb\nboot_targets=nvme mmc1 mmc0 usb\nethaddr=00:e0:4c:5b:5b:5b";

#[test]
fn an_environment_in_the_boot_flash_is_changed_where_it_is_kept() {
    let power = Power::on();
    let u_boot = Workshop::new().rock5b_spi(MAINLINE);
    let mut old = chip(&u_boot);
    old[ENVIRONMENT].copy_from_slice(&environment(FACTORY, ENVIRONMENT.len()));
    let mut new = chip(&u_boot);
    new[ENVIRONMENT].copy_from_slice(&environment(CHANGED, ENVIRONMENT.len()));
    let boot = MemoryNor::new(&power, BLOCK, old);
    let card = MemoryCard::new(&power);
    assert_eq!(
        set_with(&card, Some(&boot), None, false),
        Ok(BootOrder::Written)
    );
    assert!(*boot.bytes.borrow() == new);
    assert_eq!(
        set_with(&card, Some(&boot), None, false),
        Ok(BootOrder::AlreadyRight)
    );
}

#[test]
fn an_environment_that_would_leave_a_board_at_a_prompt_is_not_written() {
    let size = 64 << 10;
    for (complaint, text) in [
        ("no bootcmd", "boot_targets=mmc1 nvme"),
        ("no boot_targets", "bootcmd=run distro_bootcmd"),
        ("NVMe", "bootcmd=run distro_bootcmd\nboot_targets=mmc1 usb0"),
    ] {
        let power = Power::on();
        let old = environment(text, size);
        let flash = MemoryNor::new(&power, size, old.clone());
        let card = MemoryCard::new(&power);
        let error = set_with(&card, None, Some(&flash), false).expect_err(complaint);
        assert!(error.reason.contains(complaint), "{error}");
        assert!(*flash.bytes.borrow() == old);
    }
    let power = Power::on();
    let blank = MemoryNor::new(&power, size, vec![0xff; size]);
    let error = set_with(&MemoryCard::new(&power), None, Some(&blank), false).expect_err("blank");
    assert!(error.reason.contains("built-in"), "{error}");
}

/// The U-Boot in the flash has the disk first, and its environment says otherwise.
#[test]
fn a_declared_environment_that_waits_is_not_passed_over() {
    let power = Power::on();
    let boot = MemoryNor::new(&power, BLOCK, chip(&wanted()));
    let declared = MemoryNor::new(&power, BLOCK, environment(FACTORY, 64 << 10));
    let card = MemoryCard::new(&power);
    let outcome = set_as(&card, Some(&boot), Some(&declared), true, Standing::OnTrial);
    assert_eq!(outcome.expect_err("it waits").kind, Kind::Waits);
}

/// With the disk first, a board whose disk does not start would not come back to its card. What a cut has left half done is
/// completed all the same.
#[test]
fn the_environment_of_a_board_on_trial_is_left_alone_unless_a_cut_has_left_none() {
    let size = 64 << 10;
    let (old, new) = (environment(FACTORY, size), environment(CHANGED, size));
    let mut completed = 0;
    for changes in 0.. {
        let power = Power::on();
        let flash = MemoryNor::new(&power, BLOCK, old.clone());
        let card = MemoryCard::new(&power);
        let set = |standing| set_as(&card, None, Some(&flash), true, standing);
        for standing in [
            Standing::Planned,
            Standing::OnTrial,
            Standing::TrialCameBack,
        ] {
            let error = set(standing).expect_err("it waits");
            assert_eq!(error.kind, Kind::Waits, "{standing:?}");
            assert!(*flash.bytes.borrow() == old, "{standing:?}");
        }
        power.cut_after(changes);
        let cut = set(Standing::Proven);
        power.restore();
        if cut == Ok(BootOrder::Written) {
            break;
        }
        if !super::environment::is_valid(&flash.bytes.borrow()) {
            assert_eq!(set(Standing::OnTrial), Ok(BootOrder::Written), "{changes}");
            assert!(*flash.bytes.borrow() == new, "{changes}");
            completed += 1;
        }
    }
    assert!(completed > 0);
}

#[test]
fn the_flash_of_a_board_on_trial_is_left_alone_unless_its_u_boot_may_be_unable_to_start_the_disk() {
    let mainline = chip(&Workshop::new().rock5b_spi(MAINLINE));
    let unknown = chip(&vec![7; 0x1_0000]);
    let empty = chip(&[]);
    for (old, standing, is_written) in [
        (&mainline, Standing::Planned, false),
        (&mainline, Standing::OnTrial, false),
        (&mainline, Standing::TrialCameBack, false),
        (&empty, Standing::OnTrial, false),
        (&empty, Standing::TrialCameBack, false),
        (&unknown, Standing::Planned, false),
        (&unknown, Standing::OnTrial, false),
        (&unknown, Standing::TrialCameBack, true),
        (&mainline, Standing::Proven, true),
        (&empty, Standing::Proven, true),
    ] {
        let power = Power::on();
        let boot = MemoryNor::new(&power, BLOCK, old.clone());
        let card = MemoryCard::new(&power);
        card.put_firmware(SPI_IMAGE, &wanted());
        let outcome = set_as(&card, Some(&boot), None, true, standing);
        if is_written {
            assert_eq!(outcome, Ok(BootOrder::Written), "{standing:?}");
        } else {
            let error = outcome.expect_err("it waits");
            assert_eq!(error.kind, Kind::Waits, "{standing:?}");
            assert!(*boot.bytes.borrow() == *old, "{standing:?}");
        }
    }
}
