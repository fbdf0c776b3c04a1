//! The gate in the card's boot script, run by a real U-Boot: Debian's for QEMU's arm64 machine.
//!
//! Simulated: the card hangs on virtio and not on an SD controller, which that U-Boot has no driver for, and the disk has
//! no system on it, so that starting it ends where its kernel would be loaded.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::{Bench, MIB};
use crate::desk::Desk;

const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const AGENT: &str = "gild: starting the agent";
const DISK: &str = "Retrieving file: /Image";
/// Longer than any start takes, on a machine however busy.
const SECONDS: &str = "300";

/// A disk whose first partition is like a golden image's.
fn disk(bench: &Bench, image_id: &str) {
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

/// Applies power, and gives the console up to the line that says what is started.
fn start(bench: &Bench) -> String {
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
        .args([
            "-nodefaults",
            "-nographic",
            "-serial",
            "stdio",
            "-bios",
            U_BOOT,
        ])
        .args([
            "-drive",
            "if=none,id=card,file=card.img,format=raw",
            "-device",
            "virtio-blk-pci,drive=card",
        ])
        .args([
            "-drive",
            "if=none,id=nvme,file=nvme.img,format=raw",
            "-device",
            "nvme,drive=nvme,serial=S1",
        ])
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
        if line.contains(AGENT) || line.contains(DISK) {
            break;
        }
    }
    // `timeout` hands the signal on, and QEMU ends.
    let id = qemu.id().to_string();
    Command::new("kill").arg(id).status().expect("kill");
    qemu.wait().expect("the end of QEMU");
    console
}

#[test]
fn a_finished_disk_starts_and_any_other_starts_the_agent() {
    let desk = Desk::least();
    let bench = &desk.bench;
    disk(bench, "rock5b-0123456789ab");
    let starts = |what: &str, because: &str| {
        let console = start(bench);
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
    bench.poke("nvme.img", 0, &[0; 512]);
    starts(AGENT, "without its first sector the disk is not committed");
}
