//! `make test-image`: the real golden image of each board, from the build to the node that was flashed a second time, with one power-on.
//! `--demo` shows the console and ends with the first boot. `--bad-release=root`, `panic` or `hang` begins with a bad image: its root file
//! system is not found, its kernel panics, or its initramfs hangs. Its three starts fail, then the good image is published and the node
//! recovers. Nobody touches the board, except that a board that hangs is switched off and on.
//!
//! Real: the image, its kernel and all its packages, the card and the agent on it, NVMe, network, first boot, and on the Rock 5B a U-Boot
//! and its environment in flash. Simulated: the hardware, the firmware of the Pi 5 (docs/virtual-boards.md), Matchbox, k3s and its server:
//! stubs replace the last three. The image differs from an operator's in three things: the stub, a service that reports the state of the
//! node (`tests/image-overlay`), and QEMU's serial port on the kernel's command line.

mod bad_release;
mod cluster;
mod node;
mod proof;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use gild_boards::rpi_eeprom::set_keys;
use gild_tests::board_dtb::Product;
use gild_tests::chain::{Chain, Watch};
use gild_tests::cluster::Cluster;
use gild_tests::eeprom::Eeprom;
use gild_tests::matchbox::Matchbox;
use gild_tests::pi5::Medium;
use gild_tests::scene::Scene;
use gild_tests::{disk, firmware, real_image, workspace};

use crate::bad_release::Defect;
use crate::cluster::{Group, NODE_PASSWORD, PASSWORD, WRONG_PASSWORD};
use crate::node::Report;

/// A disk that is larger than any image, so that the root has something to grow to.
const DISK_SIZE: u64 = 8 << 30;
/// Shows the console, and ends with the first boot.
const DEMO: &str = "--demo";
/// Begins with a bad release, which has this defect.
const BAD_RELEASE: &str = "--bad-release=";
/// What the test's service in the image says when it cannot go on.
const FAILED: &str = "gild-witness: FAILED";
/// The least that a node needs, without its containers.
const MEMORY: u32 = 2048;

fn main() -> ExitCode {
    let (options, names): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let run = |products: Vec<Product>| {
        let options = Options::parse(&options)?;
        products
            .into_iter()
            .try_for_each(|product| one_board(product, options))
    };
    match chosen(&names).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gild-test-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is done beside the usual.
#[derive(Clone, Copy)]
struct Options {
    is_demo: bool,
    bad_release: Option<Defect>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            is_demo: false,
            bad_release: None,
        };
        for word in words {
            if word == DEMO {
                options.is_demo = true;
            } else if let Some(defect) = word.strip_prefix(BAD_RELEASE) {
                options.bad_release = Some(Defect::named(defect)?);
            } else {
                bail!(
                    "`{word}` is not an option; next: give {DEMO}, {BAD_RELEASE}root, panic or hang, or none"
                );
            }
        }
        Ok(options)
    }
}

fn chosen(names: &[String]) -> Result<Vec<Product>> {
    if names.is_empty() {
        return Ok(Product::SUPPORTED.to_vec());
    }
    names.iter().map(|name| Product::named(name)).collect()
}

