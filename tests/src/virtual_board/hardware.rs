//! What a virtual board is made of, and how QEMU is asked for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::VirtualBoard;
use super::devices::{card_arguments, firmware_arguments, kernel_arguments, nvme_arguments};
use crate::board_dtb::{self, BOOTLOADER_CONFIG_ADDRESS, MACHINE, Product};
use crate::command::command;
use crate::eeprom::Eeprom;
use crate::qmp::Qmp;
use crate::serial::SerialLog;
use crate::slot::Slot;
use crate::u_boot::UBoot;

const QEMU: &str = "qemu-system-aarch64";
/// The address of the interface that leads nowhere.
const DEAD_END: &str = "52:54:00:00:00:99";
/// EEPROM configuration of a Pi 5 as it leaves the factory.
const BOOTLOADER_CONFIG: &str = "[all]\nBOOT_UART=1\nPOWER_OFF_ON_HALT=0\nBOOT_ORDER=0xf461\n";

/// What the machine starts from: the part of the firmware that QEMU plays.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Kernel, plain or gzipped.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: PathBuf,
    /// Kernel command line.
    pub command_line: String,
}

/// One NVMe disk.
#[derive(Clone, Debug)]
pub struct Nvme {
    /// The file that holds its bytes.
    pub file: PathBuf,
    /// Its serial number.
    pub serial: String,
    /// Logical sector size.
    pub sector_size: u32,
    /// Most bytes per second that it takes and gives until [`VirtualBoard::let_disk_run`]; 0 means no limit.
    pub bytes_per_second: u64,
    /// Errors it has from the start: elements of blkdebug's `inject-error`.
    pub errors: Vec<Value>,
}

impl Nvme {
    /// A sound disk of 512-byte sectors.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_path_buf(),
            serial: "NVME-SIM-0001".into(),
            sector_size: 512,
            bytes_per_second: 0,
            errors: Vec::new(),
        }
    }
}

/// What a virtual board is made of.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Which board it looks like.
    pub product: Product,
    /// Its NVMe disks.
    pub nvme: Vec<Nvme>,
    /// The image of the card in its slot.
    pub card: Option<PathBuf>,
    /// Is there a slot into which [`VirtualBoard::plug_nvme`] can put a disk later?
    pub spare_slot: bool,
    /// Is there a network interface?
    pub network: bool,
    /// What its network is, in QEMU's words.
    pub netdev: &'static str,
    /// Is there an interface before it, in a network with a DHCP server and nothing else?
    pub dead_end: bool,
    /// Memory, MiB: at least 512.
    pub memory: u32,
    /// Cores: one, because all virtual boards share this machine's cores.
    pub cores: u32,
    /// What its own clock shows at power-on, in QEMU's words: a day, or `utc` for the time of this machine.
    pub clock: &'static str,
    /// The EEPROM of an `rpi5`, if its firmware shows it; else it only shows the factory's configuration.
    pub eeprom: Option<Eeprom>,
    /// The U-Boot that starts the board, if [`Hardware::switch_on`] does.
    pub u_boot: Option<UBoot>,
    /// Directory of the serial log, the LED trace and the device tree.
    pub directory: PathBuf,
}

impl Hardware {
    /// A board with only its network interface.
    #[must_use]
    pub fn new(product: Product, directory: &Path) -> Self {
        Self {
            product,
            nvme: Vec::new(),
            card: None,
            spare_slot: false,
            network: true,
            netdev: "user",
            dead_end: false,
            memory: 512,
            cores: 1,
            clock: "utc",
            eeprom: None,
            u_boot: None,
            directory: directory.to_path_buf(),
        }
    }

    /// Applies power. QEMU starts this kernel instead of the firmware, and a restart ends the run.
    pub fn power_on(&self, boot: &Boot) -> Result<VirtualBoard> {
        self.start(&kernel_arguments(boot), &self.firmware_tree())
    }

    /// Applies power. The board's U-Boot starts what it finds, and does so again after a restart.
    pub fn switch_on(&self) -> Result<VirtualBoard> {
        let u_boot = self.u_boot.as_ref().context("a board without a U-Boot")?;
        self.start(&firmware_arguments(u_boot), &UBoot::device_tree())
    }

