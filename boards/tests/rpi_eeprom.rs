//! The Raspberry Pi's EEPROM image. The digests were taken from what the vendor's own `rpi-eeprom-config` made of the
//! same inputs; the inputs are stand-ins, made from the documented format.

use gild_boards::rpi_eeprom::{
    BootOrder, Chip, EepromError, Image, NVME_FIRST, SectionKind, Signature, SignatureError,
    set_keys,
};
use gild_boards_testkit::*;

const WANTED: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n";
const TIME: u32 = 1_750_000_000;

fn parse(bytes: Vec<u8>) -> Image {
    Image::parse(bytes).expect("an image")
}

#[test]
fn the_stand_ins_are_those_that_the_vendor_s_tool_was_given() {
    for (bytes, digest) in [
        (
            eeprom_2712(),
            "9b969b19274742bc60e1305913f011e2c9277d78868f5fdc16c3146d38324475",
        ),
        (
            eeprom_2711(),
            "f0cacfe04ff1f9ddbca3ae762c9b4d40d56bee74f4df7dca9010665ffbe6db56",
        ),
        (
            eeprom_ab(),
            "edcc6d9f4295e5a4bcebb9d670a3b7124164c51f4a1bcd1edbc7ac4646f076d4",
        ),
    ] {
        assert_eq!(sha256(&bytes), digest);
    }
}

