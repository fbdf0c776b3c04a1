//! What the RK3588 boots from. The stock tools of U-Boot make the files here, around stand-ins for the programs in them.

use std::process::Command;

use gild_boards::fit::{Fit, FitError};
use gild_boards::rk3588::{
    BootTargetsError, IdBlock, IdBlockError, Image, Medium, NVME_FIRST, Rk3588Error,
};
use gild_boards_testkit::*;

const WANTED: &str = "nvme mmc1 mmc0 scsi usb pxe dhcp spi";

fn spi(bytes: Vec<u8>) -> Image {
    Image::parse(bytes, Medium::Spi).expect("an SPI image")
}

fn board(name: &str) -> &'static gild_boards::Board {
    gild_boards::by_name(name).expect("a board")
}

#[test]
fn an_id_block_of_mkimage_is_whole() {
    let shop = Workshop::new();
    let bytes = shop.id_block();
    assert_eq!(
        sha256(&bytes),
        "acda8f2540cd13b66b80bb0ca75857c9228a434cb70cdbddb746ad512ed0abae"
    );
    let block = IdBlock::parse(&bytes).expect("whole");
    assert_eq!(block.images, [2048..8192, 8192..18432]);
    assert_eq!(block.length, bytes.len());
    let said = shop.run("dumpimage", ["-l", "idbloader.img"]);
    assert!(said.contains("Init Data Size: 6144 bytes"), "{said}");
    assert!(said.contains("Boot Data Size: 10240 bytes"), "{said}");
}

#[test]
fn every_bit_of_an_id_block_that_is_used_is_guarded() {
    let whole = Workshop::new().id_block();
    let parse = |bytes: &[u8]| IdBlock::parse(bytes).map(|block| block.images);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        parse(&bytes)
    };
    assert_eq!(flipped(0), Err(IdBlockError::Magic));
    assert_eq!(flipped(8), Err(IdBlockError::Header));
    // The kind of hash, and the bits above it, which say that the block is signed.
    for at in 12..16 {
        assert_eq!(flipped(at), Err(IdBlockError::Header), "{at}");
    }
    let mut signed = whole.clone();
    signed[12] |= 0x10;
    assert_eq!(parse(&signed), Err(IdBlockError::Header));
    assert_eq!(flipped(4), Err(IdBlockError::HeaderHash));
    assert_eq!(flipped(0x5ff), Err(IdBlockError::HeaderHash));
    assert_eq!(flipped(0x600), Err(IdBlockError::HeaderHash));
    assert_eq!(flipped(2048), Err(IdBlockError::ImageHash(1)));
    assert_eq!(flipped(8192), Err(IdBlockError::ImageHash(2)));
    assert_eq!(flipped(whole.len() - 1), Err(IdBlockError::ImageHash(2)));
    for length in [4, 2047, 2048, 8191, whole.len() - 1] {
        let error = parse(&whole[..length]).expect_err("cut off");
        assert!(
            matches!(error, IdBlockError::CutOff { .. }),
            "{length}: {error}"
        );
    }
    assert_eq!(parse(&[0xff; 4096]), Err(IdBlockError::Magic));
    assert_eq!(parse(&[]), Err(IdBlockError::Magic));
}

#[test]
fn the_spi_image_and_the_card_image_are_read() {
    let shop = Workshop::new();
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    for (bytes, medium) in [
        (shop.spi(&fit), Medium::Spi),
        (shop.card(&fit), Medium::Card),
    ] {
        let image = Image::parse(bytes.clone(), medium).expect("an image");
        assert_eq!(image.bytes(), bytes);
        assert_eq!(image.boards(), ["radxa,rock-5b"]);
        assert_eq!(image.fit().configurations, ["rk3588-rock-5b.dtb"]);
        assert_eq!(image.boot_targets().expect("an order").join(" "), MAINLINE);
        assert_eq!(image.is_nvme_first(), Ok(false));
        assert_eq!(image.validate_for(board("rock5b")), Ok(()));
        let error = image
            .validate_for(board("rpi5"))
            .expect_err("another board");
        assert_eq!(
            error.to_string(),
            "it is for radxa,rock-5b, not for raspberrypi,5-model-b"
        );
    }
}

/// The file is written to sector 64, and the first partition begins at 16 MiB.
#[test]
fn the_card_s_image_ends_before_the_first_partition() {
    assert_eq!(64 * 512 + Medium::Card.limit(), 16 << 20);
}

