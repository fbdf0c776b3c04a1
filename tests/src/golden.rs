//! The tests' golden image: small, but real enough for a board's firmware to start.
//!
//! GPT with the first 16 MiB free; p1 FAT32 with what the firmware reads (`config.txt` or `boot.scr`),
//! Debian's kernel gzipped, an initramfs and `gild-image.env`; p2 ext4 root with one static program and data.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gild_boards::dtbo;
use gild_golden::boot::u_boot;
use gild_proof::trial;

use crate::board_dtb::Product;
use crate::cargo::board_program;
use crate::command::{command, run, run_with_text};
use crate::disk;
use crate::kernel::Kernel;
use crate::workspace;

const MIB: u64 = 1 << 20;
/// Raw size of the image.
pub const RAW_SIZE: u64 = 256 * MIB;
const BOOT_START: u64 = 16 * MIB;
const BOOT_SIZE: u64 = 48 * MIB;
const ROOT_START: u64 = BOOT_START + BOOT_SIZE;
const ROOT_SIZE: u64 = 191 * MIB;
/// Incompressible data in the root file system; the rest of the partition is holes.
const DATA_SIZE: usize = 40 << 20;

const BASIC_DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
const ROOT_ARM64: &str = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE";

/// A golden image before it is packed.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The board it is for.
    pub product: Product,
    /// Its image id.
    pub image_id: String,
    /// The raw disk image.
    pub raw: PathBuf,
    /// What happens at its starts, if it is on trial.
    pub on_trial: Option<Start>,
}

/// What each start of an image on trial does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It comes up and proves itself.
    Proves,
    /// The kernel panics before it has a root file system, and restarts the board.
    Panics,
    /// Nothing happens any more, before there is a root file system.
    Hangs,
}

impl Start {
    /// As the kernel argument `golden.start` has it.
    fn word(self) -> &'static str {
        match self {
            Self::Proves => "proves",
            Self::Panics => "panics",
            Self::Hangs => "hangs",
        }
    }
}

/// The golden image for a board. It is built again if its inputs have changed. It counts as proven as soon as it is on the disk.
pub fn image(product: Product) -> Result<Golden> {
    image_for(product, None)
}

/// The same on trial, with a way back. Its starts do this.
pub fn image_on_trial(product: Product, start: Start) -> Result<Golden> {
    image_for(product, Some(start))
}

fn image_for(product: Product, on_trial: Option<Start>) -> Result<Golden> {
    let kernel = Kernel::fetched()?;
    let init = board_program("golden-init")?;
    let recipe = include_str!("golden.rs");
    let trees = format!("{:?}", device_trees(product, &kernel)?);
    let start = on_trial.map_or("", Start::word);
    let way_back = u_boot::boot_script("", "") + &trial::with_trial("");
    let version = kernel.version()?;
    let words = [recipe, &version, product.name(), &trees, &way_back, start];
    let key = workspace::key(&[&init], &words)?;
    let image_id = format!("virtual-{key}");
    let name = format!("golden-{}-{start}", product.name());
    let place = workspace::cached(&name, &key, |directory| {
        build(product, on_trial, &image_id, &kernel, &init, directory)
    })?;
    Ok(Golden {
        product,
        image_id,
        raw: place.join("golden.img"),
        on_trial,
    })
}

