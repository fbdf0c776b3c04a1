//! Consent and proof, on virtual boards with their firmware. An image on trial gets its starts, permanent changes wait for its proof, and
//! only an order writes a proven disk.
//!
//! Real: the agent, the card with its script, U-Boot, the code of the proof. Simulated: the hardware, the firmware of the Pi 5
//! (`gild_tests::pi5`), and systemd: the tests' golden image proves itself in its single program.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use gild_boards::rpi_eeprom::set_keys;
use gild_format::record::{RECORD_LENGTH, RECORD_OFFSET, Record, State};
use gild_proof::trial;
use gild_tests::board_dtb::Product;
use gild_tests::chain::{Chain, Watch};
use gild_tests::eeprom::Eeprom;
use gild_tests::golden::{self, Start};
use gild_tests::pi5::Medium;
use gild_tests::scene::{DISK_SIZE, PATIENCE, Scene};
use gild_tests::virtual_board::{DiskCounters, End};
use gild_tests::{disk, firmware, share, workspace};

const WATCH: Watch = Watch {
    patience: PATIENCE,
    show: None,
    failure: Some("golden: FAILED"),
};
/// The file on a Rock 5B's card with which the agent allows one start.
const TOKEN: &str = "trial.env";
const GATE: &str = "gate.env";

/// A bare board that starts from the card first, with firmware that knows `set_reboot_order`. The test's own share has an image on trial.
fn bare(name: &str, product: Product, start: Start) -> Result<Scene> {
    let copy = workspace::fresh(&format!("{name}-share"))?;
    let share = share::published_on_trial(product, start)?.copy_to(&copy)?;
    let mut scene = Scene::with_share(name, product, share)?;
    scene.use_firmware()?;
    if product.has_eeprom() {
        let mut eeprom = Eeprom::of_2025()?;
        // If a board comes back without this setting, the agent assumes that it does not find its disk, and updates it before the proof.
        let config = set_keys(eeprom.config()?.as_bytes(), &[("PCIE_PROBE", "1")])?;
        eeprom.set_config(str::from_utf8(&config)?)?;
        scene.hardware.eeprom = Some(eeprom);
    }
    Ok(scene)
}

/// The record on the disk.
fn record(scene: &Scene) -> Result<Record> {
    let mut bytes = vec![0; RECORD_LENGTH];
    File::open(scene.nvme())?.read_exact_at(&mut bytes, RECORD_OFFSET)?;
    Record::parse(&bytes).context("a record on the disk")
}

/// The image for which this file on the card has a line of this kind of board.
fn image_in(scene: &Scene, file: &str) -> Result<Option<String>> {
    let text = scene.card.get(file)?.unwrap_or_default();
    let beginning = format!("{}=", scene.hardware.product.name());
    let mut lines = str::from_utf8(&text)?.lines();
    Ok(lines.find_map(|line| Some(line.strip_prefix(&beginning)?.to_owned())))
}

/// Whether the firmware looks at the disk first.
fn is_disk_first(scene: &Scene) -> Result<bool> {
    if let Some(u_boot) = &scene.hardware.u_boot {
        let environment = u_boot.environment()?;
        let order = environment.get("boot_targets").context("an order")?;
        return Ok(order.starts_with(b"nvme"));
    }
    let eeprom = scene.hardware.eeprom.as_ref().context("an EEPROM")?;
    Ok(eeprom.boot_order()?.is_nvme_first())
}

/// The way back to the card after a failed start of the disk: the lines in `config.txt`, or the starts that U-Boot has left.
fn way_back(scene: &Scene) -> Result<Vec<String>> {
    let (product, disk) = (scene.hardware.product, scene.nvme());
    if product.has_eeprom() {
        let config = firmware::file_in_boot_partition(product, &disk, trial::CONFIG_TXT)?;
        let lines = config
            .lines()
            .filter(|line| line.starts_with("set_reboot_order"));
        return Ok(lines.map(str::to_owned).collect());
    }
    let names = firmware::names_in_boot_partition(product, &disk, "")?;
    assert!(names.iter().any(|name| name == "boot.scr"), "{names:?}");
    if !names.iter().any(|name| name == trial::FOLDER) {
        return Ok(Vec::new());
    }
    firmware::names_in_boot_partition(product, &disk, trial::FOLDER)
}