#[test]
fn what_a_failed_test_shows_of_an_image_is_short() {
    let shown = format!("{:?}", spi(Workshop::new().rock5b_spi(MAINLINE)));
    assert!(
        shown.contains("medium: Spi") && shown.len() < 100,
        "{shown}"
    );
    let shown = format!("{:?}", gild_boards::rpi_eeprom::Image::parse(eeprom_2712()));
    assert!(
        shown.contains("chip: Bcm2712") && shown.len() < 2000,
        "{shown}"
    );
}

#[test]
fn a_file_for_another_board_is_refused() {
    let shop = Workshop::new();
    let for_plus = r#""radxa,rock-5b-plus", "rockchip,rk3588""#;
    let fit = shop.fit(
        &Workshop::u_boot(MAINLINE),
        for_plus,
        &FitSettings::default(),
    );
    let error = spi(shop.spi(&fit))
        .validate_for(board("rock5b"))
        .expect_err("another board");
    assert!(matches!(error, Rk3588Error::WrongBoard { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let shop = Workshop::new();
    let whole = shop.rock5b_spi(MAINLINE);
    let parse = |bytes: &[u8]| Image::parse(bytes.to_vec(), Medium::Spi);
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        parse(&bytes).expect_err("damaged")
    };
    assert!(matches!(
        damaged(0x8000),
        Rk3588Error::IdBlock { at: 0x8000, .. }
    ));
    assert!(matches!(
        damaged(0x6_0000),
        Rk3588Error::Fit { at: 0x6_0000, .. }
    ));
    let in_data = damaged(whole.len() - 50);
    let Rk3588Error::Fit { source, .. } = &in_data else {
        panic!("{in_data}")
    };
    assert!(matches!(source, FitError::Hash { .. }), "{in_data}");
    let cut = parse(&whole[..whole.len() - 4]).expect_err("cut off");
    let Rk3588Error::Fit { source, .. } = &cut else {
        panic!("{cut}")
    };
    assert!(matches!(source, FitError::CutOff { .. }), "{cut}");
    assert!(matches!(
        parse(&whole[..0x6_0000]),
        Err(Rk3588Error::Fit { .. })
    ));
    assert!(matches!(parse(&[]), Err(Rk3588Error::IdBlock { .. })));
    let mut long = whole.clone();
    long.resize(16 << 20, 0xff);
    parse(&long).expect("what a whole flash holds");
    long.push(0xff);
    assert!(matches!(parse(&long), Err(Rk3588Error::TooLong { .. })));
    // The card's file has its parts at other places, and the flash's file does not work on the card.
    assert!(Image::parse(whole, Medium::Card).is_err());
}

#[test]
fn an_image_without_a_hash_that_can_be_checked_is_refused() {
    let shop = Workshop::new();
    let sha1 = FitSettings {
        algorithm: "sha1",
        ..FitSettings::default()
    };
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &sha1);
    let error = Image::parse(shop.spi(&fit), Medium::Spi).expect_err("sha1 alone");
    let Rk3588Error::Fit { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(source, FitError::Unchecked(_)), "{error}");

    // No hash at all: the former hash is a node of another kind.
    let mut bytes = shop.rock5b_spi(MAINLINE);
    let name = bytes.windows(5).position(|text| text == b"hash\0");
    bytes[name.expect("a hash")] = b'm';
    let error = Image::parse(bytes, Medium::Spi).expect_err("one has none");
    assert!(error.to_string().contains("has no hash"), "{error}");
}

#[test]
fn an_id_block_that_reaches_into_the_fit_is_refused() {
    let shop = Workshop::new();
    shop.write("spl", vec![1; 0x5_0000]);
    shop.write("tpl", vec![2; 0xa000]);
    let mut image = vec![0xff; 0x8000];
    image.extend(shop.id_block());
    let error = Image::parse(image, Medium::Spi).expect_err("overlap");
    assert!(matches!(error, Rk3588Error::Overlap(_)), "{error}");
    // One that ends where the FIT begins is as long as it may be.
    shop.write("spl", vec![1; 0x4_f800]);
    shop.write("tpl", vec![2; 0x8000]);
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    assert_eq!(0x8000 + shop.id_block().len(), 0x6_0000);
    spi(shop.spi(&fit));
}

/// Wherever mkimage puts the data and however it hashes it: what a changed boot order makes of the file is what mkimage
/// makes of a U-Boot that was built with that order.
#[test]
fn a_changed_boot_order_gives_the_file_that_a_build_would_give() {
    let shop = Workshop::new();
    for placement in [
        vec!["-E"],
        vec!["-E", "-p", "0x2000"],
        vec!["-E", "-B", "0x200"],
        vec![],
    ] {
        for algorithm in ["sha256", "crc32"] {
            let settings = FitSettings {
                algorithm,
                placement: placement.clone(),
                ..FitSettings::default()
            };
            let make =
                |order: &str| shop.spi(&shop.fit(&Workshop::u_boot(order), ROCK5B, &settings));
            let before = make(MAINLINE);
            let built = make(WANTED);
            assert_ne!(before, built);
            let changed = spi(before.clone())
                .with_boot_targets(&NVME_FIRST)
                .expect("changed");
            assert!(changed.bytes() == built, "{placement:?} {algorithm}");
            assert_eq!(spi(built), changed);
            assert_eq!(changed.is_nvme_first(), Ok(true));
            let mainline: Vec<&str> = MAINLINE.split(' ').collect();
            let back = changed.with_boot_targets(&mainline).expect("changed back");
            assert!(back.bytes() == before, "{placement:?} {algorithm}");
        }
    }
}

#[test]
fn mkimage_and_dumpimage_read_the_changed_file() {
    let shop = Workshop::new();
    let changed = spi(shop.rock5b_spi(MAINLINE))
        .with_boot_targets(&NVME_FIRST)
        .expect("changed");
    shop.write("changed.itb", &changed.bytes()[0x6_0000..]);
    let u_boot = Workshop::u_boot(WANTED);
    let said = shop.run("mkimage", ["-l", "changed.itb"]);
    assert!(
        said.contains(&format!("Hash value:   {}", sha256(&u_boot))),
        "{said}"
    );
    // Image 2 is U-Boot: images lie in the order of the source.
    shop.run(
        "dumpimage",
        ["-T", "flat_dt", "-p", "0", "-o", "extracted", "changed.itb"],
    );
    assert!(shop.read("extracted") == u_boot);
}

#[test]
fn a_boot_order_that_cannot_be_changed_safely_is_refused() {
    let shop = Workshop::new();
    let make =
        |u_boot: &[u8], settings: &FitSettings| spi(shop.spi(&shop.fit(u_boot, ROCK5B, settings)));
    let plain = FitSettings::default();
    let once = Workshop::u_boot(MAINLINE);
    let refusal = |image: &Image| {
        image
            .with_boot_targets(&NVME_FIRST)
            .map(|_| ())
            .expect_err("refused")
    };

    assert_eq!(
        refusal(&make(&[once.clone(), once.clone()].concat(), &plain)),
        BootTargetsError::NotOne(2)
    );
    assert_eq!(
        refusal(&make(&pattern(3000), &plain)),
        BootTargetsError::NotOne(0)
    );

    let gzip = FitSettings {
        compression: "gzip",
        ..plain.clone()
    };
    for u_boot in [&pattern(3000), &once] {
        let error = refusal(&make(u_boot, &gzip));
        assert!(
            matches!(error, BootTargetsError::Compressed { .. }),
            "{error}"
        );
    }

    let signed = FitSettings {
        extra: "signature { algo = \"sha256,rsa2048\"; };",
        ..plain.clone()
    };
    assert_eq!(refusal(&make(&once, &signed)), BootTargetsError::Signed);

    let sha1 = FitSettings {
        extra: "hash-2 { algo = \"sha1\"; };",
        ..plain.clone()
    };
    let error = refusal(&make(&once, &sha1));
    assert!(
        matches!(error, BootTargetsError::Algorithm { .. }),
        "{error}"
    );

    // Not a variable, but the end of a longer name.
    let longer =
        String::from_utf8_lossy(&once[3000..3100]).replace("\0boot_targets", "_boot_targets");
    assert_eq!(
        refusal(&make(longer.as_bytes(), &plain)),
        BootTargetsError::Value
    );
    for list in ["", "mmc1  mmc0", "mmc1 mmc1", "mmc1\tmmc0"] {
        assert_eq!(
            refusal(&make(&Workshop::u_boot(list), &plain)),
            BootTargetsError::Value,
            "{list:?}"
        );
    }

    let image = make(&once, &plain);
    let error = image
        .with_boot_targets(&["nvme", "sata"])
        .expect_err("an unknown name");
    assert_eq!(
        error.to_string(),
        format!("it cannot boot from `sata`: it knows {MAINLINE}")
    );
    let error = image
        .with_boot_targets(&["nvme", "nvme"])
        .expect_err("named twice");
    assert_eq!(error, BootTargetsError::Twice("nvme".to_owned()));
}

/// Where two images share their bytes, a change in one would make the other's hash wrong.
#[test]
fn an_order_that_two_images_share_is_not_changed() {
    let shop = Workshop::new();
    let u_boot = Workshop::u_boot(MAINLINE);
    shop.write("spl", &u_boot);
    let mut fit = shop.fit(&u_boot, ROCK5B, &FitSettings::default());
    shop.write("spl", pattern(100));
    let behind = u32::try_from(u_boot.len().next_multiple_of(4)).expect("a size");
    let places: Vec<usize> = (0..1600)
        .filter(|at| fit[*at..at + 4] == behind.to_be_bytes())
        .collect();
    assert_eq!(places.len(), 1, "the second image's data-offset");
    fit[places[0]..places[0] + 4].fill(0);
    let unused = fit.windows(13).rposition(|text| text == b"boot_targets=");
    fit[unused.expect("the second image's own copy")] = b'B';
    let image = spi(shop.spi(&fit));
    assert_eq!(image.boot_targets().expect("one order").join(" "), MAINLINE);
    assert_eq!(
        image.with_boot_targets(&NVME_FIRST),
        Err(BootTargetsError::Outside)
    );
}

#[test]
fn the_order_outside_the_fit_is_not_touched() {
    let shop = Workshop::new();
    let fit = shop.fit(&pattern(3000), ROCK5B, &FitSettings::default());
    let mut bytes = shop.spi(&fit);
    bytes.extend(Workshop::u_boot(MAINLINE));
    assert_eq!(spi(bytes).boot_targets(), Err(BootTargetsError::Outside));
}

/// A flash that came with the vendor's image has its U-Boot at 8 MiB.
#[test]
fn what_an_earlier_u_boot_left_behind_the_fit_does_not_count() {
    let shop = Workshop::new();
    let mut flash = shop.rock5b_spi(WANTED);
    flash.resize(0x80_0000, 0xff);
    flash.extend(shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default()));
    let image = spi(flash.clone());
    assert_eq!(image.boot_targets().expect("one order").join(" "), WANTED);
    assert_eq!(image.is_nvme_then_card(), Ok(true));
    let changed = image
        .with_boot_targets(&["mmc1", "nvme"])
        .expect("an order");
    assert!(changed.bytes()[0x80_0000..] == flash[0x80_0000..]);

    // In the U-Boot itself nobody could say which one counts.
    let twice = [Workshop::u_boot(MAINLINE), Workshop::u_boot(WANTED)].concat();
    let fit = shop.fit(&twice, ROCK5B, &FitSettings::default());
    let error = spi(shop.spi(&fit)).boot_targets();
    assert_eq!(error, Err(BootTargetsError::NotOne(2)));
}