/// The files from which the firmware makes the kernel's device tree, by their paths on the boot partition. For the Raspberry Pi 5 they are
/// the tree for all boards and the overlay for newer ones. In these tests U-Boot has its own tree.
fn device_trees(product: Product, kernel: &Kernel) -> Result<Vec<(String, Vec<u8>)>> {
    let board = gild_boards::by_name(product.name());
    let Some((board, stepping)) = board.and_then(|board| Some((board, board.stepping.as_ref()?)))
    else {
        return Ok(Vec::new());
    };
    let read = |path: &str| {
        let path = kernel.directory().join("dtb").join(path);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let base = read(&board.dtb[0])?;
    let overlay = dtbo::between(&base, &read(&stepping.dtb)?)?;
    Ok(vec![
        (board.base_dtb().to_owned(), base),
        (stepping.overlay.clone(), overlay),
    ])
}

fn build(
    product: Product,
    on_trial: Option<Start>,
    image_id: &str,
    kernel: &Kernel,
    init: &Path,
    directory: &Path,
) -> Result<()> {
    let raw = directory.join("golden.img");
    let identity = Identity::of(product);
    disk::blank(&raw, RAW_SIZE)?;
    run_with_text(
        command("sfdisk").arg("--quiet").arg(&raw),
        &identity.partition_table(),
    )?;
    let tree = directory.join("boot");
    fs::create_dir(&tree)?;
    write_configuration(product, on_trial, &identity, &tree)?;
    build_boot(product, image_id, &identity, kernel, init, &tree, &raw)?;
    build_root(image_id, &identity, init, directory, &raw)?;
    Ok(())
}

/// The fixed names of one board's image.
struct Identity {
    disk: &'static str,
    boot: &'static str,
    root: &'static str,
    boot_volume: &'static str,
}

impl Identity {
    fn of(product: Product) -> Self {
        match product {
            Product::Rpi5 => Self {
                disk: "9A1D0001-52A5-4E01-8A4C-0000000000A5",
                boot: "9A1D0001-52A5-4E01-8A4C-0000000000B0",
                root: "9A1D0001-52A5-4E01-8A4C-0000000000C0",
                boot_volume: "52A50001",
            },
            Product::Rock5b | Product::Unknown => Self {
                disk: "9A1D0002-5B5B-4E01-8A4C-0000000000A5",
                boot: "9A1D0002-5B5B-4E01-8A4C-0000000000B0",
                root: "9A1D0002-5B5B-4E01-8A4C-0000000000C0",
                boot_volume: "5B5B0001",
            },
        }
    }

    fn partition_table(&self) -> String {
        let sectors = |bytes: u64| bytes / 512;
        let (boot_start, boot_size) = (sectors(BOOT_START), sectors(BOOT_SIZE));
        let (root_start, root_size) = (sectors(ROOT_START), sectors(ROOT_SIZE));
        let Self {
            disk, boot, root, ..
        } = self;
        format!(
            "label: gpt\nlabel-id: {disk}\n\
             start={boot_start}, size={boot_size}, type={BASIC_DATA}, uuid={boot}, name=boot, attrs=LegacyBIOSBootable\n\
             start={root_start}, size={root_size}, type={ROOT_ARM64}, uuid={root}, name=root\n"
        )
    }

    fn command_line(&self) -> String {
        // A real board's image names that board's UART, but this one runs on QEMU's.
        format!(
            "console=ttyAMA0 quiet panic=-1 root=PARTUUID={}",
            self.root.to_lowercase()
        )
    }
}

/// The firmware's files, with the way back if the image is on trial.
fn write_configuration(
    product: Product,
    on_trial: Option<Start>,
    identity: &Identity,
    tree: &Path,
) -> Result<()> {
    let mut command_line = identity.command_line();
    if let Some(start) = on_trial {
        command_line.extend([" golden.start=", start.word()]);
    }
    if product.has_eeprom() {
        let config = "arm_64bit=1\nkernel=vmlinuz.gz\ninitramfs initrd.img followkernel\n";
        let config = match on_trial {
            Some(_) => trial::with_trial(config),
            None => config.to_owned(),
        };
        fs::write(tree.join(trial::CONFIG_TXT), config)?;
        fs::write(tree.join("cmdline.txt"), format!("{command_line}\n"))?;
        return Ok(());
    }
    let device_tree = gild_boards::by_name(product.name()).map_or("", |board| board.base_dtb());
    let script = u_boot::boot_scr(device_tree, &command_line)?;
    fs::write(tree.join(trial::BOOT_SCR), script)?;
    if on_trial.is_some() {
        fs::create_dir(tree.join(trial::FOLDER))?;
        for file in trial::TOKENS.iter().chain([&trial::ON]) {
            fs::write(tree.join(file), "on trial\n")?;
        }
    }
    Ok(())
}

fn build_boot(
    product: Product,
    image_id: &str,
    identity: &Identity,
    kernel: &Kernel,
    init: &Path,
    tree: &Path,
    raw: &Path,
) -> Result<()> {
    kernel.gzip_into(&tree.join("vmlinuz.gz"))?;
    write_initramfs(kernel, init, &tree.join("initrd.img"))?;
    fs::write(
        tree.join("gild-image.env"),
        format!("image_id={image_id}\nboard={}\n", product.name()),
    )?;
    for (path, content) in device_trees(product, kernel)? {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().context("a file in the tree")?)?;
        fs::write(path, content)?;
    }
    let sectors = (BOOT_START / 512).to_string();
    let kibibytes = (BOOT_SIZE / 1024).to_string();
    run(command("mkfs.vfat")
        .args([
            "-F",
            "32",
            "-s",
            "1",
            "-n",
            "GOLDEN-BOOT",
            "-i",
            identity.boot_volume,
            "--offset",
            &sectors,
        ])
        .arg(raw)
        .arg(kibibytes))?;
    let drive = format!("{}@@{BOOT_START}", raw.display());
    for entry in fs::read_dir(tree)? {
        run(command("mcopy")
            .args(["-s", "-i", &drive])
            .arg(entry?.path())
            .arg("::"))?;
    }
    fs::remove_dir_all(tree)?;
    Ok(())
}