/// The image is on trial and has been started this often. Nothing permanent has happened.
fn assert_on_trial(scene: &Scene, image_id: &str, starts: u32) -> Result<()> {
    let record = record(scene)?;
    assert_eq!(
        (record.state, &*record.image_id, record.trial_starts),
        (State::Trial, image_id, starts)
    );
    assert!(record.is_boot_order_pending);
    assert!(!is_disk_first(scene)?);
    assert_eq!(image_in(scene, GATE)?, None);
    Ok(())
}

/// From the start of a disk on trial, which proves itself, to its second start and to a power-on without a card.
fn proves_itself_and_stays(mut chain: Chain, image_id: &str) -> Result<()> {
    chain.wait_for(&format!("golden: image {image_id} is proven"))?;
    let asked = chain.restart(Medium::Card, |scene, _| {
        let record = record(scene)?;
        assert_eq!(
            (record.state, &*record.image_id, record.trial_starts),
            (State::Proven, image_id, 0)
        );
        assert!(record.is_boot_order_pending);
        assert!(!is_disk_first(scene)?);
        assert_eq!(image_in(scene, GATE)?, None);
        assert_eq!(image_in(scene, TOKEN)?, None);
        assert_eq!(way_back(scene)?, [""; 0]);
        Ok(scene.server.counters().connections)
    })?;
    chain.wait_for("gild: done, rebooting")?;
    chain.restart(Medium::Nvme, |scene, _| {
        let record = record(scene)?;
        assert_eq!(record.state, State::Proven);
        assert!(!record.is_boot_order_pending);
        assert_eq!(image_in(scene, GATE)?.as_deref(), Some(image_id));
        assert_eq!(
            scene.server.counters().connections,
            asked,
            "nobody asks the share about a proven disk"
        );
        Ok(())
    })?;
    chain.wait_for(&format!("golden: image {image_id} running"))?;
    assert!(is_disk_first(chain.scene())?);
    chain.power_off()?;
    Ok(())
}

fn a_bare_board_gets_its_boot_order_after_the_proof(product: Product) -> Result<()> {
    let name = format!("trial-{}", product.name());
    let mut scene = bare(&name, product, Start::Proves)?;
    let image_id = scene.share.golden.image_id.clone();
    let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    chain.restart(Medium::Nvme, |scene, _| {
        assert_on_trial(scene, &image_id, 1)?;
        assert_eq!(scene.receipt()?["boot_order"], "waits-for-proof");
        let (token, way) = match product {
            Product::Rpi5 => (None, vec![trial::REBOOT_ORDER]),
            _ => (Some(&image_id), vec!["1", "2", "3", "on"]),
        };
        assert_eq!(image_in(scene, TOKEN)?.as_ref(), token);
        assert_eq!(way_back(scene)?, way);
        Ok(())
    })?;
    proves_itself_and_stays(chain, &image_id)?;

    let mut chain = Chain::power_on(&mut scene, Medium::Nvme, WATCH)?;
    chain.wait_for(&format!("golden: image {image_id} running"))?;
    let console = chain.power_off()?;
    assert!(!console.contains("gild: agent"), "{console}");
    Ok(())
}

#[test]
fn a_bare_rpi5_gets_its_boot_order_after_the_proof() -> Result<()> {
    a_bare_board_gets_its_boot_order_after_the_proof(Product::Rpi5)
}

#[test]
fn a_bare_rock5b_gets_its_boot_order_after_the_proof() -> Result<()> {
    a_bare_board_gets_its_boot_order_after_the_proof(Product::Rock5b)
}

/// Flashes the disk and cuts the power when it starts for the first time. Gives the image's id.
fn on_trial(scene: &mut Scene) -> Result<String> {
    let image_id = scene.share.golden.image_id.clone();
    let mut chain = Chain::power_on(scene, Medium::Card, WATCH)?;
    chain.restart(Medium::Nvme, |scene, _| {
        assert_on_trial(scene, &image_id, 1)
    })?;
    Ok(image_id)
}

