//! The gate in the card's boot script, run by real U-Boots: Debian's for QEMU's arm64 machine, of two ages.
//!
//! That of Debian 12 (2023.01) has no `bootflow` that the script could use and starts the disk by `bootcmd_nvme0`, as the
//! vendor's does; that of Debian 13 (2025.01) has no such variable, like the Rock 5B's own.
//!
//! Simulated: the card hangs on virtio and not on an SD controller, which these have no driver for; the disk has no
//! system on it, so that starting it ends where its kernel would be loaded; the card's kernel is a header without a
//! program behind it; and nobody is given two seconds to press a key.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::common::{Bench, MIB, Ran};
use crate::desk::Desk;

pub const AGENT: &str = "gild: starting the agent";
const DISK: &str = "Retrieving file: /Image";
const KERNEL: &str = "Starting kernel";
const BANNER: &str = "U-Boot 20";
/// Longer than any start takes, on a machine however busy.
const SECONDS: &str = "300";

pub fn debian_12() -> &'static Path {
    Path::new("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
}

/// Taken out of the archive once, whatever this machine runs.
pub fn debian_13() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let program = root.join("target/debian/u-boot-2025.bin");
        if !program.exists() {
            fs::create_dir_all(root.join("target/debian")).expect("a folder");
            let folder = TempDir::new_in(root.join("target/debian")).expect("a folder");
            let archive = root.join("toolchain/debian-archive");
            let download = Command::new(archive)
                .args(["download", "trixie", "arm64", "u-boot-qemu"])
                .arg(folder.path())
                .output();
            Ran::from(download.expect("debian-archive")).succeeds();
            let script = "dpkg-deb -x *.deb . && mv usr/lib/u-boot/qemu_arm64/u-boot.bin ..";
            let unpack = Command::new("sh")
                .args(["-ec", script])
                .current_dir(folder.path())
                .output();
            Ran::from(unpack.expect("sh")).succeeds();
            fs::rename(root.join("target/debian/u-boot.bin"), &program).expect("renamed");
        }
        program
    });
    &PROGRAM
}

/// A disk whose first partition is empty.
pub fn empty_disk(bench: &Bench) {
    let file = File::create(bench.path("nvme.img")).expect("a file");
    file.set_len(128 * MIB).expect("a sparse file");
    bench.sfdisk(
        "nvme.img",
        "label: gpt\nstart=32768, size=131072, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, attrs=LegacyBIOSBootable\n",
    );
    bench
        .tool(
            "mkfs.vfat",
            &[
                "-F", "32", "-s", "1", "--offset", "32768", "nvme.img", "65536",
            ],
        )
        .succeeds();
}

/// A disk whose first partition says that it is a golden image's, and that names a kernel.
fn disk(bench: &Bench, image_id: &str) {
    empty_disk(bench);
    std::fs::create_dir_all(bench.path("p1/extlinux")).expect("a folder");
    let extlinux = "label gild\n  kernel /Image\n  append root=none\n";
    std::fs::write(bench.path("p1/extlinux/extlinux.conf"), extlinux).expect("a file");
    std::fs::write(
        bench.path("p1/gild-image.env"),
        format!("image_id={image_id}\nboard=rock5b\n"),
    )
    .expect("a file");
    bench.shell("mcopy -s -i nvme.img@@16M p1/* ::").succeeds();
}

/// Applies power, and gives the console up to the line with which this is true.
pub fn start(bench: &Bench, u_boot: &Path, is_enough: impl Fn(&str) -> bool) -> String {
    start_with(bench, u_boot, "", &[], is_enough)
}

/// The same with a U-Boot that looks at the disk first, and with more options for the disk.
pub fn start_disk_first(
    bench: &Bench,
    u_boot: &Path,
    nvme: &str,
    is_enough: impl Fn(&str) -> bool,
) -> String {
    let mut program = fs::read(u_boot).expect("U-Boot");
    let order = built_in(&program, "boot_targets");
    let text = String::from_utf8(program[order.clone()].to_vec()).expect("text");
    let (first, others): (Vec<&str>, Vec<&str>) = text
        .split_whitespace()
        .partition(|word| word.starts_with("nvme"));
    let wanted = [first, others].concat().join(" ");
    let wanted = format!("{wanted:length$}", length = order.len());
    program[order].copy_from_slice(wanted.as_bytes());
    let path = bench.path("disk-first.bin");
    fs::write(&path, program).expect("a file");
    start_with(bench, &path, nvme, &[], is_enough)
}

