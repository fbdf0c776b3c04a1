//! A card is written. The SD card is a file here.

use crate::desk::Desk;

#[test]
fn a_card_is_written_and_read_back() {
    let desk = Desk::full();
    desk.bench.shell("truncate -s 600M device && printf 'old' | dd of=device conv=notrunc bs=1M seek=599 status=none").succeeds();
    let write = |more: &[&str]| {
        let mut args = vec!["card", "write", "card.img", "--device", "device"];
        args.extend(more);
        desk.bench.gild(args)
    };
    write(&["--yes"]).fails_saying(&["device is a regular file; next: ", "--allow-file"]);
    write(&["--allow-file"]).fails_saying(&["nobody to ask", "nothing was written"]);
    write(&["--allow-file", "--yes"]).succeeds();
    desk.bench
        .shell("cmp -n 553648128 card.img device")
        .succeeds();
    desk.bench
        .shell("tail -c 1M device | cmp -n 1048576 - /dev/zero")
        .succeeds();
    desk.bench.gild(["card", "inspect", "device"]).succeeds();
}

#[test]
fn only_a_whole_card_is_written_and_only_where_it_fits() {
    let desk = Desk::full();
    desk.bench
        .shell("truncate -s 600M device && truncate -s 500M small")
        .succeeds();
    let write = |image: &str, device: &str| {
        desk.bench.gild([
            "card",
            "write",
            image,
            "--device",
            device,
            "--yes",
            "--allow-file",
        ])
    };
    write("card.img", "small").fails_saying(&["small", "is too small"]);
    write("u-boot.bin", "device")
        .fails_saying(&["u-boot.bin is not written", "not a flasher card"]);
    desk.bench
        .shell("head -c 500M card.img > cut.img")
        .succeeds();
    write("cut.img", "device").fails_saying(&["cut.img is not written"]);
    desk.replace("vmlinuz.gz", "half");
    write("card.img", "device").fails_saying(&["card.img is not written", "vmlinuz.gz"]);
    desk.bench
        .shell("cmp -n 629145600 device /dev/zero")
        .succeeds();
    desk.bench
        .gild([
            "card",
            "write",
            "card.img",
            "--device",
            "/dev/null",
            "--yes",
        ])
        .fails_saying(&["not written"]);
}

#[test]
fn a_card_image_is_never_written_onto_itself() {
    let desk = Desk::full();
    desk.bench
        .shell("ln -s card.img soft && ln card.img hard && cp card.img before.img")
        .succeeds();
    for device in ["card.img", "./card.img", "soft", "hard"] {
        desk.bench
            .gild([
                "card",
                "write",
                "card.img",
                "--device",
                device,
                "--allow-file",
                "--yes",
            ])
            .fails_saying(&[device, "is the input itself", "next: "]);
    }
    desk.bench.shell("cmp card.img before.img").succeeds();
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_card_image_is_never_written_to_the_loop_device_that_shows_it() {
    let desk = Desk::full();
    desk.bench.shell("cp card.img before.img").succeeds();
    let attached = desk
        .bench
        .shell("losetup --show --find card.img")
        .succeeds();
    let device = attached.stdout.trim();
    let ran = desk
        .bench
        .gild(["card", "write", "card.img", "--device", device, "--yes"]);
    desk.bench
        .shell(&format!("losetup --detach {device}"))
        .succeeds();
    ran.fails_saying(&[device, "is the input itself", "next: "]);
    desk.bench.shell("cmp card.img before.img").succeeds();
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_disk_that_stays_in_its_machine_is_never_written_without_a_person() {
    let desk = Desk::full();
    desk.bench.shell("truncate -s 600M disk").succeeds();
    let attached = desk.bench.shell("losetup --show --find disk").succeeds();
    let device = attached.stdout.trim();
    let write = |more: &[&str]| {
        let mut args = vec!["card", "write", "card.img", "--device", device];
        args.extend(more);
        desk.bench.gild(args)
    };
    let (asked, told) = (write(&[]), write(&["--yes"]));
    desk.bench
        .shell(&format!("losetup --detach {device}"))
        .succeeds();
    for outcome in [asked, told] {
        outcome.fails_saying(&["not a removable disk", "in a terminal and without --yes"]);
    }
    desk.bench
        .shell("cmp -n 629145600 disk /dev/zero")
        .succeeds();
}