/// The board loses its card and its power right after the flash. Its disk starts and proves itself without the card. The boot order waits
/// until a card is back.
fn without_its_card_a_flashed_board_lacks_only_the_boot_order(product: Product) -> Result<()> {
    let mut scene = bare(
        &format!("trial-pulled-{}", product.name()),
        product,
        Start::Proves,
    )?;
    let image_id = on_trial(&mut scene)?;
    let card = scene.hardware.card.take();

    let mut chain = Chain::power_on(&mut scene, Medium::Nvme, WATCH)?;
    chain.wait_for(&format!("golden: image {image_id} is proven"))?;
    let console = chain.power_off()?;
    assert!(!console.contains("restarting once"), "{console}");
    let proven = record(&scene)?;
    assert_eq!(
        (proven.state, proven.is_boot_order_pending),
        (State::Proven, true)
    );
    assert_eq!(way_back(&scene)?, [""; 0]);
    assert!(!is_disk_first(&scene)?);

    scene.hardware.card = card;
    let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    chain.wait_for("gild: done, rebooting")?;
    chain.restart(Medium::Nvme, |scene, _| {
        assert!(!record(scene)?.is_boot_order_pending);
        assert_eq!(image_in(scene, GATE)?.as_deref(), Some(&*image_id));
        Ok(())
    })?;
    chain.wait_for(&format!("golden: image {image_id} running"))?;
    assert!(is_disk_first(chain.scene())?);
    chain.power_off()?;
    Ok(())
}

#[test]
fn a_rock5b_whose_card_is_pulled_after_the_flash_lacks_only_the_boot_order() -> Result<()> {
    without_its_card_a_flashed_board_lacks_only_the_boot_order(Product::Rock5b)
}

/// The Pi's firmware finds no kernel without `config.txt`. The partition is mounted, so the kernel holds back what was not flushed.
#[test]
fn a_power_cut_right_after_the_proof_leaves_the_config_txt_of_an_rpi5_whole() -> Result<()> {
    let product = Product::Rpi5;
    let mut scene = bare("trial-cut-proof", product, Start::Proves)?;
    let image_id = on_trial(&mut scene)?;
    let disk = scene.nvme();
    let config = || firmware::file_in_boot_partition(product, &disk, trial::CONFIG_TXT);
    let before = config()?;
    assert!(trial::without_trial(&before).is_some(), "{before}");

    // Without its card the node does not restart, which would flush all.
    scene.hardware.card = None;
    let mut chain = Chain::power_on(&mut scene, Medium::Nvme, WATCH)?;
    chain.wait_for(&format!("golden: image {image_id} is proven"))?;
    drop(chain);
    assert_eq!(Some(config()?), trial::without_trial(&before));
    Ok(())
}

/// Each start comes back to the agent. After the last one the agent says so, and keeps looking at the share.
fn uses_up_its_starts<'a>(scene: &'a mut Scene, image_id: &str) -> Result<Chain<'a>> {
    // It looks again after this time, and starts the same image again after ten minutes.
    scene.use_argument("gild.hold_seconds=10")?;
    let mut chain = Chain::power_on(scene, Medium::Card, WATCH)?;
    for starts in 1..=3 {
        chain.restart(Medium::Nvme, |scene, _| {
            assert_on_trial(scene, image_id, starts)
        })?;
        chain.wait_for("Kernel panic")?;
        chain.restart(Medium::Card, |scene, _| {
            assert_eq!(image_in(scene, TOKEN)?, None);
            assert_on_trial(scene, image_id, starts)
        })?;
    }
    let fault = format!("gild: FAULT 8: image {image_id} was started 3 times and has not proven");
    chain.wait_for(&fault)?;
    chain.tolerate_faults();
    // The second fault shows that it has looked at the share again.
    chain.wait_for(&fault)?;
    assert_on_trial(chain.scene(), image_id, 3)?;
    Ok(chain)
}

#[test]
fn an_rpi5_whose_image_panics_takes_the_next_one_by_itself() -> Result<()> {
    let mut scene = bare("trial-panic-rpi5", Product::Rpi5, Start::Panics)?;
    let image_id = scene.share.golden.image_id.clone();
    let mut chain = uses_up_its_starts(&mut scene, &image_id)?;

    let next = golden::image_on_trial(Product::Rpi5, Start::Proves)?;
    chain.scene().share.publish(&next)?;
    chain.restart(Medium::Nvme, |scene, console| {
        assert!(
            console.contains("gild: FAULT 8"),
            "it is still the same start of the agent"
        );
        assert_on_trial(scene, &next.image_id, 1)
    })?;
    proves_itself_and_stays(chain, &next.image_id)
}

#[test]
fn a_rock5b_whose_image_panics_starts_it_three_times_and_never_without_the_agent() -> Result<()> {
    let mut scene = bare("trial-panic-rock5b", Product::Rock5b, Start::Panics)?;
    let image_id = scene.share.golden.image_id.clone();
    let mut chain = uses_up_its_starts(&mut scene, &image_id)?;
    // Each start used up one of the image's own three.
    assert_eq!(way_back(chain.scene())?, ["on"]);
    let console = chain.console();
    assert_eq!(console.matches("Kernel panic").count(), 3);
    assert_eq!(console.matches("gild: starting the agent").count(), 4);
    Ok(())
}

