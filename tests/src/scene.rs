//! The setting of an end to end test: a board, its card, its disk, a share with a golden image and a server for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gild_card::firmware::Firmware;
use serde_json::Value;

use crate::board_dtb::Product;
use crate::card::Card;
use crate::eeprom::{self, Eeprom};
use crate::ganesha::Ganesha;
use crate::nfs_server::{EXPORT, NfsServer};
use crate::share::{self, Share};
use crate::u_boot::UBoot;
use crate::virtual_board::{End, Hardware, Nvme, VirtualBoard};
use crate::{disk, flasher, workspace};

/// Time for one step of the agent on a busy machine. It measures nothing; it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_mins(4);
/// Kernel argument for a fault that returns only after the work has made progress for a while. The LED shows a fault until then, and must
/// have time to blink its whole number.
pub const HOLD_FOR_THE_LED: &str = "gild.hold_seconds=20";
/// Bytes per second of a slow disk, so that there is time to act while it is written.
pub const SLOW: u64 = 12 << 20;
/// Size of the target unless a test needs another.
pub const DISK_SIZE: u64 = 512 << 20;
/// This machine, as a board in QEMU's user-mode network sees it.
const HOST: &str = "10.0.2.2";

/// A setting in which a flash succeeds. A test changes one part of it.
pub struct Scene {
    /// What is published.
    pub share: Share,
    /// The embedded server of it, which can misbehave.
    pub server: NfsServer,
    /// The card in the slot.
    pub card: Card,
    /// The board.
    pub hardware: Hardware,
    /// Kernel arguments for the agent.
    pub arguments: String,
    ganesha: Option<Ganesha>,
}

impl Scene {
    /// A board with a blank disk and a good card, and its golden image on the embedded server.
    pub fn new(name: &str, product: Product) -> Result<Self> {
        Self::with_share(name, product, share::published(product.image())?)
    }

    /// As [`Scene::new`], with a copy of the share that the test may spoil.
    pub fn with_own_share(name: &str, product: Product) -> Result<Self> {
        let copy = workspace::fresh(&format!("{name}-share"))?;
        Self::with_share(
            name,
            product,
            share::published(product.image())?.copy_to(&copy)?,
        )
    }

    /// As [`Scene::new`], with a share of the caller's.
    pub fn with_share(name: &str, product: Product, share: Share) -> Result<Self> {
        let directory = workspace::fresh(name)?;
        let server = NfsServer::start(&share.directory, 0)?;
        let target = directory.join("nvme.img");
        disk::blank(&target, DISK_SIZE)?;
        let card = Card::make(&directory.join("card.img"), None)?;
        let mut hardware = Hardware::new(product, &directory);
        hardware.nvme.push(Nvme::new(&target));
        hardware.card = Some(card.image().to_path_buf());
        let arguments = "gild.hold_seconds=2".into();
        let scene = Self {
            share,
            server,
            card,
            hardware,
            arguments,
            ganesha: None,
        };
        scene.card.write("gild.toml", &scene.configuration())?;
        Ok(scene)
    }

    /// Puts a whole card into the slot, as `gild card build` makes it with these firmware files.
    pub fn use_whole_card(&mut self, firmware: &Firmware) -> Result<()> {
        self.card = Card::whole(self.card.image(), firmware, &self.configuration())?;
        Ok(())
    }

    /// Gives the board the EEPROM of a new one, and the card the files that update it.
    pub fn use_eeprom(&mut self) -> Result<()> {
        self.hardware.eeprom = Some(Eeprom::new()?);
        self.use_whole_card(&Firmware {
            rpi5: Some(eeprom::files_for_the_card()?),
            ..Firmware::default()
        })
    }

    /// Gives the board its firmware, with the card before the disk, and puts a whole card into the slot. From that card the agent changes
    /// the order.
    pub fn use_firmware(&mut self) -> Result<()> {
        match self.hardware.product {
            Product::Rpi5 => self.use_eeprom(),
            Product::Rock5b | Product::Unknown => {
                self.use_whole_card(&Firmware::default())?;
                self.use_u_boot()?;
                Ok(())
            }
        }
    }

