//! The fixed names of an image: the same for every image of a board, different from board to board and from the
//! flasher's card, so that two disks in one machine are never mistaken for each other.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// GUIDs and serial numbers of one kind of image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The disk's GUID.
    pub disk: Uuid,
    /// The boot partition's GUID.
    pub boot: Uuid,
    /// The root partition's GUID.
    pub root: Uuid,
    /// The root file system's UUID.
    pub root_fs: Uuid,
    /// The seed of the root file system's directory hashes.
    pub hash_seed: Uuid,
    /// The boot file system's serial number.
    pub boot_volume: u32,
}

impl Identity {
    /// The names of a board's golden image.
    #[must_use]
    pub fn of(board: &str) -> Self {
        let digest = |what: &str| -> [u8; 32] {
            Sha256::digest(format!("gild golden image {board} {what}")).into()
        };
        let uuid = |what| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest(what)[..16]);
            Uuid::new_v8(bytes)
        };
        let volume = digest("boot file system");
        Self {
            disk: uuid("disk"),
            boot: uuid("boot partition"),
            root: uuid("root partition"),
            root_fs: uuid("root file system"),
            hash_seed: uuid("hash seed"),
            boot_volume: u32::from_be_bytes([volume[0], volume[1], volume[2], volume[3]]),
        }
    }

    /// The root partition as the kernel's `root=PARTUUID=` wants it.
    #[must_use]
    pub fn root_partuuid(&self) -> String {
        self.root.hyphenated().to_string()
    }

    /// The boot partition, in the same form.
    #[must_use]
    pub fn boot_partuuid(&self) -> String {
        self.boot.hyphenated().to_string()
    }
}