/// Nothing resets a board that hangs so early. A person switches it off and on.
#[test]
fn a_start_that_hangs_is_counted_and_leads_back_to_the_card_at_the_next_power_on() -> Result<()> {
    let mut scene = bare("trial-hang-rock5b", Product::Rock5b, Start::Hangs)?;
    let image_id = scene.share.golden.image_id.clone();
    for starts in 1..=2 {
        let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
        chain.restart(Medium::Nvme, |scene, _| {
            assert_eq!(image_in(scene, TOKEN)?.as_ref(), Some(&image_id));
            assert_on_trial(scene, &image_id, starts)
        })?;
        chain.wait_for("golden: hangs")?;
    }
    Ok(())
}

/// The firmware of this board comes back to the card at each restart. Only an update lets it start the disk, so the update comes before the
/// proof.
fn with_firmware_of_2023(name: &str, start: Start) -> Result<Scene> {
    let mut scene = bare(name, Product::Rpi5, start)?;
    scene.hardware.eeprom = Some(Eeprom::new()?);
    Ok(scene)
}

/// The state after the agent's start on such a board: the update is on the card, and no change is pending after that.
fn is_updated_before_the_proof(scene: &Scene, _: &str) -> Result<()> {
    let record = record(scene)?;
    assert_eq!((record.state, record.trial_starts), (State::Trial, 1));
    assert!(!record.is_boot_order_pending);
    assert_eq!(scene.receipt()?["boot_order"], "staged");
    assert!(!is_disk_first(scene)?, "the ROM has not run yet");
    Ok(())
}

#[test]
fn an_rpi5_with_old_firmware_proves_itself_without_another_visit() -> Result<()> {
    let mut scene = with_firmware_of_2023("trial-old", Start::Proves)?;
    let image_id = scene.share.golden.image_id.clone();
    let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    chain.restart(Medium::Nvme, is_updated_before_the_proof)?;
    assert!(is_disk_first(chain.scene())?);
    chain.wait_for(&format!("golden: image {image_id} is proven"))?;
    chain.power_off()?;
    let record = record(&scene)?;
    assert_eq!(
        (record.state, record.is_boot_order_pending),
        (State::Proven, false)
    );
    assert_eq!(way_back(&scene)?, [""; 0]);
    Ok(())
}

/// At that point its EEPROM has the disk first.
#[test]
fn an_rpi5_with_old_firmware_comes_back_to_the_card_after_a_panic() -> Result<()> {
    let mut scene = with_firmware_of_2023("trial-old-panic", Start::Panics)?;
    let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
    chain.restart(Medium::Nvme, is_updated_before_the_proof)?;
    chain.wait_for("Kernel panic")?;
    chain.restart(Medium::Card, |scene, _| {
        assert!(is_disk_first(scene)?);
        assert_eq!(image_in(scene, GATE)?, None);
        Ok(())
    })?;
    chain.restart(Medium::Nvme, |scene, _| {
        let record = record(scene)?;
        assert_eq!((record.state, record.trial_starts), (State::Trial, 2));
        Ok(())
    })
}

/// What a start of the agent left behind.
struct AgentStart {
    console: String,
    counters: DiskCounters,
}

/// Starts the agent without the firmware, and waits until it restarts the board.
fn start_agent(scene: &Scene) -> Result<AgentStart> {
    let mut board = scene.power_on()?;
    board.wait_until("the restart", PATIENCE, |line| {
        line.contains("gild: done, rebooting") || line.contains("gild: rebooting to start the disk")
    })?;
    let counters = board.disk_counters(0)?;
    assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
    let console = board.console().join("\n");
    Ok(AgentStart { console, counters })
}

/// Starts the disk without the firmware. Returns the console of its image.
fn start_disk(scene: &Scene) -> Result<String> {
    let boot = firmware::boot_from_disk(scene.hardware.product, &scene.nvme(), scene.path())?;
    let mut node = scene.hardware.power_on(&boot)?;
    assert_eq!(node.wait_end(PATIENCE)?, End::PowerOff);
    let console = node.console().join("\n");
    assert!(!console.contains("golden: FAILED"), "{console}");
    Ok(console)
}