/// An image, the length of a configuration of so many `x`, or [`WANTED`], and the time.
type Vector = (fn() -> Vec<u8>, Option<usize>, Option<u32>, &'static str);

#[rustfmt::skip]
const VECTORS: [Vector; 14] = [
    (eeprom_2712, None, None, "74df175f7ba695ca577d8b2cb3fb6735fbdec8f6a3c97d778817ecce7b1404cc"),
    (eeprom_2712, None, Some(TIME), "a1505b741532c00a05e15b2a45615d17695ab07616e255081c0c06147dbf62ef"),
    (eeprom_2712, Some(0), None, "71ade08a25bea2184afb67a49f406d29e7f24104a185ca1534279b84d848e902"),
    (eeprom_2712, Some(4072), None, "056a42463db8fe4dbf28c3c44001f8f5f58e76b3d92d8e88cfa38422015a4e42"),
    (eeprom_2712, Some(4076), None, "15ffab99ed489b8624d590c285a8c78022b01fecce617bd841992243f5d5b502"),
    (eeprom_2711, None, None, "e4d9bca82c42ba8bfe705fb0532605453f35b32a139240dc0d1dd1eb439a66ee"),
    (eeprom_2711, None, Some(TIME), "0365b62be56b442e3c92fb8ae52f9f5fdeebe6be4ced46150351da3010076194"),
    (eeprom_2711, Some(4072), None, "d11458274d9ffc230886be2a6c785f7f794faa1f9eb4b657831f3aebada5dc5c"),
    (eeprom_ab, None, None, "bcc5474663c16838d18a2ccb5447959fd3e96a434d54dc645d5eaa87a06e2189"),
    (eeprom_ab, None, Some(TIME), "6b8678b3bdb9239fef8e0ba2a444a1a3aa12efed83da3d36343cfc2686d1e5bb"),
    (eeprom_ab, Some(0), None, "e316f292729d12cff60cad8660cef25b8243457b3ace23889ed8561bfaabe64f"),
    (eeprom_ab, Some(4072), None, "c58e6c1f2f2bf5932b940b28f8476eda80e8d4cc5266bf0f04414babc2564f33"),
    (eeprom_ab, Some(4076), None, "7f029a6bdf9936d082f213cfc0f915f8955c687c7dc55ba2a9273a895203cb49"),
    (eeprom_ab, Some(4076), Some(TIME), "f8d7628917f0d055d24263474b3600e6357991a60ffbd176a8a9e5632a815e03"),
];

#[test]
fn a_new_configuration_gives_what_the_vendor_s_tool_gives() {
    for (number, (image, length, time, digest)) in VECTORS.into_iter().enumerate() {
        let config = length.map_or(WANTED.to_owned(), |length| "x".repeat(length));
        let mut image = parse(image());
        image
            .set_config(config.as_bytes())
            .expect("a configuration");
        if let Some(time) = time {
            image.set_timestamp(time).expect("a time");
        }
        assert_eq!(sha256(image.bytes()), digest, "vector {number}");
        assert_eq!(image.config(), Ok(config.as_bytes()));
        assert_eq!(image.timestamp(), time);
        assert_eq!(parse(image.bytes().to_vec()), image);
    }
}

#[test]
fn the_configuration_that_is_there_gives_the_same_image_and_a_long_one_leaves_no_trace() {
    for bytes in [eeprom_2712(), eeprom_2711(), eeprom_ab()] {
        let mut image = parse(bytes.clone());
        image.set_config(CONFIG.as_bytes()).expect("its own");
        assert_eq!(image.bytes(), bytes);
        image.set_config(&[b'#'; 4076]).expect("a long one");
        image.set_config(CONFIG.as_bytes()).expect("its own");
        assert_eq!(image.bytes(), bytes);
    }
}

#[test]
fn only_the_configuration_and_the_time_change() {
    let before = eeprom_2712();
    let mut image = parse(before.clone());
    image
        .set_config(WANTED.as_bytes())
        .expect("a configuration");
    let changed = |after: &[u8]| -> (usize, usize) {
        let differ = |at: &usize| before[*at] != after[*at];
        let first = (0..before.len()).find(differ).expect("a change");
        (first, (0..before.len()).rfind(differ).expect("a change"))
    };
    assert_eq!(changed(image.bytes()), (0x9_7007, 0x9_7048));
    image.set_timestamp(TIME).expect("a time");
    assert_eq!(changed(image.bytes()).1, before.len() - 1);
}

#[test]
fn the_sections_are_those_that_were_written() {
    let image = parse(eeprom_ab());
    assert_eq!(image.chip(), Chip::Bcm2712);
    assert!(image.is_ab() && !image.is_live() && !image.is_signed());
    let seen: Vec<_> = image
        .sections()
        .iter()
        .map(|s| (s.offset, s.kind.clone()))
        .collect();
    let named = |name: &str| SectionKind::File(name.to_owned());
    assert_eq!(
        seen,
        [
            (0, SectionKind::Bootcode),
            (0x1000, named("updatetime")),
            (0x1020, SectionKind::Padding),
            (0x1_0000, named("bootsys")),
            (0x1_1000, SectionKind::Module),
            (0x9_0000, named("updatetime")),
            (0x9_0020, SectionKind::Padding),
            (0x9_7000, named("bootconf.txt")),
            (0x9_7040, SectionKind::Padding),
            (0x10_7000, SectionKind::Padding),
        ]
    );
    assert_eq!(image.file("bootsys"), Some(&pattern(0xfe8)[..]));
    assert_eq!(image.file("pubkey.bin"), None);
    assert_eq!(parse(eeprom_2711()).chip(), Chip::Bcm2711);
    let chips = [eeprom_2711(), eeprom_2712()].map(|bytes| parse(bytes).chip().name());
    assert_eq!(chips, ["bcm2711", "bcm2712"], "as in the device tree");
    assert!(Image::begins(&eeprom_2712()[..4]), "whole or not");
    assert!(!Image::begins(b"boot") && !Image::begins(&[]));
    assert!(!parse(eeprom_2712()).is_ab());
}

#[test]
fn versions_are_read_where_they_are_unambiguous() {
    let mut bytes = eeprom_2712();
    assert_eq!(parse(bytes.clone()).build_timestamp(), None);
    let mut write = |at: usize, text: &str| {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        parse(bytes.clone())
    };
    let image = write(0x2000, "BUILD_TIMESTAMP=1779807685\0MFG_VER: 7\n");
    assert_eq!(image.build_timestamp(), Some(1_779_807_685));
    assert_eq!(image.mfg_version(), Some(7));
    let image = write(0x3000, "BUILD_TIMESTAMP=1779807686\0");
    assert_eq!(
        image.build_timestamp(),
        None,
        "which of two versions counts is not known"
    );
}

#[test]
fn what_is_no_whole_image_is_refused() {
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = eeprom_2712();
        change(&mut bytes);
        Image::parse(bytes).expect_err("a damaged image")
    };
    assert_eq!(Image::parse(Vec::new()), Err(EepromError::Size(0)));
    assert_eq!(broken(&|b| b.truncate(1 << 20)), EepromError::Size(1 << 20));
    assert_eq!(broken(&|b| b.fill(0xff)), EepromError::NoBootcode);
    assert_eq!(broken(&|b| b.fill(0)), EepromError::NoBootcode);
    assert_eq!(broken(&|b| b[0] = 0), EepromError::NoBootcode);
    let padding_first = |b: &mut Vec<u8>| section(b, 0, PADDING, 0xff8, &[]);
    assert_eq!(broken(&padding_first), EepromError::NoBootcode);
    assert_eq!(
        broken(&|b| b[0x1000] = 0x54),
        EepromError::Magic {
            offset: 0x1000,
            magic: 0x54aa_f33f
        }
    );
    let too_long = |b: &mut Vec<u8>| b[0x9_7004] = 0x7f;
    assert!(matches!(
        broken(&too_long),
        EepromError::Length {
            offset: 0x9_7000,
            ..
        }
    ));
    let too_short = |b: &mut Vec<u8>| section(b, 0x9_7000, FILE, 15, &[]);
    assert!(matches!(
        broken(&too_short),
        EepromError::Length {
            offset: 0x9_7000,
            ..
        }
    ));
    assert_eq!(broken(&|b| b[0x9_7008] = 0x07), EepromError::Name(0x9_7000));
    let many = |b: &mut Vec<u8>| {
        for offset in (0x1000..0x8000).step_by(8) {
            section(b, offset, PADDING, 0, &[]);
        }
    };
    assert_eq!(broken(&many), EepromError::TooManySections(1024));
}

