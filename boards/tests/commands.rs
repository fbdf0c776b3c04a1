//! Which commands a U-Boot has, as far as its file shows them.

use std::fs;

use gild_boards::rk3588::{Image, Medium, ShellCommand};
use gild_boards_testkit::*;

/// What is seen of `fatrm` in both files with this U-Boot.
fn seen(u_boot: &[u8], compatible: &str, settings: &FitSettings) -> ShellCommand {
    let shop = Workshop::new();
    let fit = shop.fit(u_boot, compatible, settings);
    let [spi, card] = [
        (shop.spi(&fit), Medium::Spi),
        (shop.card(&fit), Medium::Card),
    ]
    .map(|(bytes, medium)| {
        let image = Image::parse(bytes, medium).expect("an image");
        image.command("fatrm")
    });
    assert_eq!(spi, card);
    spi
}

fn plain(u_boot: &[u8]) -> ShellCommand {
    seen(u_boot, ROCK5B, &FitSettings::default())
}

#[test]
fn a_command_is_known_or_lacking() {
    assert_eq!(plain(&Workshop::u_boot(MAINLINE)), ShellCommand::Known);
    let without = Workshop::u_boot_without_fatrm(MAINLINE);
    assert_eq!(plain(&without), ShellCommand::Lacking);
}

#[test]
fn what_only_mentions_a_command_does_not_count() {
    let without = Workshop::u_boot_without_fatrm(MAINLINE);
    for mention in [
        "\0rm=fatrm mmc 1:1 x\0",
        "\0usage: fatrm\0",
        "\0fatrm - delete a file\0",
        "\0fatrms\0",
        "\0xfatrm\0",
    ] {
        let u_boot = [&without, mention.as_bytes()].concat();
        assert_eq!(plain(&u_boot), ShellCommand::Lacking, "{mention:?}");
    }
    // A device tree is not a program.
    let tree = r#""radxa,rock-5b", "fatrm", "rockchip,rk3588""#;
    let found = seen(&without, tree, &FitSettings::default());
    assert_eq!(found, ShellCommand::Lacking);
}

#[test]
fn what_an_earlier_u_boot_left_in_the_flash_does_not_count() {
    let shop = Workshop::new();
    let without = Workshop::u_boot_without_fatrm(MAINLINE);
    let fit = shop.fit(&without, ROCK5B, &FitSettings::default());
    let flash = [shop.spi(&fit), Workshop::u_boot(MAINLINE)].concat();
    let image = Image::parse(flash, Medium::Spi).expect("an image");
    assert_eq!(image.command("fatrm"), ShellCommand::Lacking);
}

/// Nothing is concluded from bytes that only U-Boot's SPL unpacks.
#[test]
fn what_is_compressed_hides_its_commands() {
    let gzip = FitSettings {
        compression: "gzip",
        ..FitSettings::default()
    };
    let hidden = ShellCommand::Hidden {
        image: "u-boot".to_owned(),
        compression: "gzip".to_owned(),
    };
    assert_eq!(seen(&pattern(3000), ROCK5B, &gzip), hidden);
}

/// Debian's U-Boot for another board, unchanged, instead of the Rock 5B's.
#[test]
fn the_commands_of_a_real_u_boot_are_seen() {
    let path = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
    let program =
        fs::read(path).unwrap_or_else(|error| panic!("{path} (make setup installs it): {error}"));
    assert_eq!(plain(&program), ShellCommand::Known);
    let text = b"\0fatrm\0";
    let places: Vec<usize> = (0..program.len() - text.len())
        .filter(|at| program[*at..].starts_with(text))
        .collect();
    let [at] = places[..] else {
        panic!("the name is {} times in it", places.len())
    };
    let mut without = program;
    without[at + 1] = b'F';
    assert_eq!(plain(&without), ShellCommand::Lacking);
}
