//! Debian's U-Boot for QEMU, instead of the Rock 5B's, and the flash chip that it keeps its environment in.
//!
//! Real: U-Boot, the chip (QEMU's model of a CFI flash), what is written to it, and what U-Boot reads from it. Simulated: U-Boot starts
//! from a separate chip, which nothing here writes to. The chip is a CFI one with blocks of 256 KiB, but the board has SPI NOR with blocks
//! of 4 KiB. It appears behind the Rock 5B's flash controller.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_boards::uboot_env::{Block, Environment};

use crate::command::{command, run};
use crate::workspace;

/// What the machine has for each of its two flash chips.
const CHIP_SIZE: u64 = 64 << 20;
/// Where Debian's U-Boot looks for its environment: the first block of the second chip.
pub const ENVIRONMENT: Range<u64> = 0..0x4_0000;
/// The part that is shown to Linux as the Rock 5B's boot flash.
pub const BOOT_FLASH: Range<u64> = 0x100_0000..0x200_0000;
/// Bytes of an erase block.
pub const BLOCK: usize = 0x4_0000;

/// Settings that a Rock 5B's U-Boot has built in and Debian's for QEMU lacks: a place to unpack the kernel, and for this machine the
/// console. It does not wait two seconds for a key.
const SETTINGS: [(&str, &str); 4] = [
    ("bootdelay", "0"),
    ("kernel_comp_addr_r", "0x50000000"),
    ("kernel_comp_size", "0x4000000"),
    ("gild_args", "console=ttyAMA0 quiet"),
];
/// Settings that are removed from the built-in environment to make room for those, because it cannot grow. Nothing reads them here.
const GIVEN_UP: [&str; 7] = [
    "arch",
    "cpu",
    "board",
    "board_name",
    "vendor",
    "usb_ignorelist",
    "pxefile_addr_r",
];

/// The two chips of a board.
#[derive(Clone, Debug)]
pub struct UBoot {
    /// The chip with the program.
    pub program: PathBuf,
    /// The chip that the board writes to.
    pub flash: PathBuf,
}

impl UBoot {
    /// A board whose U-Boot has saved its settings once. They are the built-in ones, so the card comes before the disk.
    pub fn new(flash: &Path) -> Result<Self> {
        let program = program()?;
        let chip = File::create(flash).with_context(|| format!("creating {}", flash.display()))?;
        // Erased flash reads as ones. A file with 64 MiB of them is small enough.
        chip.write_all_at(&vec![0xff; usize::try_from(CHIP_SIZE)?], 0)?;
        let environment = Environment::built_into(&fs::read(&program)?)
            .context("no built-in environment in U-Boot")?;
        let u_boot = Self {
            program,
            flash: flash.to_path_buf(),
        };
        u_boot.set_environment(environment)?;
        Ok(u_boot)
    }

    /// The environment in flash, as U-Boot would read it.
    pub fn environment(&self) -> Result<Environment> {
        Ok(Block::parse_plain(&self.read(&ENVIRONMENT)?)?.environment)
    }

    /// Saves another environment, as `saveenv` at U-Boot's prompt does.
    pub fn set_environment(&self, environment: Environment) -> Result<()> {
        let block = Block {
            environment,
            flag: None,
        };
        let size = usize::try_from(ENVIRONMENT.end - ENVIRONMENT.start)?;
        self.write(ENVIRONMENT.start, &block.to_bytes(size, 0)?)
    }

    /// Bytes of the chip.
    pub fn read(&self, place: &Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(place.end - place.start)?];
        File::open(&self.flash)?.read_exact_at(&mut bytes, place.start)?;
        Ok(bytes)
    }

    /// Changes the chip from outside, like a programmer with a clip.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let chip = OpenOptions::new().write(true).open(&self.flash)?;
        Ok(chip.write_all_at(bytes, at)?)
    }

    /// What the device tree says about the chips: the first is not used, the second is divided.
    #[must_use]
    pub fn device_tree() -> String {
        let size = |place: &Range<u64>| place.end - place.start;
        let (env, boot) = (size(&ENVIRONMENT), size(&BOOT_FLASH));
        let start = BOOT_FLASH.start;
        format!(
            r#"/delete-node/ flash@0;
            sfc {{
                compatible = "rockchip,sfc", "simple-bus";
                #address-cells = <2>; #size-cells = <2>; ranges;
                flash@4000000 {{
                    compatible = "cfi-flash"; bank-width = <4>;
                    reg = <0 {CHIP_SIZE:#x} 0 {CHIP_SIZE:#x}>;
                    partitions {{
                        compatible = "fixed-partitions"; #address-cells = <1>; #size-cells = <1>;
                        partition@0 {{ compatible = "u-boot,env"; label = "environment"; reg = <0 {env:#x}>; }};
                        partition@{start:x} {{ label = "boot"; reg = <{start:#x} {boot:#x}>; }};
                    }};
                }};
            }};"#
        )
    }
}

/// The first chip: always Debian 13's U-Boot, with [`SETTINGS`] built in.
fn program() -> Result<PathBuf> {
    let key = workspace::key(&[], &[include_str!("u_boot.rs")])?;
    let place = workspace::cached("u-boot", &key, |directory| {
        let archive = workspace::root().join("toolchain/debian-archive");
        let packages = directory.join("packages");
        run(command(&archive.to_string_lossy())
            .args(["download", "trixie", "arm64", "u-boot-qemu"])
            .arg(&packages))?;
        let package = fs::read_dir(&packages)?
            .next()
            .context("no package came")??;
        run(command("dpkg-deb")
            .arg("-x")
            .arg(package.path())
            .arg(directory.join("root")))?;
        let path = directory.join("root/usr/lib/u-boot/qemu_arm64/u-boot.bin");
        let program = with_settings(fs::read(path)?)?;
        let chip = File::create(directory.join("u-boot.img"))?;
        chip.write_all_at(&program, 0)?;
        chip.set_len(CHIP_SIZE)?;
        fs::remove_dir_all(packages)?;
        Ok(fs::remove_dir_all(directory.join("root"))?)
    })?;
    Ok(place.join("u-boot.img"))
}

/// Changes the built-in environment inside the file.
fn with_settings(mut program: Vec<u8>) -> Result<Vec<u8>> {
    let mut environment =
        Environment::built_into(&program).context("no built-in environment in U-Boot")?;
    let old = text(&environment);
    let found: Vec<usize> = memchr::memmem::find_iter(&program, &old).collect();
    ensure!(
        found.len() == 1,
        "the built-in environment is in U-Boot {} times",
        found.len()
    );
    for name in GIVEN_UP {
        environment.remove(name);
    }
    for (name, value) in SETTINGS {
        environment.set(name, value)?;
    }
    let mut new = text(&environment);
    ensure!(
        new.len() <= old.len(),
        "U-Boot has no room for {} bytes of settings more",
        new.len() - old.len()
    );
    new.resize(old.len(), 0);
    program[found[0]..found[0] + new.len()].copy_from_slice(&new);
    Ok(program)
}

fn text(environment: &Environment) -> Vec<u8> {
    let variables = environment.iter();
    variables.fold(Vec::new(), |mut text, (name, value)| {
        text.extend([name, b"=", value, b"\0"].concat());
        text
    })
}