fn build_root(
    image_id: &str,
    identity: &Identity,
    init: &Path,
    directory: &Path,
    raw: &Path,
) -> Result<()> {
    let tree = directory.join("root");
    for name in ["proc", "sys", "dev", "sbin", "etc", "usr/share/golden"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::copy(init, tree.join("sbin/init")).context("copying the root's init")?;
    fs::write(tree.join("etc/gild-image"), format!("{image_id}\n"))?;
    fs::write(tree.join("usr/share/golden/data"), noise(DATA_SIZE))?;
    run(command("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "golden-root",
            "-U",
            &identity.root.to_lowercase(),
            "-m",
            "0",
            "-d",
        ])
        .arg(&tree)
        .args([
            "-E",
            &format!(
                "offset={ROOT_START},root_owner=0:0,hash_seed={}",
                identity.disk.to_lowercase()
            ),
        ])
        .arg(raw)
        .arg(format!("{}k", ROOT_SIZE / 1024)))?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// Incompressible bytes, the same every time (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The modules that the golden image's own initramfs loads: to reach its root, to see whether a card is plugged in, and for the proof of an
/// image on trial, which needs its boot partition and a wired interface.
const MODULES: [&str; 8] = [
    "nvme",
    "ext4",
    "sdhci_pci",
    "virtio_blk",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "virtio_net",
];

fn write_initramfs(kernel: &Kernel, init: &Path, output: &Path) -> Result<()> {
    let mut archive = File::create(output)?;
    for directory in ["dev", "modules"] {
        archive = entry(archive, directory, 0o040_755, &[])?;
    }
    archive = entry(archive, "init", 0o100_755, &fs::read(init)?)?;
    let mut list = String::new();
    for (name, bytes) in kernel.modules(&MODULES)? {
        let path = format!("modules/{name}.ko");
        archive = entry(archive, &path, 0o100_644, &bytes)?;
        list.extend(["/", &path, "\n"]);
    }
    archive = entry(archive, "modules.list", 0o100_644, list.as_bytes())?;
    cpio::newc::trailer(archive)?;
    Ok(())
}

fn entry(archive: File, name: &str, mode: u32, bytes: &[u8]) -> Result<File> {
    let size = u32::try_from(bytes.len()).context("a cpio member is below 4 GiB")?;
    let mut writer = cpio::NewcBuilder::new(name).mode(mode).write(archive, size);
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}
