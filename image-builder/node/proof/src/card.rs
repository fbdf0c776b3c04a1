//! The flasher card in a slot of a running node. This module only reads it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FsOptions};
use gild_card_format::agent_version::{self, AGENT_VERSION};
use gild_card_format::{
    Arguments, Config, ConfigError, DamagedCounters, Order, OrderError, PerBoard, ServerUrl,
    counters, names,
};

use crate::disk::{BLOCKS, Disk, LABELS, has_card, is_card};

/// A valid `gild.toml` is not longer than this.
const LONGEST: u64 = 64 << 10;

/// A card that a flasher starts from.
#[derive(Debug)]
pub struct FlasherCard {
    /// Its partition.
    pub device: PathBuf,
    /// What its `gild.toml` says.
    pub config: Config,
    rollback: PerBoard<u64>,
    /// The version of its agent, if the card says it.
    pub agent: Option<String>,
}

/// Why no card would flash this node.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The slot is empty, or the card is not seen.
    #[error("no SD card is in this node; next: put the flasher card in")]
    None,
    /// The card in the slot is not gild's.
    #[error(
        "the SD card in this node is not gild's: it has no file system labelled {}; next: put the flasher card in",
        names::LABEL
    )]
    NotOurs,
    /// The label is on another disk, a USB stick for example, which the firmware need not start from.
    #[error(
        "the file system labelled {} is on {}, which is not an SD card; next: put the flasher card in its slot",
        names::LABEL, device.display()
    )]
    Elsewhere {
        /// Where it is.
        device: PathBuf,
    },
    /// The card is damaged, or has nothing of gild's except the label.
    #[error(
        "a file cannot be read from the card in this node ({}); next: put a card in that `gild card build` has made",
        device.display()
    )]
    Read {
        /// The card's partition.
        device: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The flasher would show fault 3 and write nothing.
    #[error(
        "the flasher could not use the card's {}; next: correct it on the card",
        names::CONFIG
    )]
    Config(#[from] ConfigError),
    /// The flasher would write nothing on this node.
    #[error(
        "the flasher card writes the disk with serial number {wanted} alone, which is not this node's; next: correct `target.serial` in \
         {} on the card",
        names::CONFIG
    )]
    OtherDisk {
        /// The serial number that the card names.
        wanted: String,
    },
    /// The flasher would write nothing.
    #[error(
        "the flasher card makes dry runs and would write nothing; next: take `dry_run` out of {} on the card",
        names::CONFIG
    )]
    DryRun,
    /// The flasher would show fault 4 and write nothing.
    #[error(transparent)]
    Rollback(#[from] DamagedCounters),
    /// The flasher would show fault 3 and write nothing.
    #[error("the flasher could not use the card's {}: {error}", names::ORDER)]
    Order {
        /// What is wrong with it.
        #[from]
        error: OrderError,
    },
}

impl FlasherCard {
    /// The places where the flasher looks for a file, in words.
    #[must_use]
    pub fn places_of(&self, file: &str) -> String {
        let of = |server: &ServerUrl| server.join(file).to_string();
        let places: Vec<String> = self.config.servers.iter().map(of).collect();
        places.join(" or ")
    }

    /// The least rollback counter of an image for boards of this kind.
    #[must_use]
    pub fn least_rollback(&self, board: &str) -> u64 {
        let proven = self.rollback.get(board).copied().unwrap_or_default();
        self.config.min_rollback.max(proven)
    }

