//! The text of the configuration: keys, comments, and the filters that make a part of it apply to some boards only.
//!
//! It is bytes: the firmware asks for no encoding, and a comment in Latin-1 belongs to the board's settings like any other.

use std::fmt;

use memchr::memchr;
use thiserror::Error;

/// NVMe first, then the SD card, then USB, then from the start again.
pub const NVME_FIRST: BootOrder = BootOrder(0xf416);

// Digits of a boot order.
const SD_CARD: u32 = 1;
const NVME: u32 = 6;
const STOP: u32 = 0xe;
const AGAIN: u32 = 0xf;

const BOOT_ORDER: &str = "BOOT_ORDER";
/// The setting that has the firmware look for disks on adapters that do not announce themselves.
pub const PCIE_PROBE: (&str, &str) = ("PCIE_PROBE", "1");

/// The longest configuration that lies in one erase block of the chip. The vendor's tool takes four bytes more.
pub const CONFIG_MAX: usize = 4072;

/// Why a key cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Whether the key's value would apply depends on the board.
    #[error(
        "{key} is also set under [{filter}], so that its value depends on the board; take that line out of the configuration"
    )]
    Filtered {
        /// The key.
        key: String,
        /// The condition under which it is set.
        filter: String,
    },
    /// It would not fit with the keys in it.
    #[error("with the boot order set it has {0} bytes, and at most {CONFIG_MAX} fit: shorten it")]
    TooLong(usize),
}

/// A value of `BOOT_ORDER`: one hexadecimal digit for each place to boot from, the first one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOrder(pub u32);

impl BootOrder {
    /// The order in a configuration, if the order is the same for every board.
    #[must_use]
    pub fn of(config: &[u8]) -> Option<Self> {
        let is_filtered = lines(config).any(|(scope, line)| {
            matches!(scope, Scope::Filter(_))
                && assignment(line).is_some_and(|(key, _)| key == BOOT_ORDER.as_bytes())
        });
        if is_filtered {
            return None;
        }
        let text = str::from_utf8(get_key(config, BOOT_ORDER)?).ok()?;
        let order = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        order.ok().map(Self)
    }

    /// Whether the NVMe disk is tried before everything else.
    #[must_use]
    pub fn is_nvme_first(self) -> bool {
        self.0 & 0xf == NVME
    }

    /// Whether the NVMe disk is tried first and the SD card after it: what a board starts from when the disk is empty.
    #[must_use]
    pub fn is_nvme_then_card(self) -> bool {
        let mut rest = self.0 >> 4;
        while !matches!(rest & 0xf, SD_CARD | STOP | AGAIN) {
            rest >>= 4;
            if rest == 0 {
                return false;
            }
        }
        self.is_nvme_first() && rest & 0xf == SD_CARD
    }
}

impl fmt::Display for BootOrder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x} (", self.0)?;
        let mut rest = self.0;
        while rest != 0 {
            let name = match rest & 0xf {
                0 => "SD card detect",
                SD_CARD => "SD card",
                2 => "network",
                3 => "rpiboot",
                4 => "USB",
                5 => "BCM USB",
                NVME => "NVMe",
                7 => "HTTP",
                STOP => "stop",
                AGAIN => "again",
                _ => "unknown",
            };
            rest >>= 4;
            write!(out, "{name}{}", if rest == 0 { "" } else { ", " })?;
        }
        write!(out, ")")
    }
}

/// The filters above a line of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// It applies to every board.
    All,
    /// It applies to no board, or is passed on to config.txt.
    Elsewhere,
    /// It applies where this condition holds.
    Filter(Vec<u8>),
}

/// The value of a key that applies to every board: the last one wins.
#[must_use]
pub fn get_key<'a>(config: &'a [u8], key: &str) -> Option<&'a [u8]> {
    lines(config)
        .filter_map(|(scope, line)| match assignment(line) {
            Some((found, value)) if found == key.as_bytes() && scope == Scope::All => Some(value),
            _ => None,
        })
        .last()
}

/// The configuration with the NVMe disk first. A configuration that already has it first, and the card after it, keeps its
/// order, and all other settings stay.
pub fn with_nvme_first(config: &[u8]) -> Result<Vec<u8>, ConfigError> {
    let order = BootOrder::of(config).filter(|order| order.is_nvme_then_card());
    let order = format!("{:#x}", order.unwrap_or(NVME_FIRST).0);
    let text = set_keys(config, &[(BOOT_ORDER, &order), PCIE_PROBE])?;
    match text.len() {
        0..=CONFIG_MAX => Ok(text),
        length => Err(ConfigError::TooLong(length)),
    }
}

