//! Differences in words, for people.

use gild_inspect::{Change, Difference, Differences, Side, plain};

use super::packages::Package;
use super::summary::Summary;

/// A line for a package.
pub fn package(package: &Package) -> String {
    let name = plain(&package.name);
    match (&package.old, &package.new) {
        (Some(old), None) => format!("- {name} {}", plain(old)),
        (None, Some(new)) => format!("+ {name} {}", plain(new)),
        (old, new) => {
            let [old, new] = [old, new].map(|version| plain(version.as_deref().unwrap_or("")));
            format!("  {name} {old} -> {new}")
        }
    }
}

/// The lines for a partition.
pub fn partition(differences: &Differences) -> Vec<String> {
    let mut lines = vec![format!("{} partition:", differences.partition)];
    if differences.files.is_empty() {
        lines.push("  no difference".to_owned());
    }
    let mut is_said = false;
    for difference in &differences.files {
        if difference.expected && !is_said {
            lines.push("  these differ between nearly all images:".to_owned());
            is_said = true;
        }
        lines.push(line(difference));
    }
    lines
}

fn line(difference: &Difference) -> String {
    let path = plain(&difference.path);
    match (&difference.old, &difference.new) {
        (Some(old), Some(new)) => {
            let changes = difference.changes.iter();
            let changes: Vec<_> = changes.map(|change| changed(*change, old, new)).collect();
            format!("  /{path}  {}", changes.join(", "))
        }
        (Some(side), None) => format!("- /{path}{}", only(side)),
        (None, Some(side)) => format!("+ /{path}{}", only(side)),
        (None, None) => path,
    }
}

fn only(side: &Side) -> String {
    match (side.files, &side.target) {
        (Some(files), _) => format!("/  {}, {}", counted(files), size(side.size)),
        (None, Some(target)) => format!(" -> {}", plain(target)),
        (None, None) if side.kind == "file" => format!("  {}", size(side.size)),
        (None, None) => format!("  {}", side.kind),
    }
}

fn changed(change: Change, old: &Side, new: &Side) -> String {
    match change {
        Change::Kind => {
            let of = |side: &Side| match side.files {
                Some(files) => format!("{} of {}", side.kind, counted(files)),
                None => side.kind.to_owned(),
            };
            format!("{} -> {}", of(old), of(new))
        }
        Change::Content if old.size == new.size => format!("content, {}", size(old.size)),
        Change::Content => format!("content, {} -> {}", size(old.size), size(new.size)),
        Change::Target => {
            let of = |side: &Side| plain(side.target.as_deref().unwrap_or(""));
            format!("target {} -> {}", of(old), of(new))
        }
        Change::Mode => {
            let of = |side: &Side| format!("{:04o}", side.mode.unwrap_or(0));
            format!("mode {} -> {}", of(old), of(new))
        }
        Change::Owner => {
            let of = |side: &Side| {
                let (owner, group) = side.owner.unwrap_or((0, 0));
                format!("{owner}:{group}")
            };
            format!("owner {} -> {}", of(old), of(new))
        }
    }
}

fn counted(files: u64) -> String {
    match files {
        1 => "1 file".to_owned(),
        _ => format!("{files} files"),
    }
}

/// In the largest unit of which there is one.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(bits, _)| bytes >> bits > 0) {
        Some((bits, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// The last line.
pub fn summary(summary: &Summary) -> String {
    let mut parts = Vec::new();
    if let Some(packages) = &summary.packages {
        parts.push(format!(
            "packages: {} added, {} removed, {} of another version",
            packages.added, packages.removed, packages.changed
        ));
    }
    if let Some(files) = &summary.files {
        parts.push(format!(
            "files: {} added ({}), {} removed ({}), {} changed",
            files.added,
            size(files.added_bytes),
            files.removed,
            size(files.removed_bytes),
            files.changed
        ));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_the_largest_unit_of_which_there_is_one() {
        let sizes = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1 << 10, "1.0 KiB"),
            (1536 << 10, "1.5 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ];
        for (bytes, words) in sizes {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn what_an_image_says_cannot_move_the_cursor() {
        let side = Side {
            kind: "symlink",
            size: 0,
            files: None,
            target: Some("\u{1b}[2J".to_owned()),
            mode: None,
            owner: None,
        };
        let difference = Difference {
            path: "a\nb".to_owned(),
            changes: Vec::new(),
            expected: false,
            old: None,
            new: Some(side),
        };
        assert_eq!(line(&difference), r"+ /a\nb -> \u{1b}[2J");
    }
}
