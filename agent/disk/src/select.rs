//! Which disk may be written: the one NVMe namespace that is certainly not the operator's other disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gild_faults::{Fault, HasFault};

use crate::Clock;
use crate::revive::{Revival, nvme_controllers};

/// Where the kernel shows its disks. Tests point it at their own directories.
#[derive(Clone, Debug)]
pub struct System {
    /// Mount point of sysfs.
    pub sys: PathBuf,
    /// Mount point of proc.
    pub proc: PathBuf,
    /// Directory of the device nodes.
    pub dev: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
        }
    }
}

/// What the image and the configuration ask of a target.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Least size in bytes.
    pub size: u64,
    /// Logical sector size in bytes, if it matters.
    pub sector_size: Option<u32>,
    /// Only the disk with this serial number.
    pub serial: Option<String>,
    /// Kernel name of the disk or partition this machine booted from (`mmcblk0p1`), if known.
    pub boot_medium: Option<String>,
}

/// A disk, as sysfs describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Device node.
    pub path: PathBuf,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            model,
            serial,
            size,
            sector_size,
        } = self;
        let path = path.display();
        write!(
            f,
            "{path} ({model}, serial {serial}, {size} bytes in sectors of {sector_size})"
        )
    }
}

/// A disk that was seen, and why it must not be written, if so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The disk.
    pub candidate: Candidate,
    /// Why it was refused; `None` if it may be written.
    pub refusal: Option<String>,
    /// Whether it may be the disk that the operator means. A disk that the image does not fit counts too: otherwise the agent
    /// would write the other disk, which may hold data. The boot medium and a disk with another serial number do not count.
    pub competes: bool,
}

/// No target, or more than one. Always [`Fault::NoTarget`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SelectError {
    /// What was found, why each disk was refused, and what to do.
    pub message: String,
    /// Whether the disk may be there although the kernel does not see it: then a restart of the board may bring it back. It is
    /// never set if another disk could be taken for it after the restart.
    pub may_be_hidden: bool,
}

impl HasFault for SelectError {
    fn fault(&self) -> Fault {
        Fault::NoTarget
    }
}

/// Time between two looks at sysfs.
const POLL: Duration = Duration::from_millis(500);
/// sysfs gives sizes in these, whatever the disk's sectors.
const SYSFS_BLOCK: u64 = 512;
/// PCI class of an NVMe controller: mass storage, non-volatile memory, NVM Express.
pub(crate) const NVME_CLASS: &str = "0x010802";

/// Picks the one NVMe namespace that may be written.
///
/// Waits, at most so long, until every NVMe controller of the machine is up and shows a namespace (and the wanted one
/// is there), so that a second disk that is slower to come is not overlooked. Meanwhile it has the kernel look again for
/// what is missing ([`crate::revive`]): first after a third of the time, with more effort after two thirds.
pub fn choose(
    system: &System,
    wanted: &Wanted,
    clock: &dyn Clock,
    wait: Duration,
) -> Result<Candidate, SelectError> {
    let start = clock.now();
    let mut revival = Revival::within(wait);
    let mut most = 0;
    loop {
        let look = look(system, wanted).map(|mut look| {
            most = most.max(look.controllers);
            // A disk that is gone may be the intended one.
            look.settled &= look.controllers == most;
            look.is_complete &= look.settled;
            look.controllers = most;
            look
        });
        let elapsed = clock.now().saturating_sub(start);
        match look {
            Ok(look) if look.is_complete || elapsed >= wait => {
                return decide(look, wanted, wait);
            }
            // A controller that is reset takes its files in sysfs away, at any moment.
            Err(error) if elapsed >= wait => {
                return Err(SelectError {
                    message: format!("looking for NVMe disks failed: {error}"),
                    may_be_hidden: is_sole(most.max(nvme_controllers(system).len()), wanted),
                });
            }
            Ok(_) | Err(_) => {}
        }
        revival.step(system, elapsed);
        clock.sleep(POLL);
    }
}

/// Whether no other disk can be confused with the intended one.
fn is_sole(controllers: usize, wanted: &Wanted) -> bool {
    controllers <= 1 || wanted.serial.is_some()
}

/// What one look at sysfs has found.
struct Look {
    findings: Vec<Finding>,
    /// NVMe controllers, whether they show a namespace or not.
    controllers: usize,
    /// Every controller is up and shows a namespace.
    settled: bool,
    /// The same, and the wanted disk is there.
    is_complete: bool,
}

