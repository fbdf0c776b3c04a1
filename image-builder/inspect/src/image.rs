//! Everything that the rules ask about, gathered once.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gild_boards::Board;
use gild_boards::uboot_script::ScriptError;

use crate::boot_script::{self, BOOT_SCR};
use crate::content::{self, Content};
use crate::error::InspectError;
use crate::fat::Fat;
use crate::gpt::{self, Gpt, Partition};
use crate::kernel::{self, Kernel};
use crate::packages::Packages;
use crate::range::Range;
use crate::report::Finding;
use crate::root::Root;
use crate::scan::Scanner;

/// The kernel on the boot partition.
pub const KERNEL: &str = "vmlinuz.gz";
/// What the boot partition says about the image.
pub const IMAGE_ENV: &str = "gild-image.env";
/// What the root file system says about the image.
pub const RELEASE: &str = "usr/lib/gild/image-release";

/// The builder's marks that something was left out on purpose.
const WITHOUT_K3S: &str = "usr/lib/gild/without-k3s";
const WITHOUT_SECURITY_UPDATES: &str = "usr/lib/gild/without-security-updates";
const WITHOUT_UNATTENDED_UPGRADES: &str = "usr/lib/gild/without-unattended-upgrades";

/// An opened image.
pub struct Image {
    /// The whole image.
    pub disk: Range,
    /// Its partition table.
    pub gpt: Gpt,
    /// The first partition.
    pub boot: Fat,
    /// The second partition.
    pub root: Root,
    /// What its content shows.
    pub content: Content,
    /// What dpkg knows.
    pub packages: Packages,
    /// What e2fsck says; nothing if all is well.
    pub e2fsck: Option<String>,
    kernel: OnceCell<Option<Kernel>>,
}

impl Image {
    /// Opens an image and reads all of it.
    pub fn open(path: &Path, scanner: &Scanner) -> Result<Self, InspectError> {
        let read = || InspectError::read(path);
        let file = File::open(path).map_err(read())?;
        let size = file.metadata().map_err(read())?.len();
        check_size(size).map_err(|why| InspectError::not_an_image(path, why))?;
        let disk = Range::new(Arc::new(file), 0, size);
        let gpt = gpt::read(&disk)
            .map_err(read())?
            .map_err(|why| InspectError::not_an_image(path, why))?;
        let [first, second, ..] = &gpt.partitions[..] else {
            let why = "it has no boot and root partition";
            return Err(InspectError::not_an_image(path, why));
        };
        let part = |partition: &Partition| disk.part(partition.start, partition.length);
        let broken = |what: &'static str| {
            move |error: io::Error| {
                InspectError::not_an_image(path, format!("its {what} cannot be read: {error}"))
            }
        };
        let boot = Fat::open(part(first)).map_err(broken("boot partition (FAT)"))?;
        let root = Root::open(part(second)).map_err(broken("root partition (ext4)"))?;
        let content = content::read(&disk, &boot, &root, &part(second), scanner);
        let packages = Packages::read(&root).map_err(broken("list of packages"))?;
        let e2fsck = e2fsck(path, second.start)?;
        Ok(Self {
            disk,
            gpt,
            boot,
            root,
            content,
            packages,
            e2fsck,
            kernel: OnceCell::new(),
        })
    }

    /// The kernel on the boot partition, if it is one.
    pub fn kernel(&self) -> Option<&Kernel> {
        self.kernel
            .get_or_init(|| kernel::read(self.boot.file(KERNEL).ok()?).ok()?)
            .as_ref()
    }

    /// The kernel arguments, with the file that has them.
    pub fn kernel_arguments(&self) -> Vec<(&'static str, String)> {
        let cmdline = self
            .boot_text("cmdline.txt")
            .map(|text| ("cmdline.txt", text));
        let script = self.boot_script().and_then(Result::ok);
        let set = script.iter().flat_map(|text| boot_script::arguments(text));
        let set = set.map(|arguments| (BOOT_SCR, arguments));
        cmdline.into_iter().chain(set).collect()
    }

    /// The commands of U-Boot's script, if there is one.
    pub fn boot_script(&self) -> Option<Result<String, ScriptError>> {
        let bytes = self.boot.bytes(BOOT_SCR).ok().flatten()?;
        Some(boot_script::commands(&bytes))
    }

    /// A file of the boot partition.
    pub fn boot_text(&self, path: &str) -> Option<String> {
        self.boot.text(path).ok().flatten()
    }

    /// A file of the root file system. A rule reports files that cannot be read.
    pub fn root_text(&self, path: &str) -> Option<String> {
        self.root.text(path).ok().flatten()
    }

    /// `KEY=value` lines of `gild-image.env`.
    pub fn image_env(&self) -> BTreeMap<String, String> {
        variables(&self.boot_text(IMAGE_ENV).unwrap_or_default())
    }

    /// `KEY=value` lines of the root's `image-release`.
    pub fn release(&self) -> BTreeMap<String, String> {
        variables(&self.root_text(RELEASE).unwrap_or_default())
    }

    /// The board that the image says it is for.
    pub fn board(&self) -> Option<&'static Board> {
        gild_boards::by_name(self.image_env().get("board")?)
    }

    /// Was it built without k3s on purpose?
    pub fn is_without_k3s(&self) -> bool {
        self.root.kind(WITHOUT_K3S).is_some()
    }

    /// Was it built without security updates on purpose?
    pub fn is_without_security_updates(&self) -> bool {
        self.root.kind(WITHOUT_SECURITY_UPDATES).is_some()
    }

    /// Does its recipe say that nodes install no updates by themselves?
    pub fn is_without_unattended_upgrades(&self) -> bool {
        self.root.kind(WITHOUT_UNATTENDED_UPGRADES).is_some()
    }
}

/// Whether a disk of so many bytes can hold a partition table.
pub fn check_size(size: u64) -> Result<(), String> {
    if size < 2 << 20 || !size.is_multiple_of(512) {
        return Err(format!("{size} bytes are not a whole disk"));
    }
    Ok(())
}

fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| {
            (
                key.trim().to_owned(),
                value.trim().trim_matches('"').to_owned(),
            )
        })
        .collect()
}

/// The judgement of the programs that made ext4, on the file system where it lies.
fn e2fsck(path: &Path, offset: u64) -> Result<Option<String>, InspectError> {
    let target = format!("{}?offset={offset}", path.display());
    let output = Command::new("e2fsck")
        .args(["-f", "-n", &target])
        .env("LC_ALL", "C.UTF-8")
        // It is not in the PATH of ordinary users.
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| InspectError::E2fsck { source })?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("Pass ") && !line.trim().is_empty())
        .take(5)
        .collect();
    Ok(Some(lines.join("; ")))
}

/// The finding that a rule makes of a missing thing.
pub fn missing(path: impl Into<String>) -> Finding {
    Finding::new(path, "is missing")
}