    /// What the firmware of an `rpi5` adds to the device tree.
    fn firmware_tree(&self) -> String {
        let eeprom = self.eeprom.as_ref().map(Eeprom::device_tree);
        eeprom.unwrap_or_default()
    }

    fn start(&self, starter: &[String], tree: &str) -> Result<VirtualBoard> {
        let slot = Slot::take()?;
        fs::create_dir_all(&self.directory)?;
        let dtb = self.directory.join("board.dtb");
        board_dtb::write(self.product, tree, self.cores, QEMU, &dtb)?;
        let start = next_free(&self.directory);
        let log = self.directory.join(format!("serial-{start}.log"));
        let led = self.directory.join(format!("led-{start}.trace"));
        let errors = self.directory.join(format!("qemu-{start}.log"));

        // The kernel ends QEMU when the harness ends, however it ends.
        let mut qemu = command("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU, "-M", "virt,acpi=off"])
            .args(MACHINE);
        // QEMU writes the size into its device tree. If an option is given twice, the last one counts.
        qemu.args(["-m", &format!("{}M", self.memory)]);
        qemu.args(["-smp", &self.cores.to_string()]);
        qemu.args(["-rtc", &format!("base={}", self.clock)]);
        qemu.args(starter).arg("-dtb").arg(&dtb);
        qemu.args(["-qmp", "stdio", "-msg", "timestamp=on"]);
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        qemu.arg("-trace")
            .arg(format!("enable=pl061_set_output,file={}", led.display()));
        qemu.args(["-device", "virtio-rng-pci", "-device", "i6300esb"]);
        if self.spare_slot {
            // The slot always has power, so that a disk in it answers without the kernel's help.
            qemu.args([
                "-device",
                "pcie-root-port,id=spare-slot,power_controller_present=off",
            ]);
        }
        for (index, nvme) in self.nvme.iter().enumerate() {
            qemu.args(nvme_arguments(index, nvme));
        }
        if let Some(card) = &self.card {
            qemu.args(card_arguments(card, self.u_boot.is_some()));
        }
        if self.dead_end {
            qemu.args([
                "-netdev",
                "user,id=dead-end,restrict=on,net=10.9.9.0/24",
                "-device",
            ]);
            qemu.arg(format!(
                "virtio-net-pci,netdev=dead-end,mac={DEAD_END},romfile="
            ));
        }
        if self.network {
            qemu.arg("-netdev");
            qemu.arg(format!("{},id=net0", self.netdev));
            qemu.arg("-device");
            qemu.arg(format!(
                "virtio-net-pci,netdev=net0,mac={},romfile=",
                self.product.mac()
            ));
        }
        if self.product.has_eeprom() {
            let config = self.directory.join("bootconf.txt");
            let text = self.eeprom.as_ref().map(Eeprom::config).transpose()?;
            fs::write(&config, text.unwrap_or(BOOTLOADER_CONFIG))?;
            let address = BOOTLOADER_CONFIG_ADDRESS;
            qemu.arg("-device");
            qemu.arg(format!(
                "loader,file={},addr={address:#x},force-raw=on",
                config.display()
            ));
        }
        let stderr = fs::File::create(&errors)?;
        let mut child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("starting QEMU: is qemu-system-aarch64 installed? `make setup` installs it")?;
        let input = child.stdin.take().context("QEMU's standard input")?;
        let output = child.stdout.take().context("QEMU's standard output")?;
        let qmp = Qmp::open(input, output).with_context(|| {
            format!(
                "QEMU did not start: {}",
                fs::read_to_string(&errors).unwrap_or_default().trim()
            )
        });
        let qmp = match qmp {
            Ok(qmp) => qmp,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(VirtualBoard {
            product: self.product,
            child,
            qmp,
            serial: SerialLog::at(&log),
            log,
            led,
            tolerate_faults: false,
            slot: Some(slot),
        })
    }
}

/// The number of the next start in a directory, because a board is often started more than once.
fn next_free(directory: &Path) -> u32 {
    let taken = |start: &u32| directory.join(format!("serial-{start}.log")).exists();
    (1..=u32::MAX)
        .find(|start| !taken(start))
        .unwrap_or(u32::MAX)
}
