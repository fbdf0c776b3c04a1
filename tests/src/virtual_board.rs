//! A virtual board: one QEMU process that looks to the kernel like a board.
//!
//! Real: the kernel, the agent, its modules for NVMe, SD card and file systems, and all they do. Simulated: the
//! hardware (QEMU's `virt` machine, an emulated Cortex-A76) and the firmware: QEMU loads the kernel itself, or
//! Debian's U-Boot finds it.

mod devices;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::devices::{card_arguments, firmware_arguments, kernel_arguments, nvme_arguments};
use crate::board_dtb::{self, BOOTLOADER_CONFIG_ADDRESS, MACHINE, Product};
use crate::command::command;
use crate::eeprom::Eeprom;
use crate::led;
use crate::qmp::Qmp;
use crate::serial::SerialLog;
use crate::slot::Slot;
use crate::u_boot::UBoot;

const QEMU: &str = "qemu-system-aarch64";
/// The address of the interface that leads nowhere.
const DEAD_END: &str = "52:54:00:00:00:99";
const POLL: Duration = Duration::from_millis(20);
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
    /// Most bytes per second it takes and gives; 0 stands for any number.
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
    /// Cores: one, because all virtual boards share those of this machine.
    pub cores: u32,
    /// The EEPROM of an `rpi5`, if its firmware tells about it; else it only shows the factory's configuration.
    pub eeprom: Option<Eeprom>,
    /// The U-Boot that starts the board, if [`Hardware::switch_on`] does.
    pub u_boot: Option<UBoot>,
    /// Directory of the serial log, the LED trace and the device tree.
    pub directory: PathBuf,
}

impl Hardware {
    /// A board with nothing but its network interface.
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
            eeprom: None,
            u_boot: None,
            directory: directory.to_path_buf(),
        }
    }

    /// Applies power; QEMU starts this kernel in the place of the firmware, and a restart ends the run.
    pub fn power_on(&self, boot: &Boot) -> Result<VirtualBoard> {
        self.start(&kernel_arguments(boot), &self.firmware_tree())
    }

    /// Applies power; the board's U-Boot starts what it finds, and after a restart again.
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

        // The kernel ends QEMU when the harness ends, in whatever way that happens.
        let mut qemu = command("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU, "-M", "virt,acpi=off"])
            .args(MACHINE);
        // QEMU writes the size into the device tree that it is given; the last of an option counts.
        qemu.args(["-m", &format!("{}M", self.memory)]);
        qemu.args(["-smp", &self.cores.to_string()]);
        qemu.args(starter).arg("-dtb").arg(&dtb);
        qemu.args(["-qmp", "stdio", "-msg", "timestamp=on"]);
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        qemu.arg("-trace")
            .arg(format!("enable=pl061_set_output,file={}", led.display()));
        qemu.args(["-device", "virtio-rng-pci", "-device", "i6300esb"]);
        if self.spare_slot {
            // Always powered, so that a disk in it answers without the kernel's help.
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

/// The number of the next start in a directory: a board is often started more than once.
fn next_free(directory: &Path) -> u32 {
    let taken = |start: &u32| directory.join(format!("serial-{start}.log")).exists();
    (1..=u32::MAX)
        .find(|start| !taken(start))
        .unwrap_or(u32::MAX)
}

/// How a board's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest asked for a reboot.
    Reset,
    /// The guest switched itself off.
    PowerOff,
    /// The watchdog reset a guest that did not feed it.
    Watchdog,
    /// Anything else, in QEMU's words.
    Other(String),
}

/// Bytes a disk has taken and given, as QEMU counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCounters {
    /// Bytes the guest read.
    pub read: u64,
    /// Bytes the guest wrote, zeroing by write requests included.
    pub written: u64,
    /// Bytes the guest discarded.
    pub discarded: u64,
}

/// A running board. Dropping it cuts its power.
pub struct VirtualBoard {
    product: Product,
    child: Child,
    qmp: Qmp,
    serial: SerialLog,
    log: PathBuf,
    led: PathBuf,
    tolerate_faults: bool,
    /// While it runs.
    slot: Option<Slot>,
}

impl VirtualBoard {
    /// From here on a fault on the console is part of the test: waiting for another line goes on past it.
    pub fn tolerate_faults(&mut self) {
        self.tolerate_faults = true;
    }

    /// Waits for the next console line that contains `pattern` and gives that line.
    ///
    /// Ends early, with the end of the log, when the guest ends, panics, or reports a fault nobody waits for.
    pub fn wait_for(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        self.wait_until(pattern, timeout, |line| line.contains(pattern))
    }

