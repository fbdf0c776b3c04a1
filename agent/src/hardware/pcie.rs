//! The `PCIe` link of a disk. Numbers in, findings out.

use std::fmt;

use gild_report::{Finding, Level};

use super::finding;

pub const SUBJECT: &str = "pcie";

/// Speed and width of a link, or the most that one end of it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Tenths of GT/s.
    speed: u32,
    lanes: u32,
}

impl Link {
    /// Reads what sysfs says: `8.0 GT/s PCIe` and `4`. `None` where the kernel does not know it.
    pub fn parse(speed: &str, width: &str) -> Option<Self> {
        let (number, unit) = speed.trim().split_once(' ')?;
        let (whole, tenth) = number.split_once('.')?;
        if !unit.starts_with("GT/s") {
            return None;
        }
        let whole = whole.parse::<u32>().ok()?.checked_mul(10)?;
        let speed = whole.checked_add(tenth.parse().ok()?)?;
        let lanes = width.trim().parse().ok()?;
        (speed > 0 && (1..=32).contains(&lanes)).then_some(Self { speed, lanes })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { speed, lanes } = self;
        write!(f, "{}.{} GT/s x{lanes}", speed / 10, speed % 10)
    }
}

/// A link that is below what both of its ends support is failing. A link that is as good as the board's port but below what the disk
/// supports is normal: a Raspberry Pi 5 has one lane, at 5 GT/s.
pub fn judge(now: Link, disk: Link, port: Link) -> Vec<Finding> {
    let best = Link {
        speed: disk.speed.min(port.speed),
        lanes: disk.lanes.min(port.lanes),
    };
    if now.speed < best.speed || now.lanes < best.lanes {
        let message = format!(
            "the disk's link runs at {now}, and disk and port can {best}; next: switch the power off, and seat the disk, its adapter and both ends \
             of the cable again"
        );
        return vec![finding(SUBJECT, Level::Warning, message)];
    }
    if now.speed < disk.speed || now.lanes < disk.lanes {
        let message = format!(
            "the disk's link runs at {now}, as fast as this board's port can; the disk can {disk}, on another board"
        );
        return vec![finding(SUBJECT, Level::Note, message)];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(speed: &str, lanes: &str) -> Link {
        Link::parse(speed, lanes).expect("a link")
    }

    #[test]
    fn the_kernel_s_texts_are_read_and_what_it_does_not_know_is_nothing() {
        for (speed, width, shown) in [
            ("2.5 GT/s PCIe\n", "1\n", "2.5 GT/s x1"),
            ("5.0 GT/s PCIe\n", "1\n", "5.0 GT/s x1"),
            ("8.0 GT/s PCIe\n", "4\n", "8.0 GT/s x4"),
            ("16.0 GT/s PCIe\n", "4\n", "16.0 GT/s x4"),
            ("8.0 GT/s", "2", "8.0 GT/s x2"),
        ] {
            assert_eq!(link(speed, width).to_string(), shown);
        }
        for (speed, width) in [
            ("Unknown\n", "4\n"),
            ("Unknown speed\n", "4\n"),
            ("8.0 GT/s PCIe\n", "0\n"),
            ("8.0 GT/s PCIe\n", "255\n"),
            ("8.0 GT/s PCIe\n", ""),
            ("", "4"),
            ("8 GT/s", "4"),
            ("429496729.6 GT/s", "4"),
        ] {
            assert_eq!(Link::parse(speed, width), None, "{speed} {width}");
        }
    }

    #[test]
    fn a_link_below_what_both_ends_can_is_a_warning_and_one_below_the_disk_s_a_note() {
        let gen3x4 = link("8.0 GT/s PCIe", "4");
        let pi = link("5.0 GT/s PCIe", "1");
        for (now, port, expected) in [
            (gen3x4, gen3x4, None),
            (gen3x4, link("16.0 GT/s PCIe", "8"), None),
            (pi, pi, Some(Level::Note)),
            (link("2.5 GT/s PCIe", "1"), pi, Some(Level::Warning)),
            (link("8.0 GT/s PCIe", "2"), gen3x4, Some(Level::Warning)),
            (link("2.5 GT/s PCIe", "4"), gen3x4, Some(Level::Warning)),
        ] {
            let found = judge(now, gen3x4, port);
            let level = found.first().map(|found| found.level);
            assert_eq!(level, expected, "{now} at {port}: {found:?}");
        }
    }
}