fn one_board(product: Product, options: Options) -> Result<()> {
    let story = Story::new(product);
    let directory = workspace::fresh(&format!("image-{}-made", product.name()))?;
    let cluster = cluster::start()?;
    let group = Group::new(&directory.join("matchbox/groups"), product)?;
    group.write(&cluster, WRONG_PASSWORD)?;
    let matchbox = Matchbox::start(&directory.join("matchbox"))?;

    let url = matchbox.url_at(&real_image::HOST.to_string());
    let share = real_image::build(product, &url, &directory)?;
    story.say(&format!(
        "image {} is built, sealed and verified",
        share.golden.image_id
    ));
    let image_id = share.golden.image_id.clone();
    let bad = options
        .bad_release
        .map(|defect| bad_release::made_from(&share, defect, &directory))
        .transpose()?;
    let published = bad.clone().unwrap_or_else(|| share.clone());
    let mut scene = Scene::with_share(&format!("image-{}", product.name()), product, published)?;
    disk::blank(&scene.nvme(), DISK_SIZE)?;
    scene.hardware.memory = MEMORY;
    scene.use_firmware()?;
    scene.use_argument("gild.hold_seconds=10")?;
    match product {
        Product::Rpi5 => scene.hardware.eeprom = Some(eeprom_that_waits_for_the_proof()?),
        // The other board shows that an address by DHCP works.
        Product::Rock5b | Product::Unknown => {
            let config = format!("{}{}", scene.configuration(), proof::STATIC_NETWORK);
            scene.card.write("gild.toml", &config)?;
        }
    }
    let watch = Watch {
        patience: node::PATIENCE,
        show: options
            .is_demo
            .then_some(|board, line| println!("{board} | {line}")),
        failure: Some(FAILED),
    };
    let outcome = Chain::power_on(&mut scene, Medium::Card, watch).and_then(|chain| {
        let site = Site {
            product,
            image_id,
            cluster: &cluster,
            group: &group,
            matchbox: &matchbox,
        };
        let mut life = Life {
            chain,
            site,
            story: &story,
        };
        life.story.say("power on, card in the slot");
        if let (Some(bad), Some(defect)) = (&bad, options.bad_release) {
            bad_release::uses_up_its_starts(defect, &mut life.chain)?;
            life.story
                .say("three starts of the bad release, and each came back to the card");
            bad_release::replace(&bad.directory, &share)?;
            life.story.say("the good image is published");
        }
        let first = life.becomes_a_node()?;
        if options.is_demo {
            return Ok(());
        }
        life.is_the_same_node_until_it_is_flashed_again(&first)
    });
    if outcome.is_err() {
        scene.keep();
    }
    outcome
}

/// A board with older firmware or without this setting would get its update before the disk starts for the first time.
fn eeprom_that_waits_for_the_proof() -> Result<Eeprom> {
    let mut eeprom = Eeprom::of_2025()?;
    let config = set_keys(eeprom.config()?.as_bytes(), &[("PCIE_PROBE", "1")])?;
    eeprom.set_config(str::from_utf8(&config)?)?;
    Ok(eeprom)
}

/// What a node says before it restarts to its card.
const VISIT: &str = "so that the flasher card changes the boot order";

/// What should happen to the board, and what it talks to.
struct Site<'a> {
    product: Product,
    image_id: String,
    cluster: &'a Cluster,
    group: &'a Group,
    matchbox: &'a Matchbox,
}

/// A board that was switched on once.
struct Life<'a> {
    chain: Chain<'a>,
    site: Site<'a>,
    story: &'a Story,
}