fn look(system: &System, wanted: &Wanted) -> io::Result<Look> {
    let (controllers, settled) = settle(system)?;
    let findings = survey(system, wanted)?;
    let shown = findings.iter().any(|finding| {
        let serial = wanted.serial.as_ref();
        serial.is_none_or(|serial| *serial == finding.candidate.serial)
    });
    Ok(Look {
        findings,
        controllers,
        settled,
        is_complete: settled && shown,
    })
}

/// All NVMe namespaces, each with the reasons against it.
pub fn survey(system: &System, wanted: &Wanted) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in names(&system.sys.join("block"))? {
        let disk = system.sys.join("block").join(&name);
        // A path of a multipath disk shows up beside the disk, hidden.
        if !name.starts_with("nvme") || read(&disk.join("hidden")).is_ok_and(|hidden| hidden == "1")
        {
            continue;
        }
        let candidate = Candidate {
            path: system.dev.join(&name),
            model: read(&disk.join("device/model")).unwrap_or_default(),
            serial: read(&disk.join("device/serial")).unwrap_or_default(),
            size: number(&disk.join("size"))? * SYSFS_BLOCK,
            sector_size: u32::try_from(number(&disk.join("queue/logical_block_size"))?)
                .map_err(io::Error::other)?,
        };
        let out_of_question = out_of_question(system, wanted, &name, &candidate)?;
        let competes = out_of_question.is_none();
        let refusal = match out_of_question {
            None => refusal(system, wanted, &name, &candidate)?,
            reason => reason,
        };
        findings.push(Finding {
            candidate,
            refusal,
            competes,
        });
    }
    Ok(findings)
}

/// What the block device with this kernel name is in use for: mounts, swap and holders of it and of its partitions.
/// Empty if it is free.
pub fn in_use(system: &System, name: &str) -> io::Result<Vec<String>> {
    let disk = system.sys.join("class/block").join(name);
    let mut parts = vec![(name.to_owned(), disk.clone())];
    for part in names(&disk)? {
        let path = disk.join(&part);
        if path.join("partition").exists() {
            parts.push((part, path));
        }
    }
    let mounts = std::fs::read_to_string(system.proc.join("self/mountinfo"))?;
    // A kernel without swap has no such file.
    let swaps = std::fs::read_to_string(system.proc.join("swaps")).unwrap_or_default();
    let mut uses = Vec::new();
    for (part, path) in parts {
        let number = read(&path.join("dev"))?;
        let node = format!("/dev/{part}");
        for mount in mounts.lines() {
            // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS... - TYPE SOURCE OPTIONS
            let mut fields = mount.split(' ').skip(2);
            let same_number = fields.next() == Some(&number);
            let point = fields.nth(1).unwrap_or_default();
            let source = fields.skip_while(|field| *field != "-").nth(2);
            if same_number || source == Some(&node) {
                uses.push(format!("{part} is mounted on {point}"));
            }
        }
        if swaps
            .lines()
            .any(|swap| swap.split_whitespace().next() == Some(&node))
        {
            uses.push(format!("{part} is swap space"));
        }
        for holder in names(&path.join("holders")).unwrap_or_default() {
            uses.push(format!("{part} is part of {holder}"));
        }
    }
    Ok(uses)
}

/// Why this disk cannot be the intended one.
fn out_of_question(
    system: &System,
    wanted: &Wanted,
    name: &str,
    candidate: &Candidate,
) -> io::Result<Option<String>> {
    if let Some(boot) = &wanted.boot_medium
        && share_a_parent(system, name, boot)?
    {
        return Ok(Some("this machine booted from it".to_owned()));
    }
    if let Some(serial) = &wanted.serial
        && *serial != candidate.serial
    {
        return Ok(Some(format!("the configuration asks for serial {serial}")));
    }
    Ok(None)
}