/// Starts the agent. It must leave the disk alone and ask nobody. Returns the console.
fn agent_leaves_the_disk_alone(scene: &Scene) -> Result<String> {
    let before = scene.path().join("before.img");
    disk::copy(&scene.nvme(), &before)?;
    let asked = scene.server.counters().connections;
    let AgentStart { console, counters } = start_agent(scene)?;
    assert_eq!((counters.written, counters.discarded), (0, 0), "{console}");
    let changed = disk::differences(&before, &scene.nvme())?;
    assert!(changed.is_empty(), "the disk has changed at {changed:x?}");
    assert_eq!(scene.server.counters().connections, asked, "{console}");
    Ok(console)
}

fn order(scene: &Scene, id: &str, node: &str) -> Result<()> {
    let order = format!("[order]\nid = \"{id}\"\nnodes = [\"{node}\"]\n");
    scene
        .card
        .write("gild.toml", &(scene.configuration() + &order))
}

/// The disk forgets its data at each restart, or somebody makes it blank each time.
#[test]
fn a_disk_that_loses_its_data_at_each_restart_is_written_with_growing_pauses() -> Result<()> {
    let product = Product::Rock5b;
    let share = share::published_on_trial(product, Start::Proves)?;
    let scene = Scene::with_share("trial-forgets", product, share)?;
    for _ in 0..2 {
        start_agent(&scene)?;
        assert_eq!(record(&scene)?.trial_starts, 1);
        disk::blank(&scene.nvme(), DISK_SIZE)?;
    }
    for (times, pause) in [(2, 2), (3, 4)] {
        let mut board = scene.power_on()?;
        board.tolerate_faults();
        let came_back = format!("came back to this agent {times} times");
        let line = board.wait_for(&came_back, PATIENCE)?;
        assert!(line.contains("FAULT 8"), "{line}");
        board.wait_for(&format!("and restarting the board in {pause} s"), PATIENCE)?;
        assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
        let lines = board.console();
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(has("gild: warning: restarting the board"), "{lines:?}");
        assert!(
            !has("rebooting to start the disk"),
            "the second attempt, on a disk that is now on trial, must not cut the pause short: {lines:?}"
        );
        disk::blank(&scene.nvme(), DISK_SIZE)?;
    }
    Ok(())
}

/// The second image needs no proof, so its start after the order is that of a proven disk too.
#[test]
fn a_proven_disk_is_written_by_an_order_that_names_the_node_and_by_nothing_else() -> Result<()> {
    let product = Product::Rpi5;
    let copy = workspace::fresh("trial-order-share")?;
    let share = share::published_on_trial(product, Start::Proves)?.copy_to(&copy)?;
    let scene = Scene::with_share("trial-order", product, share)?;
    let image_id = &scene.share.golden.image_id;
    start_agent(&scene)?;
    start_disk(&scene)?;
    assert_eq!(record(&scene)?.state, State::Proven);

    let next = golden::image(product)?;
    scene.share.publish(&next)?;
    assert_eq!(image_in(&scene, GATE)?, None);
    agent_leaves_the_disk_alone(&scene)?;
    let console = start_disk(&scene)?;
    assert!(
        console.contains(&format!("golden: image {image_id} running")),
        "{console}"
    );

    order(&scene, "2026-12", "d8:3a:dd:00:00:01")?;
    let console = agent_leaves_the_disk_alone(&scene)?;
    assert!(
        console.contains("order 2026-12 to flash is for other nodes"),
        "{console}"
    );
    assert_eq!(&record(&scene)?.image_id, image_id);

    // The order's file overrides the order in gild.toml, which stays.
    let file = format!("2026-12\n\n# this one\n{}\n", product.serial_number());
    scene.card.write("gild-order.txt", &file)?;
    start_agent(&scene)?;
    let differing = disk::differences(&next.raw, &scene.nvme())?;
    assert_eq!(differing, [RECORD_OFFSET]);
    let written = record(&scene)?;
    assert_eq!(
        (&written.image_id, written.state),
        (&next.image_id, State::Proven)
    );
    assert_eq!(written.orders, ["2026-12"]);

    let console = agent_leaves_the_disk_alone(&scene)?;
    assert!(
        console.contains("order 2026-12 to flash is for this node"),
        "{console}"
    );
    Ok(())
}

