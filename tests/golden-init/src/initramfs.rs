//! From the initramfs to the root file system.

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

use crate::say;

/// Modules in load order, one path a line.
const MODULE_LIST: &str = "/modules.list";
/// How long the root disk may take to appear.
const DISK_TIME: Duration = Duration::from_mins(1);

/// Mounts the root named by `root=PARTUUID=` and becomes its `/sbin/init`.
pub fn switch_to_root() -> Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place)?;
        mount_one(kind, place, kind, MsFlags::empty())?;
    }
    if let Some(start) = argument("golden.start=")? {
        begin_as(&start);
    }
    for module in fs::read_to_string(MODULE_LIST)?.lines() {
        load(Path::new(module)).with_context(|| format!("loading {module}"))?;
    }
    let device = wait_for_root(&wanted_partition()?)?;
    fs::create_dir_all("/root")?;
    mount_one(&device.to_string_lossy(), "/root", "ext4", MsFlags::empty())?;
    for place in ["/proc", "/sys", "/dev"] {
        mount_one(place, &format!("/root{place}"), "", MsFlags::MS_MOVE)?;
    }
    std::env::set_current_dir("/root")?;
    mount_one(".", "/", "", MsFlags::MS_MOVE)?;
    nix::unistd::chroot(".").context("chroot")?;
    std::env::set_current_dir("/")?;
    Err(Command::new("/sbin/init").env("ROOT_DEVICE", device).exec())
        .context("executing /sbin/init of the root")
}

fn mount_one(source: &str, place: &str, kind: &str, flags: MsFlags) -> Result<()> {
    mount(Some(source), place, Some(kind), flags, None::<&str>)
        .with_context(|| format!("mounting {source} at {place}"))
}

fn load(module: &Path) -> Result<()> {
    let file = fs::File::open(module)?;
    finit_module(file, &CString::default(), ModuleInitFlags::empty())?;
    Ok(())
}

/// What an image on trial does at its start if it is to fail.
fn begin_as(start: &str) {
    match start {
        "panics" => {
            say("ends before it has a root");
            // The kernel panics when its first process ends.
            std::process::exit(1);
        }
        "hangs" => {
            say("hangs before it has a root");
            loop {
                std::thread::park();
            }
        }
        _ => {}
    }
}

fn wanted_partition() -> Result<String> {
    argument("root=PARTUUID=")?
        .map(|partition| partition.to_lowercase())
        .ok_or_else(|| anyhow!("no root=PARTUUID= on the kernel command line"))
}

/// The rest of the word on the kernel's command line that begins with `beginning`.
pub fn argument(beginning: &str) -> Result<Option<String>> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let mut words = command_line.split_whitespace();
    Ok(words
        .find_map(|word| word.strip_prefix(beginning))
        .map(str::to_owned))
}

fn wait_for_root(partition: &str) -> Result<PathBuf> {
    let deadline = Instant::now() + DISK_TIME;
    loop {
        for entry in fs::read_dir("/sys/class/block")?.flatten() {
            let event = fs::read_to_string(entry.path().join("uevent")).unwrap_or_default();
            let found = event
                .lines()
                .find_map(|line| line.strip_prefix("PARTUUID="));
            if found.is_some_and(|found| found.eq_ignore_ascii_case(partition)) {
                return Ok(Path::new("/dev").join(entry.file_name()));
            }
        }
        if Instant::now() >= deadline {
            bail!(
                "no partition {partition} appeared within {} s",
                DISK_TIME.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