    /// Gives the agent a kernel argument where the board's own firmware starts it, after [`Scene::use_firmware`].
    pub fn use_argument(&self, argument: &str) -> Result<()> {
        if let Some(u_boot) = &self.hardware.u_boot {
            let mut environment = u_boot.environment()?;
            let before = environment.get("gild_args").unwrap_or_default();
            let arguments = format!("{} {argument}", str::from_utf8(before)?);
            environment.set("gild_args", &arguments)?;
            return u_boot.set_environment(environment);
        }
        let before = self.card.read("cmdline.txt")?;
        self.card.write(
            "cmdline.txt",
            &format!("{} {argument}\n", before.trim_end()),
        )
    }

    /// Gives the board a U-Boot that starts it, and as much memory as that U-Boot expects.
    pub fn use_u_boot(&mut self) -> Result<UBoot> {
        let u_boot = UBoot::new(&self.path().join("flash.img"))?;
        self.hardware.u_boot = Some(u_boot.clone());
        self.hardware.memory = self.hardware.memory.max(1024);
        Ok(u_boot)
    }

    /// Lets nfs-ganesha serve the share, instead of the embedded server.
    pub fn serve_by_ganesha(&mut self) -> Result<()> {
        self.ganesha = Some(Ganesha::start(&self.share.directory)?);
        self.card.write("gild.toml", &self.configuration())
    }

    /// The configuration for the card.
    #[must_use]
    pub fn configuration(&self) -> String {
        let server = match &self.ganesha {
            Some(ganesha) => ganesha.url_at(HOST),
            None => format!("nfs://{HOST}:{}{EXPORT}", self.server.port()),
        };
        format!(
            "server = \"{server}\"\npublic_key = \"{}\"\n",
            self.share.public_key
        )
    }

    /// Where the scene keeps its files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.hardware.directory
    }

    /// The file of the first NVMe disk.
    #[must_use]
    pub fn nvme(&self) -> PathBuf {
        self.hardware.nvme[0].file.clone()
    }

    /// Powers the board on, with the card's kernel and agent.
    pub fn power_on(&self) -> Result<VirtualBoard> {
        self.hardware.power_on(&flasher::boot(&self.arguments)?)
    }

    /// Waits until the agent has finished and asked for the reboot. Returns the receipt on the card.
    pub fn finish(&self, board: &mut VirtualBoard) -> Result<Value> {
        board.wait_for("gild: done, rebooting", PATIENCE)?;
        let end = board.wait_end(PATIENCE)?;
        ensure!(
            end == End::Reset,
            "the agent said it reboots, and the machine ended with {end:?}"
        );
        self.receipt()
    }

    /// Powers the board on and leaves it alone until it is done.
    pub fn flash(&self) -> Result<Value> {
        self.finish(&mut self.power_on()?)
    }

    /// The receipt on the card.
    pub fn receipt(&self) -> Result<Value> {
        let name = format!("gild-{}.json", self.hardware.product.mac12());
        serde_json::from_str(&self.card.read(&name)?)
            .with_context(|| format!("{name} on the card is not JSON"))
    }

    /// The text for people on the card.
    pub fn note(&self) -> Result<String> {
        self.card
            .read(&format!("gild-{}.txt", self.hardware.product.mac12()))
    }

    /// The disk carries the golden image, byte for byte, except for gild's own record at the end of the first MiB.
    pub fn assert_disk_is_the_image(&self) -> Result<()> {
        let differing = disk::differences(&self.share.golden.raw, &self.nvme())?;
        ensure!(
            differing == [gild_format::record::RECORD_OFFSET],
            "beside the commit record, the disk should differ nowhere from the image: {differing:x?}"
        );
        Ok(())
    }

    /// Keeps the disks, so that they can be examined.
    pub fn keep(self) {
        eprintln!("the files of this test are in {}", self.path().display());
        std::mem::forget(self);
    }

    /// Checks that nothing was ever written to the blank disk.
    pub fn assert_disk_is_untouched(&self) -> Result<()> {
        let allocated = disk::allocated(&self.nvme())?;
        ensure!(
            allocated == 0,
            "{allocated} bytes of the blank disk were written"
        );
        Ok(())
    }
}

impl Drop for Scene {
    /// The logs stay, so that they can be examined. The disks stay only after a failed assertion.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the files of this test are in {}", self.path().display());
            return;
        }
        for file in fs::read_dir(self.path()).into_iter().flatten().flatten() {
            if file
                .path()
                .extension()
                .is_some_and(|extension| extension == "img")
            {
                let _ = fs::remove_file(file.path());
            }
        }
        if self.share.own {
            let _ = fs::remove_dir_all(&self.share.directory);
        }
    }
}
