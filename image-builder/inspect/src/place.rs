//! What a file's path says about the text in it.

/// Where an administrator configures a machine.
const CONFIGURATION: [&str; 9] = [
    "etc/",
    "home/",
    "opt/",
    "root/",
    "srv/",
    "usr/lib/systemd/network/",
    "usr/lib/systemd/system/",
    "usr/local/",
    // In the initramfs.
    "conf/",
];

/// Files in which the word `password` is the key of one.
const ACCOUNTS: [&str; 1] = ["etc/cloud/"];

/// Files in which `token` is the key of one, too.
const OF_K3S: [&str; 1] = ["etc/rancher/"];

/// Files in which a key that ends in `password` or `psk` is one of a network. Nothing in them is a variable.
const OF_NETWORKS: [&str; 5] = [
    "etc/NetworkManager/",
    "etc/netplan/",
    "etc/wpa_supplicant",
    "usr/lib/NetworkManager/",
    "usr/lib/netplan/",
];

/// A program whose own text explains `--token`.
const K3S: &str = "usr/local/bin/k3s";

/// How much of a file counts as intended. Each place includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It may be documentation.
    Anywhere,
    /// It configures a machine.
    Configuration,
    /// It configures accounts.
    Accounts,
    /// It configures k3s.
    K3s,
    /// It configures a network.
    Network,
}

impl Place {
    /// Of this path of the root file system or of the initramfs.
    pub fn of(path: &str) -> Self {
        let is_in = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        if path == K3S {
            Self::Anywhere
        } else if is_in(&OF_NETWORKS) {
            Self::Network
        } else if is_in(&OF_K3S) {
            Self::K3s
        } else if is_in(&ACCOUNTS) {
            Self::Accounts
        } else if is_in(&CONFIGURATION) {
            Self::Configuration
        } else {
            Self::Anywhere
        }
    }
}