#[test]
fn an_edit_that_would_do_harm_is_refused_and_changes_nothing() {
    let refused = |bytes: Vec<u8>, config: &[u8], error: EepromError| {
        let mut image = parse(bytes.clone());
        assert_eq!(image.set_config(config), Err(error));
        assert_eq!(image.bytes(), bytes);
    };
    refused(
        eeprom_2712(),
        &[b'x'; 4077],
        EepromError::ConfigTooLong(4077),
    );

    let mut no_config = eeprom_2712();
    no_config[0x9_7008..0x9_7010].copy_from_slice(b"bootfoot");
    refused(no_config, b"", EepromError::NoConfig);

    // The vendor's tool looks for it in this part of the image only.
    let mut low = eeprom_2712();
    section(&mut low, 0x1000, MODULE, 0x1ff8, &[]);
    file(&mut low, 0x3000, "bootconf.txt", CONFIG.as_bytes());
    low[0x3040..].fill(0xff);
    refused(low, b"", EepromError::NoConfig);

    // A file behind the configuration stays where it is.
    let mut tight = eeprom_2712();
    file(&mut tight, 0x9_7040, "cacert.der", b"certificate");
    refused(
        tight.clone(),
        &[b'x'; 41],
        EepromError::ConfigDoesNotFit {
            length: 41,
            room: 40,
        },
    );
    let mut image = parse(tight);
    image.set_config(&[b'x'; 40]).expect("as much as fits");
    assert_eq!(image.file("cacert.der"), Some(&b"certificate"[..]));

    let mut signed = eeprom_2712();
    section(&mut signed, 0x9_0120, PADDING, 0xed8, &[]);
    file(
        &mut signed,
        0x9_1000,
        "bootconf.sig",
        b"00\nts: 1\nrsa2048: abcd\n",
    );
    section(&mut signed, 0x9_1030, PADDING, 0x5fc8, &[]);
    refused(signed.clone(), b"", EepromError::Signed);
    assert_eq!(parse(signed).set_timestamp(1), Err(EepromError::Signed));
}