    /// As [`VirtualBoard::wait_for`], for the first line that `wanted` accepts; `what` names it in the error.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            // Looked at before the log, so that the last lines of a guest that has just ended are still read.
            let ended = self.child.try_wait().context("asking after QEMU")?;
            while let Some(line) = self.serial.next_line() {
                if wanted(line) {
                    return Ok(line.to_owned());
                }
                let fault = line.contains("gild: FAULT") && !self.tolerate_faults;
                if fault || line.contains("Kernel panic") {
                    let line = line.to_owned();
                    bail!(
                        "the board says `{line}` while the test waits for `{what}`\n{}",
                        self.serial.tail()
                    );
                }
            }
            if let Some(status) = ended {
                self.qmp.read_to_the_end();
                let reason = self.qmp.shutdown_reason();
                bail!(
                    "the guest ended ({reason:?}, {status}) before `{what}`\n{}",
                    self.serial.tail()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "no `{what}` within {} s\n{}",
                    timeout.as_secs(),
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for a fault on the console, gives its line, and waits until the LED has blinked its number to the end.
    pub fn wait_for_fault(&mut self, number: u8, timeout: Duration) -> Result<String> {
        self.tolerate_faults();
        let line = self.wait_for(&format!("gild: FAULT {number}:"), timeout)?;
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.led()?;
            if seen.faults.contains(&number) {
                return Ok(line);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the LED never blinked fault {number}, but {seen:?}\n{}",
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// What the LED has shown since power-on.
    pub fn led(&self) -> Result<led::Seen> {
        led::seen(&self.led, self.product.led_active_low())
    }

    /// Waits until the machine ends by itself.
    pub fn wait_end(&mut self, timeout: Duration) -> Result<End> {
        let deadline = Instant::now() + timeout;
        while self
            .child
            .try_wait()
            .context("asking after QEMU")?
            .is_none()
        {
            if Instant::now() >= deadline {
                bail!(
                    "still running after {} s\n{}",
                    timeout.as_secs(),
                    self.serial.tail()
                );
            }
            std::thread::sleep(POLL);
        }
        // Whoever keeps a board that has ended may start the next one: boards that wait for each other's slots would wait forever.
        self.slot = None;
        self.qmp.read_to_the_end();
        if self.qmp.saw("WATCHDOG") {
            return Ok(End::Watchdog);
        }
        Ok(match self.qmp.shutdown_reason().as_deref() {
            Some("guest-reset") => End::Reset,
            Some("guest-shutdown") => End::PowerOff,
            other => End::Other(other.unwrap_or("no reason given").to_owned()),
        })
    }

    /// All console lines so far.
    pub fn console(&mut self) -> Vec<String> {
        self.serial.lines().to_vec()
    }

    /// The file the serial console is written to.
    #[must_use]
    pub fn serial_file(&self) -> &Path {
        &self.log
    }

    /// Cuts the power: the process is killed. What the guest wrote to its disks stays, even what it did not flush.
    pub fn cut_power(mut self) -> Result<()> {
        self.child.kill().context("killing QEMU")?;
        self.child.wait().context("waiting for QEMU")?;
        Ok(())
    }

    /// Pulls the network cable, or plugs it in again.
    pub fn set_cable(&mut self, plugged: bool) -> Result<()> {
        self.qmp
            .execute("set_link", json!({ "name": "net0", "up": plugged }))?;
        Ok(())
    }

    /// Gives an NVMe these errors (elements of blkdebug's `inject-error`), from now on.
    pub fn break_disk(&mut self, index: usize, errors: &[Value]) -> Result<()> {
        let debug = json!({
            "driver": "blkdebug", "node-name": format!("nvme{index}-broken"), "image": format!("nvme{index}-file"),
            "inject-error": errors,
        });
        self.qmp.execute("blockdev-add", debug)?;
        self.rewire(index, &format!("nvme{index}-broken"))
    }

    /// Takes the errors of [`VirtualBoard::break_disk`] away again.
    pub fn heal_disk(&mut self, index: usize) -> Result<()> {
        self.rewire(index, &format!("nvme{index}-file"))?;
        self.qmp.execute(
            "blockdev-del",
            json!({ "node-name": format!("nvme{index}-broken") }),
        )?;
        Ok(())
    }

    /// Lets an NVMe answer nothing any more, neither with data nor with errors.
    pub fn freeze_disk(&mut self, index: usize) -> Result<()> {
        self.slow_disk_down(index, 1)
    }

    /// Lets an NVMe move only so many bytes a second, from now on.
    pub fn slow_disk_down(&mut self, index: usize, bytes_per_second: u64) -> Result<()> {
        let mut limits = json!({ "id": format!("nvme{index}-slot"), "bps": bytes_per_second });
        for unlimited in ["bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
            limits[unlimited] = json!(0);
        }
        self.qmp.execute("block_set_io_throttle", limits)?;
        Ok(())
    }

    fn rewire(&mut self, index: usize, below: &str) -> Result<()> {
        let raw = json!({ "driver": "raw", "node-name": format!("nvme{index}"), "file": below, "discard": "unmap" });
        self.qmp
            .execute("blockdev-reopen", json!({ "options": [raw] }))?;
        Ok(())
    }

    /// Plugs in an NVMe disk while the board runs.
    pub fn plug_nvme(&mut self, index: usize, nvme: &Nvme) -> Result<()> {
        let node = format!("nvme{index}");
        let file = json!({
            "driver": "file", "node-name": format!("{node}-file"), "filename": nvme.file, "discard": "unmap",
        });
        self.qmp.execute("blockdev-add", file)?;
        let raw = json!({ "driver": "raw", "node-name": node, "file": format!("{node}-file"), "discard": "unmap" });
        self.qmp.execute("blockdev-add", raw)?;
        let device = json!({
            "driver": "nvme", "id": format!("{node}-slot"), "drive": node, "serial": nvme.serial, "bus": "spare-slot",
        });
        self.qmp.execute("device_add", device)?;
        Ok(())
    }

    /// What an NVMe has done so far.
    pub fn disk_counters(&mut self, index: usize) -> Result<DiskCounters> {
        let answer = self.qmp.execute("query-blockstats", json!({}))?;
        // Whatever the disk is plugged into is counted: the disk itself, or the throttle above it.
        let nodes = [format!("nvme{index}"), format!("nvme{index}-slow")];
        let disks = answer.as_array().context("query-blockstats gives a list")?;
        let disk = disks
            .iter()
            .find(|disk| nodes.iter().any(|node| disk["node-name"] == **node))
            .with_context(|| format!("no disk {} in {answer}", nodes[0]))?;
        let count = |name: &str| disk["stats"][name].as_u64().unwrap_or(0);
        Ok(DiskCounters {
            read: count("rd_bytes"),
            written: count("wr_bytes"),
            discarded: count("unmap_bytes"),
        })
    }

    /// A QMP command of the test's own.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }
}

impl Drop for VirtualBoard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
