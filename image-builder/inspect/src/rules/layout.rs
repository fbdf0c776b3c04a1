//! The disk: partition table, partitions, and what lies between them.

use std::io;

use crate::gpt::Gpt;
use crate::image::Image;
use crate::report::Finding;

const MIB: u64 = 1 << 20;
/// docs/golden-format.md: the agent writes its commit record here.
const COMMIT_RECORD: (u64, u64) = (MIB - 4096, 4096);
const BOOT_START: u64 = 16 * MIB;
const BASIC_DATA: &str = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";
/// Linux data, and the root of arm64 of the Discoverable Partitions Specification.
const ROOT_TYPES: [&str; 2] = [
    "0fc63daf-8483-4772-8e79-3d69d8477de4",
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
];
const LEGACY_BOOT: u64 = 1 << 2;

pub fn partition_table(image: &Image) -> Vec<Finding> {
    let mut faults = image.gpt.faults.clone();
    if image.gpt.partitions.len() != 2 {
        faults.push(format!(
            "{} partitions instead of 2",
            image.gpt.partitions.len()
        ));
    }
    let mut ends: Vec<_> = image
        .gpt
        .partitions
        .iter()
        .map(|one| (one.start, one.length))
        .collect();
    ends.sort_unstable();
    if ends
        .windows(2)
        .any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
    {
        faults.push("partitions overlap".into());
    }
    faults
        .into_iter()
        .map(|what| Finding::new("partition table", what))
        .collect()
}

pub fn boot_partition(image: &Image) -> Vec<Finding> {
    let Some(partition) = image.gpt.partitions.first() else {
        return Vec::new();
    };
    let label = image.boot.label().unwrap_or_default();
    let checks = [
        (partition.start == BOOT_START, "does not start at 16 MiB"),
        (
            partition.kind == BASIC_DATA,
            "is not of the type basic data",
        ),
        (
            partition.attributes & LEGACY_BOOT != 0,
            "lacks the attribute legacy boot",
        ),
        (image.boot.is_fat32(), "is not FAT32"),
        (label == "GILDBOOT", "is not labelled GILDBOOT"),
    ];
    broken("boot partition", &checks)
}

pub fn root_partition(image: &Image) -> Vec<Finding> {
    let Some(partition) = image.gpt.partitions.get(1) else {
        return Vec::new();
    };
    let is_last = image
        .gpt
        .partitions
        .iter()
        .all(|one| one.start <= partition.start);
    let checks = [
        (
            ROOT_TYPES.contains(&partition.kind.as_str()),
            "is not of a type for Linux",
        ),
        (
            partition.start.is_multiple_of(MIB) && partition.length.is_multiple_of(MIB),
            "does not start and end at a MiB",
        ),
        (is_last, "is not the last one, so it cannot grow"),
        (
            image.root.label() == "gild-root",
            "is not labelled gild-root",
        ),
    ];
    broken("root partition", &checks)
}

fn broken(place: &str, checks: &[(bool, &str)]) -> Vec<Finding> {
    let broken = checks.iter().filter(|(holds, _)| !holds);
    broken.map(|(_, what)| Finding::new(place, *what)).collect()
}

pub fn commit_record(image: &Image) -> Vec<Finding> {
    data(
        image,
        [COMMIT_RECORD],
        "data where the commit record belongs",
    )
}

pub fn unused_space(image: &Image) -> Vec<Finding> {
    let mut findings = data(
        image,
        gaps(&image.gpt, image.disk.len()),
        "data in no partition",
    );
    findings.extend(image.content.unexpected_data.iter().cloned());
    findings
}

/// What neither the table, nor a partition, nor the commit record takes.
fn gaps(gpt: &Gpt, size: u64) -> Vec<(u64, u64)> {
    let partitions = gpt.partitions.iter().map(|one| (one.start, one.length));
    let mut used: Vec<_> = gpt
        .own
        .iter()
        .copied()
        .chain(partitions)
        .chain([COMMIT_RECORD, (size, 0)])
        .collect();
    used.sort_unstable();
    let mut at = 0;
    let mut gaps = Vec::new();
    for (start, length) in used {
        if start > at {
            gaps.push((at, start - at));
        }
        at = at.max(start + length);
    }
    gaps
}

fn data(image: &Image, places: impl IntoIterator<Item = (u64, u64)>, what: &str) -> Vec<Finding> {
    let look = |(start, length)| -> io::Result<Option<u64>> {
        let found = image.disk.part(start, length).first_data()?;
        Ok(found.map(|at| start + at))
    };
    places
        .into_iter()
        .filter_map(|place| match look(place) {
            Ok(found) => found.map(|at| Finding::new(format!("byte {at}"), what)),
            Err(error) => Some(Finding::new(
                format!("byte {}", place.0),
                format!("cannot be read: {error}"),
            )),
        })
        .collect()
}

pub fn file_systems(image: &Image) -> Vec<Finding> {
    let fsck = image.e2fsck.iter();
    let fsck = fsck.map(|said| Finding::new("root partition", format!("e2fsck: {said}")));
    image
        .content
        .unreadable
        .iter()
        .cloned()
        .chain(fsck)
        .collect()
}

/// Every name of a partition in the files that the firmware, the kernel and systemd read.
pub fn partition_names(image: &Image) -> Vec<Finding> {
    let mut names: Vec<String> = image
        .gpt
        .partitions
        .iter()
        .map(|one| format!("PARTUUID={}", one.guid))
        .collect();
    names.push(format!("UUID={}", image.root.uuid()));
    names.push(format!("UUID={}", image.boot.uuid()));
    names.push("LABEL=gild-root".into());
    names.push("LABEL=GILDBOOT".into());
    let is_known = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut findings = Vec::new();
    let fstab = image.root_text("etc/fstab").unwrap_or_default();
    let mut mounts = Vec::new();
    for line in fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [device, mount, ..] = words[..] else {
            continue;
        };
        mounts.push(mount);
        if device.contains("UUID=") || device.contains("LABEL=") {
            if !is_known(device) {
                let what = format!("{mount} is on a partition that the image does not have");
                findings.push(Finding::new("etc/fstab", what));
            }
        } else if device.starts_with("/dev/") {
            let what = format!("{mount} is named by a device, which differs between machines");
            findings.push(Finding::new("etc/fstab", what));
        }
    }
    for wanted in ["/", "/boot/firmware"] {
        if !mounts.contains(&wanted) {
            let what = format!("does not mount {wanted}");
            findings.push(Finding::new("etc/fstab", what));
        }
    }
    for (file, arguments) in image.kernel_arguments() {
        let root = arguments
            .split_whitespace()
            .find_map(|argument| argument.strip_prefix("root="));
        if !root.is_some_and(is_known) {
            let what = "root= names no partition of the image";
            findings.push(Finding::new(format!("boot:{file}"), what));
        }
    }
    findings
}