/// Where the value of a variable stands in U-Boot's built-in environment.
fn built_in(program: &[u8], variable: &str) -> Range<usize> {
    let variable = format!("\0{variable}=");
    let found = program
        .windows(variable.len())
        .position(|part| part == variable.as_bytes());
    let start = found.expect("a built-in variable") + variable.len();
    let length = program[start..].iter().position(|&byte| byte == 0);
    start..start + length.expect("an end")
}

/// The same, with more options for the disk and for QEMU.
fn start_with(
    bench: &Bench,
    u_boot: &Path,
    nvme: &str,
    options: &[&str],
    is_enough: impl Fn(&str) -> bool,
) -> String {
    start_from(bench, u_boot, ("", nvme), options, is_enough)
}

/// The same, with more options for the card and the disk.
fn start_from(
    bench: &Bench,
    u_boot: &Path,
    (card, nvme): (&str, &str),
    options: &[&str],
    is_enough: impl Fn(&str) -> bool,
) -> String {
    let mut program = fs::read(u_boot).expect("U-Boot");
    let delay = built_in(&program, "bootdelay");
    program[delay].copy_from_slice(b"0");
    fs::write(bench.path("u-boot.bin"), program).expect("a file");
    let mut qemu = Command::new("timeout")
        .args([
            SECONDS,
            "qemu-system-aarch64",
            "-M",
            "virt,acpi=off",
            "-cpu",
            "cortex-a72",
            "-m",
            "512M",
        ])
        .args(["-nodefaults", "-nographic", "-serial", "stdio"])
        .args(["-bios", "u-boot.bin"])
        .arg("-drive")
        .arg(format!("if=none,id=card,file=card.img,format=raw{card}"))
        .args(["-device", "virtio-blk-pci,drive=card"])
        .arg("-drive")
        .arg(format!("if=none,id=nvme,file=nvme.img,format=raw{nvme}"))
        .args(["-device", "nvme,drive=nvme,serial=S1"])
        .args(options)
        .current_dir(bench.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("timeout and qemu-system-aarch64 (make setup installs it)");
    let mut console = String::new();
    for line in BufReader::new(qemu.stdout.take().expect("a pipe")).split(b'\n') {
        let line = String::from_utf8_lossy(&line.expect("the console")).into_owned();
        console += &line;
        console.push('\n');
        if is_enough(&console) {
            break;
        }
    }
    // `timeout` hands the signal on, and QEMU ends.
    let id = qemu.id().to_string();
    Command::new("kill").arg(id).status().expect("kill");
    qemu.wait().expect("the end of QEMU");
    console
}

/// Its UUID, by which U-Boot knows the disk.
pub fn first_partition(bench: &Bench) -> String {
    let ran = bench.tool("sfdisk", &["--part-uuid", "nvme.img", "1"]);
    ran.succeeds().stdout.trim().to_lowercase()
}

fn a_finished_disk_starts_and_any_other_starts_the_agent(u_boot: &Path) {
    let desk = Desk::least();
    let bench = &desk.bench;
    disk(bench, "rock5b-0123456789ab");
    let starts = |what: &str, because: &str| {
        let console = start(bench, u_boot, |console| {
            console.contains(AGENT) || console.contains(DISK)
        });
        let last = console.lines().last().unwrap_or_default();
        assert!(last.contains(what), "{because}: {console}");
    };
    starts(AGENT, "a new card has seen nothing finished");
    desk.replace("gate.env", "rpi5=rpi5-1\nrock5b=rock5b-0123456789ab\n");
    starts(DISK, "the disk carries the image that is finished");
    desk.replace("gate.env", "rock5b=rock5b-ffffffffffff\n");
    starts(AGENT, "another image is finished");
    desk.replace("gate.env", "rpi5=rock5b-0123456789ab\n");
    starts(AGENT, "the image is finished on another kind of board");
    desk.replace("gate.env", "rock5b=\nimage_id=\n");
    starts(AGENT, "an empty line opens nothing");
    desk.replace(
        "gate.env",
        "gild_card=nowhere 9:9\nrock5b=rock5b-ffffffffffff\n",
    );
    starts(
        &format!("{AGENT} from virtio"),
        "nothing else is taken out of the file",
    );
    desk.replace("gate.env", "rock5b=rock5b-0123456789ab\n");

    desk.replace("gate.env", "");
    desk.replace("trial.env", "rock5b=rock5b-0123456789ab\n");
    starts(DISK, "the image is on trial");
    starts(AGENT, "a trial is one start");
    desk.replace("trial.env", "rock5b=rock5b-ffffffffffff\n");
    starts(AGENT, "another image is on trial");
    let name = "gild-image.env";
    bench
        .tool("mdel", &["-i", "nvme.img@@16M", &format!("::{name}")])
        .succeeds();
    desk.replace("trial.env", "rock5b=rock5b-0123456789ab\n");
    starts(AGENT, "the disk does not say what it carries");
    desk.replace("trial.env", "rock5b=0b0e7a3c-0000-4000-8000-000000000000\n");
    starts(AGENT, "another disk has one start");
    desk.replace("trial.env", format!("rock5b={}\n", first_partition(bench)));
    starts(DISK, "this disk has one start, whatever it carries");
    starts(AGENT, "which is one");
    fs::write(bench.path(name), "image_id=rock5b-0123456789ab\n").expect("a file");
    bench
        .tool("mcopy", &["-i", "nvme.img@@16M", name, "::"])
        .succeeds();
    desk.replace("trial.env", "rock5b=rock5b-0123456789ab\n");
    bench.poke("nvme.img", 0, &[0; 512]);
    starts(AGENT, "without its first sector the disk is not committed");
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn the_gate_of_debian_12() {
    a_finished_disk_starts_and_any_other_starts_the_agent(debian_12());
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn the_gate_of_debian_13() {
    a_finished_disk_starts_and_any_other_starts_the_agent(debian_13());
}

/// What cannot be used up would start the disk again and again.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn a_trial_that_cannot_be_removed_starts_the_agent() {
    let desk = Desk::least();
    disk(&desk.bench, "rock5b-0123456789ab");
    desk.replace("trial.env", "rock5b=rock5b-0123456789ab\n");
    for u_boot in [debian_12(), debian_13()] {
        let console = start_from(&desk.bench, u_boot, (",readonly=on", ""), &[], |console| {
            console.contains(AGENT) || console.contains(DISK)
        });
        let last = console.lines().last().unwrap_or_default();
        assert!(last.contains(AGENT), "{console}");
    }
}

/// Neither has a place to unpack a kernel, and the vendor's could not unpack one.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn the_kernel_starts_without_being_unpacked() {
    let desk = Desk::least();
    disk(&desk.bench, "rock5b-0123456789ab");
    for u_boot in [debian_12(), debian_13()] {
        let console = start(&desk.bench, u_boot, |console| {
            console.contains(KERNEL) || console.contains("did not start")
        });
        assert!(console.contains(KERNEL), "{console}");
    }
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn a_card_whose_agent_does_not_start_leaves_no_board_at_the_prompt() {
    let desk = Desk::least();
    disk(&desk.bench, "rock5b-0123456789ab");
    desk.replace("rockchip/Image", "half");
    for u_boot in [debian_12(), debian_13()] {
        let console = start(&desk.bench, u_boot, |console| {
            console.matches(BANNER).count() == 2
        });
        let (before, after) = console
            .split_once("gild: the agent did not start")
            .unwrap_or_else(|| panic!("{console}"));
        assert!(!before.contains(DISK), "the gate is closed: {console}");
        assert!(after.contains(DISK), "the disk is tried: {console}");
        assert!(after.contains(BANNER), "it starts again: {console}");
    }
}

/// U-Boot's own device tree is QEMU's here, with the `compatible` of the product.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn a_product_that_is_easily_taken_for_the_board_is_refused() {
    let desk = Desk::least();
    let bench = &desk.bench;
    disk(bench, "rock5b-0123456789ab");
    desk.replace("gate.env", "rock5b=rock5b-0123456789ab\n");
    bench
        .shell("qemu-system-aarch64 -M virt,acpi=off,dumpdtb=board.dtb -cpu cortex-a72 -m 512M -nodefaults -nographic")
        .succeeds();
    for u_boot in [debian_12(), debian_13()] {
        let console = |compatible: &str| {
            let arguments = [
                "-t",
                "s",
                "board.dtb",
                "/",
                "compatible",
                compatible,
                "rockchip,rk3588",
            ];
            bench.tool("fdtput", &arguments).succeeds();
            start_with(bench, u_boot, "", &["-dtb", "board.dtb"], |console| {
                [AGENT, DISK, "gild: this is"]
                    .iter()
                    .any(|line| console.contains(line))
            })
        };
        for (compatible, words) in [
            ("radxa,rock-5b", DISK),
            (
                "radxa,rock-5b-plus",
                "gild: this is a Radxa ROCK 5B+, and gild supports the Radxa ROCK 5B only",
            ),
            (
                "radxa,rock-5t",
                "gild: this is a Radxa ROCK 5T, and gild supports the Radxa ROCK 5B only",
            ),
        ] {
            let console = console(compatible);
            let last = console.lines().last().unwrap_or_default();
            assert!(last.contains(words), "{compatible}: {console}");
        }
    }
}