    /// Refuses a card that names another disk than this one.
    pub fn check_disk(&self, root: &Path, disk: &Disk) -> Result<(), CardError> {
        match &self.config.target_serial {
            Some(wanted) if disk.serial(root).as_ref() != Some(wanted) => {
                Err(CardError::OtherDisk {
                    wanted: wanted.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The flasher card that this node would start from.
    pub fn find(root: &Path) -> Result<Self, CardError> {
        if !has_card(root) {
            return Err(CardError::None);
        }
        let Ok(device) = fs::canonicalize(root.join(LABELS).join(names::LABEL)) else {
            return Err(CardError::NotOurs);
        };
        if !is_on_a_card(root, &device) {
            return Err(CardError::Elsewhere { device });
        }
        let texts = match Texts::read(&device) {
            Ok(texts) => texts,
            Err(source) => return Err(CardError::Read { device, source }),
        };
        let config = Config::parse(Some(&texts.config), &Arguments::default())?;
        if config.dry_run {
            return Err(CardError::DryRun);
        }
        Order::in_file(&texts.order)?;
        Ok(Self {
            device,
            config,
            rollback: counters(texts.rollback.as_deref())?,
            agent: agent_version::in_file(&texts.agent).map(str::to_owned),
        })
    }
}

/// So that `mmcblk1p1` is found to be part of `mmcblk1`.
fn is_on_a_card(root: &Path, partition: &Path) -> bool {
    let name = partition.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let disk = digits.strip_suffix('p').unwrap_or(&name);
    is_card(&root.join(BLOCKS).join(disk))
}

/// What the card says, as text.
struct Texts {
    config: String,
    /// Empty if there is none.
    order: String,
    rollback: Option<Vec<u8>>,
    /// The agent's version. Only a hint: a card that does not say it counts as one with any agent.
    agent: String,
}

impl Texts {
    fn read(device: &Path) -> io::Result<Self> {
        let system = FileSystem::new(File::open(device)?, FsOptions::new())?;
        let read = |name: &str| {
            let mut bytes = Vec::new();
            let file = system.root_dir().open_file(name);
            file.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
            Ok::<_, io::Error>(bytes)
        };
        let read_any = |name: &str| match read(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let text = |bytes: Option<Vec<u8>>| {
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        Ok(Self {
            config: String::from_utf8(read(names::CONFIG)?).map_err(io::Error::other)?,
            order: text(read_any(names::ORDER)?),
            rollback: read_any(names::ROLLBACK)?,
            agent: text(read_any(AGENT_VERSION).unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use fatfs::FormatVolumeOptions;

    use super::*;

    const KEY: &str = "RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    /// A node with a disk of this name and kind. If `label` is set, its file system has the label and this configuration.
    fn node(disk: &str, kind: &str, label: bool, config: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        let card = at(BLOCKS).join("mmcblk0/device");
        fs::create_dir_all(&card).expect("a disk");
        fs::write(card.join("type"), format!("{kind}\n")).expect("its kind");
        fs::create_dir_all(at(LABELS)).expect("labels");
        let device = at("dev").join(format!("{disk}p1"));
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&device);
        let file = open.expect("a partition");
        file.set_len(1 << 20).expect("its size");
        if let Some(config) = config {
            fatfs::format_volume(&file, FormatVolumeOptions::new()).expect("a FAT");
            let system = FileSystem::new(&file, FsOptions::new()).expect("a FAT");
            let mut file = system
                .root_dir()
                .create_file(names::CONFIG)
                .expect("a file");
            file.write_all(config.as_bytes()).expect("its text");
        }
        if label {
            symlink(&device, at(LABELS).join(names::LABEL)).expect("a label");
        }
        root
    }

    fn refused(disk: &str, kind: &str, label: bool, config: Option<&str>) -> CardError {
        let root = node(disk, kind, label, config);
        FlasherCard::find(root.path()).expect_err("no flasher card")
    }

    #[test]
    fn a_flasher_card_says_which_share_it_takes_images_from() {
        let text = format!("server = \"nfs://192.0.2.1/srv/gild\"\npublic_key = \"{KEY}\"\n");
        let root = node("mmcblk0", "SD", true, Some(&text));
        let card = FlasherCard::find(root.path()).expect("a flasher card");
        assert_eq!(
            card.config.servers[0].to_string(),
            "nfs://192.0.2.1/srv/gild"
        );
        assert_eq!(card.config.order_url, None, "it asks for no orders");
    }

    #[test]
    fn a_card_that_names_another_disk_is_refused() {
        let text = |serial: &str| {
            format!("server = \"nfs://192.0.2.1/srv/gild\"\npublic_key = \"{KEY}\"\n{serial}")
        };
        for (serial, is_refused) in [
            ("", false),
            ("target.serial = \"S1\"\n", false),
            ("target.serial = \"S2\"\n", true),
        ] {
            let root = node("mmcblk0", "SD", true, Some(&text(serial)));
            let device = root.path().join(BLOCKS).join("nvme0n1/device");
            fs::create_dir_all(&device).expect("a disk");
            fs::write(device.join("serial"), "S1   \n").expect("a serial number");
            let disk = Disk {
                device: PathBuf::from("/dev/nvme0n1"),
                sector: 512,
            };
            let card = FlasherCard::find(root.path()).expect("a flasher card");
            let checked = card.check_disk(root.path(), &disk);
            assert_eq!(checked.is_err(), is_refused, "{serial}: {checked:?}");
        }
    }

    #[test]
    fn a_card_that_would_not_flash_this_node_is_none() {
        let text = format!("server = \"nfs://192.0.2.1/srv/gild\"\npublic_key = \"{KEY}\"\n");
        let dry_run = format!("dry_run = true\n{text}");
        let found = [
            refused("mmcblk0", "MMC", true, Some(&text)),
            refused("mmcblk0", "SD", false, Some(&text)),
            refused("sda", "SD", true, Some(&text)),
            refused("mmcblk0", "SD", true, None),
            refused(
                "mmcblk0",
                "SD",
                true,
                Some("sever = \"nfs://192.0.2.1/srv\"\n"),
            ),
            refused("mmcblk0", "SD", true, Some(&dry_run)),
        ];
        assert!(
            matches!(
                &found,
                [
                    CardError::None,
                    CardError::NotOurs,
                    CardError::Elsewhere { .. },
                    CardError::Read { .. },
                    CardError::Config(_),
                    CardError::DryRun,
                ]
            ),
            "{found:?}"
        );
    }

    #[test]
    fn a_card_whose_order_cannot_be_understood_is_none() {
        let text = format!("server = \"nfs://192.0.2.1/srv/gild\"\npublic_key = \"{KEY}\"\n");
        let root = node("mmcblk0", "SD", true, Some(&text));
        let device = root.path().join("dev/mmcblk0p1");
        let file = OpenOptions::new().read(true).write(true).open(&device);
        let system = FileSystem::new(file.expect("a device"), FsOptions::new()).expect("a FAT");
        let order = system.root_dir().create_file(names::ORDER);
        order
            .expect("a file")
            .write_all(b"all\n")
            .expect("its text");
        drop(system);
        let error = FlasherCard::find(root.path()).expect_err("half an order");
        assert!(matches!(error, CardError::Order { .. }), "{error:?}");
    }

    #[test]
    fn a_card_whose_rollback_counters_are_damaged_is_none() {
        let text = format!("server = \"nfs://192.0.2.1/srv/gild\"\npublic_key = \"{KEY}\"\n");
        for (counters, is_refused) in [("", true), ("\0\0\0\0", true), ("rpi5=7\n", false)] {
            let root = node("mmcblk0", "SD", true, Some(&text));
            let device = root.path().join("dev/mmcblk0p1");
            let file = OpenOptions::new().read(true).write(true).open(&device);
            let system = FileSystem::new(file.expect("a device"), FsOptions::new()).expect("a FAT");
            let file = system.root_dir().create_file(names::ROLLBACK);
            let written = file.expect("a file").write_all(counters.as_bytes());
            written.expect("its text");
            drop(system);
            let found = FlasherCard::find(root.path());
            let refused = matches!(&found, Err(CardError::Rollback(_)));
            assert_eq!(refused, is_refused, "{counters:?}: {found:?}");
        }
    }

    #[test]
    fn a_card_that_has_nothing_but_the_label_is_not_the_flasher_s() {
        let root = node("mmcblk0", "SD", true, Some(""));
        let device = root.path().join("dev/mmcblk0p1");
        let file = OpenOptions::new().read(true).write(true).open(&device);
        let system = FileSystem::new(file.expect("a device"), FsOptions::new()).expect("a FAT");
        system.root_dir().remove(names::CONFIG).expect("the file");
        drop(system);
        let error = FlasherCard::find(root.path()).expect_err("no gild.toml");
        assert!(matches!(error, CardError::Read { .. }), "{error:?}");
    }
}
