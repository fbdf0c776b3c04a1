//! `make demo FAULT=`: one thing goes wrong while a board is flashed. The board reports it and recovers.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gild_tests::board_dtb::Product;
use gild_tests::chain::Chain;
use gild_tests::disk;
use gild_tests::pi5::Medium;
use gild_tests::scene::{DISK_SIZE, HOLD_FOR_THE_LED, SLOW, Scene};
use gild_tests::virtual_board::{Nvme, failing};

use crate::{WATCH, ends_well, screen, use_firmware};

/// In the middle of the flash, in per cent.
const MIDDLE: u64 = 40;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The network cable is pulled in the middle of the flash.
    Cable,
    /// The power is cut in the middle of the flash.
    Power,
    /// The disk refuses to write.
    BadDisk,
    /// The published image is not what was signed.
    BadImage,
}

impl Fault {
    /// As `FAULT=` has it.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "cable" => Self::Cable,
            "power" => Self::Power,
            "bad-disk" => Self::BadDisk,
            "bad-image" => Self::BadImage,
            _ => bail!("\"{name}\" is not a fault; next: give cable, power, bad-disk or bad-image"),
        })
    }

    /// What the demo has shown, once it is complete.
    fn outcome(self) -> &'static str {
        match self {
            Self::Cable => "waited while its cable was out, and went on where it was",
            Self::Power => "lost its power in the middle, and fetched only what was missing",
            Self::BadDisk => "named the disk that does not write, and flashed the next one",
            Self::BadImage => {
                "refused the image without touching its disk, and took the right one by itself"
            }
        }
    }
}

/// Shows it on a board, from an empty disk until the board runs its image.
pub fn show(fault: Fault, product: Product) -> Result<String> {
    say(product, screen::PREPARING);
    let mut scene = scene(fault, product)?;
    use_firmware(&mut scene)?;
    let start = Instant::now();
    let chain = match fault {
        Fault::Cable => cable(&mut scene),
        Fault::Power => power(&mut scene),
        Fault::BadDisk => bad_disk(&mut scene),
        Fault::BadImage => bad_image(&mut scene),
    }?;
    let name = product.name();
    let end = ends_well(chain, start)?;
    Ok(format!(
        "{name} {}\n{name} was flashed {} after the first power-on, and ran its image after {}",
        fault.outcome(),
        seconds(end.flashed),
        seconds(end.golden)
    ))
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

fn scene(fault: Fault, product: Product) -> Result<Scene> {
    let name = format!("demo-fault-{}", product.name());
    match fault {
        Fault::BadImage => Scene::with_own_share(&name, product),
        _ => Scene::new(&name, product),
    }
}

fn say(product: Product, text: &str) {
    screen::say(product.name(), text);
}

fn power_on(scene: &mut Scene) -> Result<Chain<'_>> {
    say(scene.hardware.product, "power on, card in the slot");
    Chain::power_on(scene, Medium::Card, WATCH)
}

fn cut_power(chain: Chain) -> Result<()> {
    let name = chain.scene().hardware.product.name();
    chain.cut_power()?;
    screen::goes_dark(name);
    Ok(())
}

/// A board that begins to write its disk, which is slow.
fn on_a_slow_disk<'a>(scene: &'a mut Scene, what_follows: &str) -> Result<Chain<'a>> {
    scene.hardware.nvme[0].bytes_per_second = SLOW;
    say(
        scene.hardware.product,
        &format!("the disk is slow, so that there is time to {what_follows}"),
    );
    power_on(scene)
}

fn cable(scene: &mut Scene) -> Result<Chain<'_>> {
    let product = scene.hardware.product;
    let mut chain = on_a_slow_disk(scene, "pull the cable")?;
    // Later there would be nothing to wait for: the agent fetches ahead of a slow disk, and the image is small.
    chain.wait_for("gild: progress")?;
    // After this, fault 2 or 3 may appear if the server's answer takes long.
    chain.tolerate_faults();
    chain.board().set_cable(false)?;
    say(product, "FAULT=cable: the network cable is pulled");
    chain.wait_for("gild: waiting:")?;
    chain.board().set_cable(true)?;
    chain.let_disk_run()?;
    say(
        product,
        "the cable is in again, and nobody does anything else",
    );
    chain.wait_for("gild: progress")?;
    Ok(chain)
}

fn power(scene: &mut Scene) -> Result<Chain<'_>> {
    let product = scene.hardware.product;
    let mut chain = on_a_slow_disk(scene, "cut the power")?;
    chain.wait_for_progress(MIDDLE)?;
    cut_power(chain)?;
    say(product, "FAULT=power: the power is cut");
    scene.hardware.nvme[0].bytes_per_second = 0;
    let mut chain = power_on(scene)?;
    chain.wait_for("gild: resume:")?;
    say(
        product,
        "the agent found its own record on the disk: it keeps what is right there, and fetches the rest",
    );
    Ok(chain)
}

fn bad_disk(scene: &mut Scene) -> Result<Chain<'_>> {
    let product = scene.hardware.product;
    scene.use_argument(HOLD_FOR_THE_LED)?;
    scene.hardware.nvme[0].errors = vec![failing("write")];
    say(
        product,
        "FAULT=bad-disk: the disk answers each write to one sector with an error",
    );
    let mut chain = power_on(scene)?;
    shows_fault(&mut chain, 7)?;
    cut_power(chain)?;
    let good = scene.path().join("good.img");
    disk::blank(&good, DISK_SIZE)?;
    scene.hardware.nvme[0] = Nvme {
        serial: "NVME-SIM-0002".into(),
        ..Nvme::new(&good)
    };
    say(product, "power off, a good disk in its place");
    power_on(scene)
}

fn bad_image(scene: &mut Scene) -> Result<Chain<'_>> {
    let product = scene.hardware.product;
    scene.use_argument(HOLD_FOR_THE_LED)?;
    let good = scene.share.spoil_manifest()?;
    let manifest = scene.share.manifest_file();
    say(
        product,
        "FAULT=bad-image: one number in the published manifest is not what was signed",
    );
    let mut chain = power_on(scene)?;
    shows_fault(&mut chain, 4)?;
    chain.wait_for("gild: hold")?;
    chain.scene().assert_disk_is_untouched()?;
    say(product, "not a byte of the disk was written");
    fs::write(&manifest, good).with_context(|| format!("writing {}", manifest.display()))?;
    say(
        product,
        "the right image is published, and nobody touches the board",
    );
    Ok(chain)
}

/// The console, the LED and the card show this fault.
fn shows_fault(chain: &mut Chain, number: u8) -> Result<()> {
    chain.wait_for_fault_on_the_led(number)?;
    let product = chain.scene().hardware.product;
    say(product, &format!("the LED blinks {number} times, slowly"));
    let note = chain.scene().note()?;
    let fault = format!("FAULT {number}");
    let line = note.lines().find(|line| line.contains(&fault));
    ensure!(line.is_some(), "the card does not say {fault}: {note}");
    let file = format!("gild-{}.txt", product.mac12());
    say(product, &format!("the card says the same in {file}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_the_name_that_the_makefile_takes() {
        let makefile = include_str!("../../../../Makefile");
        let names = ["cable", "power", "bad-disk", "bad-image"];
        assert!(makefile.contains(&format!("\"\"|{}) ;;", names.join("|"))));
        for name in names {
            assert!(Fault::named(name).is_ok(), "{name}");
        }
        let refusal = Fault::named("fire").expect_err("not a fault").to_string();
        assert!(
            refusal.contains("\"fire\" is not a fault; next: "),
            "{refusal}"
        );
    }
}