#[test]
fn an_order_is_complete_if_the_card_comes_after_the_disk() {
    let shop = Workshop::new();
    for (order, is_complete) in [
        ("nvme mmc1 mmc0", true),
        ("nvme usb mmc1", true),
        ("nvme mmc usb", true),
        ("mmc1 nvme", false),
        ("nvme", false),
        ("nvme mmc0 usb", false),
    ] {
        let image = spi(shop.rock5b_spi(order));
        assert_eq!(image.is_nvme_then_card(), Ok(is_complete), "{order}");
    }
}

#[test]
fn a_space_at_the_end_of_the_order_stays() {
    let shop = Workshop::new();
    let image = spi(shop.rock5b_spi("mmc1 mmc0 nvme "));
    let changed = image.with_boot_targets(&["nvme"]).expect("changed");
    assert!(changed.bytes() == shop.rock5b_spi("nvme mmc1 mmc0 "));
}

#[test]
fn a_device_tree_alone_is_no_fit() {
    let shop = Workshop::new();
    shop.fit(&pattern(10), ROCK5B, &FitSettings::default());
    assert_eq!(Fit::parse(&shop.read("board.dtb")), Err(FitError::NoImages));
}

#[test]
fn a_tree_too_deep_to_be_one_is_refused() {
    let shop = Workshop::new();
    for (depth, is_good) in [(28, true), (40, false)] {
        let nested = "n { ".repeat(depth) + &"}; ".repeat(depth);
        shop.write(
            "deep.dts",
            format!("/dts-v1/; / {{ images {{ {nested} }}; }};"),
        );
        shop.run("dtc", ["-q", "-O", "dtb", "-o", "deep.dtb", "deep.dts"]);
        let error = Fit::parse(&shop.read("deep.dtb")).expect_err("nothing in it");
        let is_refused = matches!(error, FitError::DeviceTree(_));
        assert_eq!(is_refused, !is_good, "{depth}: {error}");
    }
}