/// The configuration with these keys set for every board. All else in it stays as it is, comments too.
///
/// New keys go in front of the first section that is not for every board: whether an `[all]` behind a `[config.txt]` is
/// one of the firmware's own is not documented.
pub fn set_keys(config: &[u8], keys: &[(&str, &str)]) -> Result<Vec<u8>, ConfigError> {
    let mut missing: Vec<_> = keys.to_vec();
    let mut text = Vec::with_capacity(config.len() + 64);
    let mut place = None;
    for (scope, line) in lines(config) {
        if scope != Scope::All {
            place.get_or_insert(text.len());
        }
        let wanted = assignment(line)
            .and_then(|(found, _)| keys.iter().find(|(key, _)| key.as_bytes() == found));
        match (wanted, &scope) {
            (Some((key, _)), Scope::Filter(filter)) => {
                return Err(ConfigError::Filtered {
                    key: (*key).to_owned(),
                    filter: filter.escape_ascii().to_string(),
                });
            }
            (Some((key, value)), Scope::All) => {
                missing.retain(|(other, _)| other != key);
                put(&mut text, &[key, "=", value]);
                text.extend(end_of(line));
            }
            _ => text.extend(line),
        }
    }
    let rest = text.split_off(place.unwrap_or(text.len()));
    if text.is_empty() && !missing.is_empty() {
        put(&mut text, &["[all]\n"]);
    } else if !text.ends_with(b"\n") && !missing.is_empty() {
        put(&mut text, &["\n"]);
    }
    for (key, value) in missing {
        put(&mut text, &[key, "=", value, "\n"]);
    }
    text.extend(rest);
    Ok(text)
}

/// What gild's keys say before and after a change, for people: a line for each that differs.
#[must_use]
pub fn changes(before: &[u8], after: &[u8]) -> Vec<String> {
    let said = |config, key| {
        get_key(config, key).map_or_else(
            || "(not set)".to_owned(),
            |value| value.escape_ascii().to_string(),
        )
    };
    [BOOT_ORDER, PCIE_PROBE.0]
        .into_iter()
        .map(|key| (key, said(before, key), said(after, key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| format!("{key} {old} -> {new}"))
        .collect()
}

fn put(text: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        text.extend(word.as_bytes());
    }
}

/// What ends a line: a line feed, with a carriage return before it or without, or nothing.
fn end_of(line: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let text = line.iter().rposition(|byte| !is_end(byte));
    &line[text.map_or(0, |last| last + 1)..]
}

/// All lines with their ends, each with the filters above it.
fn lines(config: &[u8]) -> impl Iterator<Item = (Scope, &[u8])> {
    let mut scope = Scope::All;
    config
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| {
            if let Some(filter) = filter(line) {
                scope = match filter {
                    b"all" => Scope::All,
                    b"none" | b"config.txt" => Scope::Elsewhere,
                    // Filters add up until [all], so a filter below another narrows it further.
                    _ => Scope::Filter(filter.to_owned()),
                };
            }
            (scope.clone(), line)
        })
}

/// The condition in square brackets, if the line is one.
fn filter(line: &[u8]) -> Option<&[u8]> {
    let rest = line.trim_ascii().strip_prefix(b"[")?;
    let end = memchr(b']', rest)?;
    Some(&rest[..end])
}

fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    if line.starts_with(b"#") || line.starts_with(b"[") {
        return None;
    }
    let equals = memchr(b'=', line)?;
    Some((
        line[..equals].trim_ascii_end(),
        line[equals + 1..].trim_ascii_start(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [(&str, &str); 2] = [("BOOT_ORDER", "0xf416"), ("PCIE_PROBE", "1")];

    #[test]
    fn what_was_not_asked_for_is_kept() {
        let before: &[u8] = b"# ours\n[all]\nBOOT_UART=1\n  BOOT_ORDER=0xf461\r\nSOME_KEY=1\n\n[config.txt]\nBOOT_ORDER=9\n";
        let after: &[u8] = b"# ours\n[all]\nBOOT_UART=1\nBOOT_ORDER=0xf416\r\nSOME_KEY=1\n\nPCIE_PROBE=1\n[config.txt]\nBOOT_ORDER=9\n";
        assert_eq!(set_keys(before, &WANTED).as_deref(), Ok(after));
        assert_eq!(set_keys(after, &WANTED).as_deref(), Ok(after));
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        let before = b"# K\xfcche\nBOOT_ORDER=0xf41\nNAME=\xff\xfe=\n[\xfc]\nX=\xe4\n";
        let after =
            b"# K\xfcche\nBOOT_ORDER=0xf416\nNAME=\xff\xfe=\nPCIE_PROBE=1\n[\xfc]\nX=\xe4\n";
        assert_eq!(set_keys(before, &WANTED).as_deref(), Ok(&after[..]));
        assert_eq!(BootOrder::of(before), Some(BootOrder(0xf41)));
        assert_eq!(get_key(before, "NAME"), Some(&b"\xff\xfe="[..]));
        assert_eq!(BootOrder::of(b"BOOT_ORDER=0xf4\xfc\n"), None);
    }

    #[test]
    fn what_was_changed_is_said_and_nothing_else() {
        let before = b"SECRET=1\nBOOT_ORDER=0xf461\nBOOT_ORDER=0xf41\n";
        let after = with_nvme_first(before).expect("keys");
        assert_eq!(
            changes(before, &after),
            ["BOOT_ORDER 0xf41 -> 0xf416", "PCIE_PROBE (not set) -> 1"]
        );
        assert_eq!(changes(&after, &after), [""; 0]);
        assert_eq!(
            changes(b"PCIE_PROBE=\xfc\n", b""),
            ["PCIE_PROBE \\xfc -> (not set)"]
        );
    }

    #[test]
    fn an_empty_configuration_gets_the_keys() {
        let made = set_keys(b"", &WANTED).expect("keys");
        assert_eq!(made, b"[all]\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n");
        let made = set_keys(b"BOOT_UART=1", &WANTED).expect("keys");
        assert_eq!(made, b"BOOT_UART=1\nBOOT_ORDER=0xf416\nPCIE_PROBE=1\n");
    }

    #[test]
    fn new_keys_stand_before_the_first_section_that_is_not_for_every_board() {
        let keys = "BOOT_ORDER=0xf416\nPCIE_PROBE=1\n";
        for (front, rest) in [
            ("[all]\nA=1\n", "[gpio8=0]\nB=1\n[all]\nC=1\n"),
            ("[all]\n", "[config.txt]\nB=1\n[all]\nC=1\n"),
            ("[all]\nA=1\n[all]\nB=1\n", ""),
        ] {
            let made = set_keys(format!("{front}{rest}").as_bytes(), &WANTED);
            assert_eq!(made, Ok(format!("{front}{keys}{rest}").into_bytes()));
        }
        let made = set_keys(b"[none]\nB=1\n", &WANTED);
        assert_eq!(made, Ok(format!("[all]\n{keys}[none]\nB=1\n").into_bytes()));
    }

    #[test]
    fn an_order_is_kept_if_the_card_comes_after_the_disk() {
        for (order, kept) in [
            (0xf16, true),
            (0xf2416, true),
            // The card need not be the next.
            (0xf146, true),
            (0xf1246, true),
            (0x1444_4446, true),
            (0xf641, false),
            // The disk is not first, whatever comes after it.
            (0xf164, false),
            (0xf14, false),
            (0x6, false),
            (0xf6, false),
            (0xf46, false),
            (0xe6, false),
            // Nothing comes after the end or a new beginning.
            (0x1e6, false),
            (0x1f6, false),
        ] {
            assert_eq!(BootOrder(order).is_nvme_then_card(), kept, "{order:#x}");
            let made =
                with_nvme_first(format!("BOOT_ORDER={order:#x}\n").as_bytes()).expect("keys");
            let wanted = if kept { BootOrder(order) } else { NVME_FIRST };
            assert_eq!(BootOrder::of(&made), Some(wanted), "{order:#x}");
        }
    }

    #[test]
    fn a_configuration_that_would_reach_into_the_next_erase_block_is_refused() {
        let comment = |length: usize| [vec![b'#'; length - 1], b"\n".to_vec()].concat();
        let keys = "BOOT_ORDER=0xf416\nPCIE_PROBE=1\n".len();
        let made = with_nvme_first(&comment(CONFIG_MAX - keys)).expect("it fits");
        assert_eq!(made.len(), CONFIG_MAX);
        assert_eq!(
            with_nvme_first(&comment(CONFIG_MAX - keys + 1)),
            Err(ConfigError::TooLong(CONFIG_MAX + 1))
        );
    }

    #[test]
    fn a_value_that_depends_on_the_board_is_not_touched() {
        let config = b"[all]\nBOOT_ORDER=0xf461\n[gpio8=0]\nBOOT_ORDER=0xf2\n";
        let error = set_keys(config, &WANTED).expect_err("a filter");
        assert_eq!(
            error,
            ConfigError::Filtered {
                key: "BOOT_ORDER".to_owned(),
                filter: "gpio8=0".to_owned()
            }
        );
        assert_eq!(BootOrder::of(config), None);
        assert_eq!(get_key(config, "BOOT_ORDER"), Some(&b"0xf461"[..]));
    }

    #[test]
    fn the_last_order_for_every_board_counts() {
        let config =
            b"BOOT_ORDER=0xf1\n#BOOT_ORDER=0xf2\n[none]\nBOOT_ORDER=0xf3\n[all]\nBOOT_ORDER=0xf6\n";
        let order = BootOrder::of(config).expect("an order");
        assert_eq!(order, BootOrder(0xf6));
        assert!(order.is_nvme_first());
        assert!(!BootOrder(0xf461).is_nvme_first());
        assert_eq!(BootOrder::of(b"[all]\nBOOT_UART=1\n"), None);
        assert_eq!(BootOrder::of(b"BOOT_ORDER=sd\n"), None);
        assert_eq!(NVME_FIRST.to_string(), "0xf416 (NVMe, SD card, USB, again)");
        let all = "again, stop, SD card detect, SD card, network, rpiboot, BCM USB, HTTP";
        assert_eq!(
            BootOrder(0x7532_10ef).to_string(),
            format!("0x753210ef ({all})")
        );
    }
}