#[test]
fn a_dump_of_a_chip_in_use_is_read_but_not_edited() {
    let mut journal = eeprom_ab();
    journal[0x1f_e000] = 0x01;
    let mut second_half = eeprom_ab();
    file(&mut second_half, 0x10_7000, "bootsys", &pattern(0xfe8));
    section(&mut second_half, 0x10_8000, PADDING, 0xf_5ff8, &[]);
    for bytes in [journal, second_half] {
        let mut image = parse(bytes);
        assert!(image.is_live());
        assert_eq!(image.set_config(b""), Err(EepromError::LiveChip));
        assert_eq!(image.set_timestamp(1), Err(EepromError::LiveChip));
        assert_eq!(image.config(), Ok(CONFIG.as_bytes()));
    }
}

#[test]
fn an_image_in_halves_needs_both_places_for_the_time() {
    let mut bytes = eeprom_ab();
    bytes[0x9_0008] = b'U';
    assert_eq!(
        parse(bytes).set_timestamp(1),
        Err(EepromError::NoTimestamp(1))
    );
}

#[test]
fn a_section_where_the_time_belongs_is_not_overwritten() {
    let mut bytes = vec![0xff; 512 << 10];
    let last = bytes.len() - 8;
    section(&mut bytes, 0, BOOTCODE, 0xff8, &[]);
    section(&mut bytes, 0x1000, MODULE, last - 0x1008, &[]);
    section(&mut bytes, last, PADDING, 0, &[]);
    let mut image = parse(bytes.clone());
    let refused = image.set_timestamp(1);
    assert!(
        matches!(refused, Err(EepromError::Magic { offset, .. }) if offset == last),
        "{refused:?}"
    );
    assert!(image.bytes() == bytes);
}

#[test]
fn the_order_is_set_in_the_configuration_of_an_image() {
    let image = parse(eeprom_2712());
    let config = image.config().expect("one");
    assert_eq!(BootOrder::of(config), Some(BootOrder(0xf461)));
    let keys = [("BOOT_ORDER", "0xf416"), ("PCIE_PROBE", "1")];
    let wanted = set_keys(config, &keys).expect("keys");
    assert_eq!(wanted, WANTED.as_bytes());
    assert_eq!(BootOrder::of(&wanted), Some(NVME_FIRST));
}

#[test]
fn a_signature_file_is_read_and_written_as_the_vendor_s_tool_does() {
    let digest = "9b969b19274742bc60e1305913f011e2c9277d78868f5fdc16c3146d38324475";
    let signature = Signature::of(&eeprom_2712(), TIME);
    assert_eq!(signature.to_text(), format!("{digest}\nts: 1750000000\n"));
    assert!(signature.matches(&eeprom_2712()) && !signature.matches(&eeprom_ab()));
    let full = format!("{digest}\nts: 1\ntarget-soc: 2712\nrsa2048: 00ff\n");
    let parsed = Signature::parse(&full).expect("a signature");
    assert_eq!(parsed.rsa2048, Some(vec![0, 0xff]));
    assert_eq!(parsed.target_soc, Some(2712));
    assert_eq!(parsed.to_text(), full);
    assert_eq!(
        Signature::parse(digest).expect("a digest alone").timestamp,
        None
    );
    for (text, error) in [
        (String::new(), SignatureError::NoDigest),
        (digest.to_uppercase(), SignatureError::NoDigest),
        (digest[1..].to_owned(), SignatureError::NoDigest),
        (format!("{digest}\nts: now\n"), SignatureError::Value("ts")),
        (
            format!("{digest}\nts: 4294967296\n"),
            SignatureError::Value("ts"),
        ),
        (
            format!("{digest}\nrsa2048: x\n"),
            SignatureError::Value("rsa2048"),
        ),
    ] {
        assert_eq!(Signature::parse(&text), Err(error), "{text}");
    }
}