impl Life<'_> {
    fn becomes_a_node(&mut self) -> Result<Report> {
        self.is_flashed()?;
        // U-Boot starts this card on virtio, and the node does not restart to such a card.
        let next = if self.site.product.has_eeprom() {
            self.chain.wait_for(VISIT)?;
            self.chain.restart(Medium::Card, |_, _| Ok(()))?;
            self.is_settled()?;
            Medium::Nvme
        } else {
            Medium::Card
        };
        self.is_corrected_in_matchbox()?;
        let report = self.boot(1, next, |site, scene, report| {
            proof::a_node_of_this_image(report, site, &scene.nvme())?;
            proof::joined(scene, site, &[WRONG_PASSWORD, PASSWORD])
        })?;
        if next == Medium::Card {
            self.is_settled()?;
        }
        self.story
            .say(&format!("first boot: {}", report.one("time")?));
        self.story.say(
            "the node has its name from Matchbox, and the stub server has let its stub k3s in",
        );
        Ok(report)
    }

    /// The operator wrote a wrong token. The node reports that, and becomes a member once Matchbox has the right token.
    fn is_corrected_in_matchbox(&mut self) -> Result<()> {
        self.chain.wait_for("does not take the token")?;
        self.story
            .say("the node says that the cluster does not take its token");
        self.site.group.write(self.site.cluster, PASSWORD)?;
        self.chain.wait_for("the cluster has let this node in")?;
        self.story.say("corrected in Matchbox alone");
        Ok(())
    }

    fn is_the_same_node_until_it_is_flashed_again(&mut self, first: &Report) -> Result<()> {
        let second = self.boot(2, Medium::Card, |site, scene, report| {
            proof::same_node(site.product, first, report)?;
            proof::joined(scene, site, &[WRONG_PASSWORD, PASSWORD, PASSWORD])?;
            ensure!(
                firmware::boot_from_disk(site.product, &scene.nvme(), scene.path()).is_err(),
                "the disk still boots after gild-reprovision"
            );
            Ok(())
        })?;
        self.story
            .say(&format!("second boot: {}", second.one("time")?));
        self.story
            .say("gild-reprovision has made the disk unbootable");

        self.is_flashed()?;
        // The Pi's firmware read the way back in config.txt before the proof removed it. So it still applies to the next restart.
        let next = if self.site.product.has_eeprom() {
            Medium::Card
        } else {
            Medium::Nvme
        };
        let again = self.boot(1, next, |site, scene, report| {
            proof::a_node_of_this_image(report, site, &scene.nvme())?;
            proof::same_place_other_identity(first, report)
        })?;
        if next == Medium::Card {
            self.is_settled()?;
        }
        self.story.say(&format!(
            "first boot after the second flash: {}",
            again.one("time")?
        ));
        let (joins, refused) = (self.site.cluster.joins(), self.site.cluster.refused());
        ensure!(
            joins.len() == 3 && !refused.contains(&"node password"),
            "the stub server let in {joins:?} and refused {refused:?}"
        );
        self.story
            .say("the flashed node has its old place in the stub cluster");
        Ok(())
    }

    fn is_flashed(&mut self) -> Result<()> {
        self.chain.wait_for("gild: rebooting to start the disk")?;
        let receipt = self
            .chain
            .restart(Medium::Nvme, |scene, _| scene.receipt())?;
        ensure!(
            receipt["outcome"] == "flashed"
                && receipt["on_trial"] == true
                && receipt["fault"].is_null(),
            "the agent did not flash: {receipt}"
        );
        self.story.say("flashed by the agent");
        Ok(())
    }

    /// The image has proven itself: the agent changes the boot order and opens the gate.
    fn is_settled(&mut self) -> Result<()> {
        self.chain.wait_for("gild: done, rebooting")?;
        self.chain.restart(Medium::Nvme, |_, _| Ok(()))?;
        self.story.say("proven: the boot order is settled");
        Ok(())
    }

    /// Waits for a boot of the image to end, and checks what must be true before the board starts from `next`.
    fn boot(
        &mut self,
        number: u32,
        next: Medium,
        proof: impl FnOnce(&Site, &Scene, &Report) -> Result<()>,
    ) -> Result<Report> {
        let reported = format!("gild-witness: boot {number} is reported");
        self.chain.wait_for(&reported)?;
        let site = &self.site;
        self.chain.restart(next, |scene, console| {
            let secrets = [PASSWORD, WRONG_PASSWORD, NODE_PASSWORD];
            let report = node::report(scene, console, number, &secrets)?;
            proof(site, scene, &report)?;
            Ok(report)
        })
    }
}

/// What happens, for the people who wait.
struct Story {
    product: Product,
    start: Instant,
}

impl Story {
    fn new(product: Product) -> Self {
        Self {
            product,
            start: Instant::now(),
        }
    }

    fn say(&self, what: &str) {
        let seconds = self.start.elapsed().as_secs();
        println!("{:>6} {seconds:>5} s  {what}", self.product.name());
    }
}

impl Report {
    /// The only value of a key.
    pub fn one(&self, key: &str) -> Result<&str> {
        match self.all(key)[..] {
            [value] => Ok(value),
            ref values => bail!("the node reported {key} {} times", values.len()),
        }
    }
}
