//! The script of a golden image, run by real U-Boots: its way back to the card.
//!
//! Simulated as in `gate`: the card hangs on virtio, and no kernel has a program behind its header.

use std::fs;
use std::path::Path;

use gild_golden::boot::u_boot::boot_scr;

use crate::common::Bench;
use crate::desk::Desk;
use crate::gate::{
    AGENT, debian_12, debian_13, empty_disk, first_partition, start, start_disk_first,
};

const DISK: &str = "gild: starting the disk";
const KERNEL: &str = "Starting kernel";
const TOKENS: [&str; 3] = ["gild-trial/1", "gild-trial/2", "gild-trial/3"];
const ON: &str = "gild-trial/on";
const FAT: &str = "nvme.img@@16M";

/// A disk with an image on trial, whose kernel says no more than that it is started.
fn on_trial(bench: &Bench) {
    empty_disk(bench);
    let boot = bench.path("p1");
    fs::create_dir_all(boot.join("gild-trial")).expect("a folder");
    for file in TOKENS.iter().chain([&ON]) {
        fs::write(boot.join(file), "on trial\n").expect("a file");
    }
    let script = boot_scr("rk3588-rock-5b.dtb", "root=none").expect("a short script");
    fs::write(boot.join("boot.scr"), script).expect("a file");
    fs::copy(bench.path("kernel/vmlinuz"), boot.join("vmlinuz.gz")).expect("the kernel");
    fs::write(boot.join("initrd.img"), "x").expect("a file");
    bench.shell("mcopy -s -i nvme.img@@16M p1/* ::").succeeds();
}

fn tokens(bench: &Bench) -> Vec<&'static str> {
    let is_there = |token: &&str| {
        let path = format!("::{token}");
        let found = bench.tool("mdir", &["-b", "-i", FAT, &path]);
        found.code == Some(0)
    };
    TOKENS.into_iter().filter(is_there).collect()
}

/// The console up to the kernel of the disk or of the card.
fn starts(bench: &Bench, u_boot: &Path, nvme: &str, medium: &str, because: &str) -> String {
    let console = start_disk_first(bench, u_boot, nvme, |console| {
        console.contains(KERNEL) || console.contains(AGENT)
    });
    let says = |line: &str| console.contains(line);
    assert_eq!(says(AGENT), medium == AGENT, "{because}: {console}");
    assert_eq!(says(DISK), medium == DISK, "{because}: {console}");
    console
}

fn three_starts_and_then_the_card(u_boot: &Path) {
    let desk = Desk::least();
    let bench = &desk.bench;
    on_trial(bench);
    for left in [&TOKENS[1..], &TOKENS[2..], &[]] {
        starts(bench, u_boot, "", DISK, "a start is left");
        assert_eq!(tokens(bench), left);
    }
    starts(bench, u_boot, "", AGENT, "no start is left");
    starts(bench, u_boot, "", AGENT, "nor later");
    bench
        .tool("mdel", &["-i", FAT, &format!("::{ON}")])
        .succeeds();
    starts(bench, u_boot, "", DISK, "proven");
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn three_starts_and_then_the_card_with_debian_12() {
    three_starts_and_then_the_card(debian_12());
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn three_starts_and_then_the_card_with_debian_13() {
    three_starts_and_then_the_card(debian_13());
}

#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn a_disk_that_cannot_be_written_goes_back_to_the_card() {
    let desk = Desk::least();
    on_trial(&desk.bench);
    for u_boot in [debian_12(), debian_13()] {
        let because = "the start could not be used up";
        starts(&desk.bench, u_boot, ",readonly=on", AGENT, because);
        assert_eq!(tokens(&desk.bench), TOKENS);
    }
}

fn says_its_id(bench: &Bench) {
    fs::write(bench.path("gild-image.env"), "image_id=rock5b-1\n").expect("a file");
    bench
        .shell("mcopy -i nvme.img@@16M gild-image.env ::")
        .succeeds();
}

/// The card may have been in another board, where the image has proven itself.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn an_open_gate_starts_no_image_that_is_on_trial_here() {
    let desk = Desk::least();
    let bench = &desk.bench;
    on_trial(bench);
    says_its_id(bench);
    desk.replace("gate.env", "rock5b=rock5b-1\n");
    for token in TOKENS {
        bench
            .tool("mdel", &["-i", FAT, &format!("::{token}")])
            .succeeds();
    }
    for u_boot in [debian_12(), debian_13()] {
        starts(bench, u_boot, "", AGENT, "the agent counts the starts");
    }
    bench
        .tool("mdel", &["-i", FAT, &format!("::{ON}")])
        .succeeds();
    let starts_disk = |console: &str| console.contains(DISK);
    for u_boot in [debian_12(), debian_13()] {
        let console = start(bench, u_boot, starts_disk);
        assert!(console.contains("finished: starting it"), "{console}");
    }
}

/// Its record is damaged: the agent does not know its image, and allows the disk one start after the other.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn the_agent_s_token_for_a_disk_starts_it_once_whatever_it_carries() {
    let desk = Desk::least();
    let bench = &desk.bench;
    on_trial(bench);
    says_its_id(bench);
    // Without its own start left, the disk must not lead back to the card.
    for token in TOKENS {
        bench
            .tool("mdel", &["-i", FAT, &format!("::{token}")])
            .succeeds();
    }
    let this_disk = format!("rock5b={}\n", first_partition(bench));
    for u_boot in [debian_12(), debian_13()] {
        desk.replace("trial.env", &this_disk);
        let either = |console: &str| console.contains(DISK) || console.contains(AGENT);
        let console = start(bench, u_boot, either);
        assert!(console.contains("for one start: starting it"), "{console}");
        assert!(console.contains(DISK), "{console}");
        let console = start(bench, u_boot, either);
        assert!(console.contains(AGENT), "{console}");
    }
    desk.replace("gate.env", &this_disk);
    let console = start(bench, debian_13(), |console| console.contains(AGENT));
    assert!(!console.contains(DISK), "a gate names an image: {console}");
}

/// The agent allows one start, so the card's script starts the disk, whose script must not start the card again.
#[test]
#[ignore = "starts a virtual board; `make test` runs it"]
fn the_card_has_one_turn_and_no_disk_is_left_unbootable() {
    let desk = Desk::least();
    let bench = &desk.bench;
    on_trial(bench);
    for token in TOKENS {
        bench
            .tool("mdel", &["-i", FAT, &format!("::{token}")])
            .succeeds();
    }
    says_its_id(bench);
    for u_boot in [debian_12(), debian_13()] {
        desk.replace("trial.env", "rock5b=rock5b-1\n");
        let console = starts(bench, u_boot, "", DISK, "the card allows one start");
        assert!(console.contains("for one start: starting it"), "{console}");
    }
    bench
        .tool("mdel", &["-i", crate::desk::FAT, "::gild.toml"])
        .succeeds();
    for u_boot in [debian_12(), debian_13()] {
        starts(bench, u_boot, "", DISK, "there is no gild card");
    }
}
