//! Which board this is, from the bytes of the device tree's `compatible`.

use crate::{Board, Relative, all};

/// The device tree names no board that is supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: its device tree says compatible = {}; supported are {}",
    headline(*.relative),
    shown(.seen),
    shown(&all().iter().map(|board| board.identity().to_owned()).collect::<Vec<_>>())
)]
pub struct UnknownBoard {
    /// The entries of `compatible`, with what is not printable escaped.
    pub seen: Vec<String>,
    /// The product, if gild knows it, and the supported board that it is easily confused with.
    pub relative: Option<(&'static Relative, &'static Board)>,
}

/// Finds the board whose identity is an entry of `compatible`: the content of `/proc/device-tree/compatible`,
/// a list of NUL-terminated strings, most specific first.
///
/// Entries match whole or not at all: `radxa,rock-5b-plus` is not a `radxa,rock-5b`.
pub fn detect(compatible: &[u8]) -> Result<&'static Board, UnknownBoard> {
    let entries = || {
        compatible
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
    };
    entries()
        .find_map(|entry| {
            all()
                .iter()
                .find(|board| board.identity().as_bytes() == entry)
        })
        .ok_or_else(|| UnknownBoard {
            seen: entries()
                .map(|entry| entry.escape_ascii().to_string())
                .collect(),
            relative: entries().find_map(relative),
        })
}

/// The product with this entry of `compatible`.
fn relative(entry: &[u8]) -> Option<(&'static Relative, &'static Board)> {
    all().iter().find_map(|board| {
        let mut relatives = board.relatives.iter();
        let found = relatives.find(|relative| relative.compatible.as_bytes() == entry)?;
        Some((found, board))
    })
}

fn headline(relative: Option<(&Relative, &Board)>) -> String {
    match relative {
        Some((product, board)) => format!(
            "this is a {}, and gild supports the {} only",
            product.model, board.model
        ),
        None => "this board is not supported".to_owned(),
    }
}

fn shown(entries: &[String]) -> String {
    match entries {
        [] => "nothing".to_owned(),
        _ => entries
            .iter()
            .map(|entry| format!("\"{entry}\""))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(compatible: &[u8]) -> Option<&'static str> {
        detect(compatible).ok().map(|board| board.name.as_str())
    }

    #[test]
    fn the_boards_are_known_by_what_their_device_trees_say() {
        assert_eq!(
            name_of(b"raspberrypi,5-model-b\0brcm,bcm2712\0"),
            Some("rpi5")
        );
        assert_eq!(name_of(b"radxa,rock-5b\0rockchip,rk3588\0"), Some("rock5b"));
    }

    #[test]
    fn the_last_terminator_may_be_missing() {
        assert_eq!(name_of(b"radxa,rock-5b"), Some("rock5b"));
        assert_eq!(
            name_of(b"vendor,carrier\0raspberrypi,5-model-b"),
            Some("rpi5")
        );
    }

    #[test]
    fn a_relative_with_a_longer_or_shorter_name_is_another_board() {
        for other in [
            &b"radxa,rock-5b-plus\0rockchip,rk3588\0"[..],
            b"radxa,rock-5\0rockchip,rk3588\0",
            b"radxa,rock-5b \0",
            b"Radxa,Rock-5B\0",
            b"xradxa,rock-5b\0",
            b"raspberrypi,5-compute-module\0brcm,bcm2712\0",
            b"raspberrypi,4-model-b\0brcm,bcm2711\0",
        ] {
            assert_eq!(name_of(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn the_shared_processor_alone_is_no_board() {
        assert_eq!(name_of(b"brcm,bcm2712\0"), None);
        assert_eq!(name_of(b"rockchip,rk3588\0"), None);
    }

    #[test]
    fn garbage_is_an_unknown_board() {
        for garbage in [
            &b""[..],
            b"\0",
            b"\0\0\0\0",
            b"\xff\xfe\0\x80radxa,rock-5b\0",
            b"radxa,rock-5b\n\0",
        ] {
            assert_eq!(name_of(garbage), None, "{}", garbage.escape_ascii());
        }
        let long = vec![b'a'; 1 << 20];
        assert_eq!(name_of(&long), None);
    }

    #[test]
    fn an_unknown_board_says_what_was_seen_and_what_is_supported() {
        let error = detect(b"linux,dummy-virt\0\xff\0").expect_err("no such board");
        assert_eq!(error.seen, ["linux,dummy-virt", "\\xff"]);
        assert_eq!(
            error.to_string(),
            "this board is not supported: its device tree says compatible = \"linux,dummy-virt\", \"\\xff\"; \
             supported are \"raspberrypi,5-model-b\", \"radxa,rock-5b\""
        );
        assert!(
            detect(b"")
                .expect_err("nothing")
                .to_string()
                .contains("compatible = nothing;")
        );
    }
    #[test]
    fn a_product_that_is_easily_taken_for_a_board_is_named() {
        for (compatible, sentence) in [
            (
                &b"raspberrypi,5-compute-module\0brcm,bcm2712\0"[..],
                "this is a Raspberry Pi Compute Module 5, and gild supports the Raspberry Pi 5 only: ",
            ),
            (
                b"raspberrypi,500\0brcm,bcm2712\0",
                "this is a Raspberry Pi 500, and gild supports the Raspberry Pi 5 only: ",
            ),
            (
                b"radxa,rock-5b-plus\0rockchip,rk3588\0",
                "this is a Radxa ROCK 5B+, and gild supports the Radxa ROCK 5B only: ",
            ),
            (
                b"radxa,rock-5t\0rockchip,rk3588\0",
                "this is a Radxa ROCK 5T, and gild supports the Radxa ROCK 5B only: ",
            ),
        ] {
            let error = detect(compatible).expect_err("another product").to_string();
            assert!(error.starts_with(sentence), "{error}");
            assert!(error.contains("its device tree says"), "{error}");
        }
    }
}