/// Real device trees break the specification's rules for names; U-Boot still carries them.
#[test]
fn names_that_the_specification_forbids_are_read() {
    let shop = Workshop::new();
    let dts = "/dts-v1/; / { a-node-whose-name-is-longer-than-31-characters { p_q?r-longer-than-31-characters-too = <1>; }; };";
    shop.write("odd.dts", dts);
    let status = Command::new("dtc")
        .args(["-q", "-f", "-O", "dtb", "-o", "spl", "odd.dts"])
        .current_dir(shop.path())
        .status()
        .expect("dtc (make setup installs it)");
    assert!(status.success());
    let odd = shop.read("spl");
    let settings = FitSettings::default();
    let fit = shop.fit(&odd, ROCK5B, &settings);
    assert_eq!(Fit::parse(&fit).expect("a FIT").images.len(), 3);
}

/// The two files of one build, as binman makes them: one program of each holds where in its file the FIT is, at
/// these places: the SPL does.
fn files_of_one_build(program: &str, places: &[usize]) -> [Image; 2] {
    let shop = Workshop::new();
    let before = shop.read(program);
    let with = |position: u32| {
        let mut bytes = before.clone();
        for place in places {
            bytes[*place..place + 4].copy_from_slice(&position.to_le_bytes());
        }
        shop.write(program, bytes);
    };
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    with(0x6_0000);
    let flash = shop.spi(&fit);
    with(0x7f_8000);
    let card = shop.card(&fit);
    [
        spi(flash),
        Image::parse(card, Medium::Card).expect("a card image"),
    ]
}