/// Why this disk must not be written, though it may be the intended one.
fn refusal(
    system: &System,
    wanted: &Wanted,
    name: &str,
    candidate: &Candidate,
) -> io::Result<Option<String>> {
    let disk = system.sys.join("block").join(name);
    let flag = |file: &str| read(&disk.join(file)).is_ok_and(|value| value == "1");
    if flag("removable") {
        return Ok(Some("it is removable".to_owned()));
    }
    if flag("ro") {
        return Ok(Some("it is write-protected".to_owned()));
    }
    let uses = in_use(system, name)?;
    if !uses.is_empty() {
        return Ok(Some(uses.join(", ")));
    }
    if candidate.size < wanted.size {
        return Ok(Some(format!(
            "too small: the image has {} bytes",
            wanted.size
        )));
    }
    if let Some(sector_size) = wanted.sector_size
        && candidate.sector_size != sector_size
    {
        return Ok(Some(format!(
            "wrong sector size: the image was made for sectors of {sector_size} bytes"
        )));
    }
    Ok(None)
}

/// Whether a disk is the boot medium or sits on the same controller. The boot medium may be given as a partition.
fn share_a_parent(system: &System, disk: &str, boot: &str) -> io::Result<bool> {
    let block = system.sys.join("class/block");
    let Ok(mut boot) = block.join(boot).canonicalize() else {
        // Pulled since: it can be no disk that is still there.
        return Ok(false);
    };
    if boot.join("partition").exists() {
        boot.pop();
    }
    let disk = block.join(disk).canonicalize()?;
    Ok(disk == boot || disk.parent() == boot.parent())
}

/// How many NVMe controllers there are, and whether each is up and shows a namespace. A controller that shows none is scanned
/// again.
fn settle(system: &System) -> io::Result<(usize, bool)> {
    let class = system.sys.join("class/nvme");
    let controllers = names(&class).unwrap_or_default();
    let mut settled = true;
    for name in &controllers {
        let controller = class.join(name);
        // nvme0 holds nvme0n1, or nvme0c0n1 where multipath is on.
        let has_namespace = names(&controller)?.iter().any(|entry| {
            entry
                .strip_prefix("nvme")
                .is_some_and(|rest| rest.contains('n'))
        });
        let is_live = read(&controller.join("state")).is_ok_and(|state| state == "live");
        if !has_namespace && is_live {
            let rescan = std::fs::write(controller.join("rescan_controller"), "1");
            log::debug!("{name} shows no namespace, scanned again: {rescan:?}");
        }
        settled &= has_namespace && is_live;
    }
    let pci = system.sys.join("bus/pci/devices");
    let expected = names(&pci)
        .unwrap_or_default()
        .iter()
        .filter(|device| {
            read(&pci.join(device).join("class")).is_ok_and(|class| class == NVME_CLASS)
        })
        .count();
    let known = controllers.len();
    Ok((known.max(expected), settled && known >= expected))
}

/// Takes the only disk that can be intended, if it may be written and no other one can still appear.
fn decide(look: Look, wanted: &Wanted, wait: Duration) -> Result<Candidate, SelectError> {
    let Look {
        mut findings,
        controllers,
        settled,
        ..
    } = look;
    // First the disks that can be intended.
    findings.sort_by_key(|finding| !finding.competes);
    let meant = findings.iter().filter(|finding| finding.competes).count();
    let certain = settled || wanted.serial.is_some();
    if let ([only, ..], 1, true) = (findings.as_slice(), meant, certain)
        && only.refusal.is_none()
    {
        return Ok(only.candidate.clone());
    }
    let is_missing = meant == 0 || !certain;
    let mut message = if meant > 1 {
        format!(
            "{meant} NVMe disks could be the target; name one by its serial, or remove the others"
        )
    } else if findings.is_empty() {
        format!(
            "no NVMe disk within {} s; fit one and check its seat",
            wait.as_secs()
        )
    } else if !certain {
        format!(
            "an NVMe controller shows no disk after {} s, and that disk may be the intended target; repair or remove \
             it, or name the target by its serial",
            wait.as_secs()
        )
    } else {
        let size = wanted.size;
        format!("no NVMe disk can be the target; fit a free one of at least {size} bytes")
    };
    for Finding {
        candidate, refusal, ..
    } in &findings
    {
        message.push_str("; ");
        message.push_str(&candidate.to_string());
        message.push_str(": ");
        message.push_str(refusal.as_deref().unwrap_or("could be the target"));
    }
    Err(SelectError {
        message,
        may_be_hidden: is_missing && is_sole(controllers, wanted),
    })
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn number(path: &Path) -> io::Result<u64> {
    read(path)?
        .parse()
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}