#[test]
fn a_disk_on_trial_and_a_proven_one_start_while_no_server_is_there() -> Result<()> {
    let product = Product::Rock5b;
    let share = share::published_on_trial(product, Start::Proves)?;
    let mut scene = Scene::with_share("trial-no-server", product, share)?;
    let image_id = scene.share.golden.image_id.clone();
    start_agent(&scene)?;
    assert_eq!(record(&scene)?.trial_starts, 1);

    scene.server.stop();
    // Nothing listens at this address.
    let matchbox = "matchbox = \"http://10.0.2.2:9\"\n";
    scene
        .card
        .write("gild.toml", &(scene.configuration() + matchbox))?;
    let AgentStart { console, .. } = start_agent(&scene)?;
    assert!(!console.contains("gild: stage network"), "{console}");
    let on_trial = record(&scene)?;
    assert_eq!((on_trial.state, on_trial.trial_starts), (State::Trial, 2));

    let console = start_disk(&scene)?;
    assert!(
        console.contains(&format!("golden: image {image_id} is proven")),
        "{console}"
    );
    assert_eq!(record(&scene)?.state, State::Proven);

    let console = agent_leaves_the_disk_alone(&scene)?;
    assert!(!console.contains("gild: stage network"), "{console}");
    assert_eq!(image_in(&scene, GATE)?, Some(image_id));

    // The boot order step needs the configuration, so a fault is shown before the restart.
    scene.card.write("gild.toml", "server = nfs://")?;
    let mut board = scene.power_on()?;
    board.tolerate_faults();
    board.wait_for("gild: FAULT 8: gild.toml", PATIENCE)?;
    board.wait_for("gild: done, rebooting", PATIENCE)?;
    assert_eq!(board.wait_end(PATIENCE)?, End::Reset);
    let console = board.console().join("\n");
    assert!(!console.contains("gild: stage network"), "{console}");
    start_disk(&scene)?;
    Ok(())
}

mod campaign {
    use super::*;

    #[test]
    fn an_rpi5_whose_card_is_pulled_after_the_flash_lacks_only_the_boot_order() -> Result<()> {
        without_its_card_a_flashed_board_lacks_only_the_boot_order(Product::Rpi5)
    }

    /// The image itself counts three starts, which the agent does not see. The card's turn comes after them. First its own file gives the
    /// start that the agent has counted. Then the agent gives two more.
    #[test]
    fn a_rock5b_with_the_disk_first_comes_back_to_its_card_and_takes_the_next_image() -> Result<()>
    {
        let mut scene = bare("trial-first-rock5b", Product::Rock5b, Start::Panics)?;
        let u_boot = scene.hardware.u_boot.as_ref().context("a U-Boot")?;
        let mut environment = u_boot.environment()?;
        environment.set("boot_targets", "nvme qfw usb scsi virtio dhcp")?;
        u_boot.set_environment(environment)?;
        scene.use_argument("gild.hold_seconds=10")?;
        let starts = |scene: &Scene, starts| {
            let record = record(scene)?;
            assert_eq!((record.state, record.trial_starts), (State::Trial, starts));
            assert!(!record.is_boot_order_pending, "the disk comes first");
            Ok(())
        };

        let mut chain = Chain::power_on(&mut scene, Medium::Card, WATCH)?;
        for left in [
            &["1", "2", "3", "on"][..],
            &["2", "3", "on"],
            &["3", "on"],
            &["on"],
        ] {
            chain.restart(Medium::Nvme, |scene, _| {
                assert_eq!(way_back(scene)?, left);
                starts(scene, 1)
            })?;
            chain.wait_for("Kernel panic")?;
        }
        for counted in 2..=3 {
            chain.restart(Medium::Card, |scene, _| starts(scene, counted - 1))?;
            chain.restart(Medium::Nvme, |scene, _| starts(scene, counted))?;
            chain.wait_for("Kernel panic")?;
        }
        chain.restart(Medium::Card, |scene, _| starts(scene, 3))?;
        chain.wait_for("gild: FAULT 8: image")?;
        chain.tolerate_faults();

        let next = golden::image_on_trial(Product::Rock5b, Start::Proves)?;
        chain.scene().share.publish(&next)?;
        chain.restart(Medium::Nvme, |scene, _| starts(scene, 1))?;
        chain.wait_for(&format!("golden: image {} is proven", next.image_id))?;
        chain.power_off()?;
        assert_eq!(record(&scene)?.state, State::Proven);
        assert_eq!(way_back(&scene)?, [""; 0]);
        Ok(())
    }
}