/// As seen in mainline's files: the hash of the second program, the hash of the header, and two bytes of the place.
#[test]
fn the_two_files_of_one_build_have_one_loader() {
    let [flash, card] = files_of_one_build("spl", &[0x1ee0]);
    let loaders = flash.bytes()[0x8000..].iter().zip(card.bytes());
    let different: Vec<usize> = loaders
        .take(flash.id_block().length)
        .enumerate()
        .filter(|(_, (one, other))| one != other)
        .map(|(at, _)| at)
        .collect();
    let is_hash = |at: &usize| (0xe8..0x108).contains(at) || (0x600..0x620).contains(at);
    let others: Vec<usize> = different
        .iter()
        .copied()
        .filter(|at| !is_hash(at))
        .collect();
    assert_eq!(others, [0x2000 + 0x1ee1, 0x2000 + 0x1ee2]);
    assert!(different.len() > 50, "the hashes differ too");
    assert!(flash.has_loader_of(&card) && card.has_loader_of(&flash));
    let [flash, card] = files_of_one_build("tpl", &[0x100]);
    assert!(
        flash.has_loader_of(&card),
        "the hash of the first program differs"
    );
}

#[test]
fn any_other_difference_is_another_loader() {
    // Not a number of the program: it is not at a multiple of its length.
    let [flash, card] = files_of_one_build("spl", &[0x1ee2]);
    assert!(!flash.has_loader_of(&card));
    // The place of one file against something else in the other.
    let [flash, card] = files_of_one_build("spl", &[0x1ee0]);
    let plain = Workshop::new();
    let fit = plain.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    let plain_card = Image::parse(plain.card(&fit), Medium::Card).expect("a card image");
    assert!(!flash.has_loader_of(&plain_card));
    assert!(!card.has_loader_of(&spi(plain.spi(&fit))));
    // More of them than any program has.
    let [flash, card] = files_of_one_build("spl", &[0, 8, 16, 24]);
    assert!(flash.has_loader_of(&card));
    let [flash, card] = files_of_one_build("spl", &[0, 8, 16, 24, 32]);
    assert!(!flash.has_loader_of(&card));

    let shop = Workshop::new();
    let fit = shop.fit(&Workshop::u_boot(MAINLINE), ROCK5B, &FitSettings::default());
    let flash = spi(shop.spi(&fit));
    let program = |name: &str| {
        let bytes = shop.read(name);
        let same = Image::parse(shop.card(&fit), Medium::Card).expect("a card image");
        assert!(flash.has_loader_of(&same), "{name}");
        for (changed, what) in [
            ([&[bytes[0] ^ 1], &bytes[1..]].concat(), "one bit"),
            ([&bytes[..], &[0; 4096]].concat(), "a longer one"),
            (bytes[1..].to_vec(), "a shorter one"),
            (
                [&0x7f_8000_u32.to_le_bytes(), &bytes[4..]].concat(),
                "a place against something else",
            ),
        ] {
            shop.write(name, changed);
            let card = Image::parse(shop.card(&fit), Medium::Card).expect("a card image");
            assert!(!flash.has_loader_of(&card), "{name}: {what}");
        }
        shop.write(name, bytes);
    };
    program("tpl");
    program("spl");
}
