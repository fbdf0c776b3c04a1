//! Disables what vendors' images do at their first start: gild's first boot does it instead.

use crate::tree::{Kind, Tree, TreeError};

/// Files of Armbian's and Raspberry Pi OS's first boot: questions to a person, partitions grown, swap in memory, the
/// network.
const DOOMED: [&str; 23] = [
    // It makes networks for systemd-networkd that come before gild's, and ask for a lease under another name.
    "{etc,lib,usr/lib}/netplan/*.yaml",
    // Armbian
    "root/.not_logged_in_yet",
    "etc/profile.d/armbian-check-first-login*.sh",
    "usr/lib/armbian/armbian-firstrun*",
    "usr/lib/armbian/armbian-firstlogin",
    "usr/lib/armbian/armbian-resize-filesystem",
    "usr/lib/armbian/armbian-zram-config",
    "etc/default/armbian-zram-config*",
    "etc/default/armbian-firstrun*",
    "{etc,usr/lib}/systemd/system/armbian-firstrun*.service",
    "{etc,usr/lib}/systemd/system/armbian-resize-filesystem.service",
    "{etc,usr/lib}/systemd/system/armbian-zram-config.service",
    "boot/armbian_first_run.txt*",
    // Raspberry Pi OS
    "{etc,usr/lib}/systemd/system/userconfig.service",
    "usr/lib/userconf-pi/userconf*",
    "etc/init.d/resize2fs_once",
    "usr/lib/raspberrypi-sys-mods/firstboot",
    "etc/xdg/autostart/piwiz.desktop",
    "{etc,usr/lib}/systemd/system/rpi-resize*.service",
    "etc/ssh/sshd_config.d/rename_user.conf",
    "{etc,usr/lib}/systemd/system/sshswitch.service",
    "boot/firmware/{user-data,meta-data,network-config}",
    "etc/sudoers.d/010_pi-nopasswd",
];

/// cloud-init's configuration of vendors: other sources of identity than gild's, and other users.
const CLOUD_CONFIG: &str = "etc/cloud/cloud.cfg.d/*.cfg";
/// What the package itself brings.
const DEBIAN_CLOUD_CONFIG: [&str; 2] = ["05_logging.cfg", "README"];

/// Services that must not start, whatever enables them.
const MASKED: [&str; 6] = [
    // They would configure the network a second time, beside systemd-networkd.
    "NetworkManager.service",
    "NetworkManager-wait-online.service",
    "dhcpcd.service",
    "networking.service",
    "connman.service",
    // It writes the boot EEPROM at any time: a power cut then leaves a board that does not start.
    "rpi-eeprom-update.service",
];

/// Takes the vendor's first boot away.
pub fn disarm(tree: &mut Tree) -> Result<(), TreeError> {
    for pattern in DOOMED {
        for path in tree.glob(pattern)? {
            tree.remove_tree(&path);
        }
    }
    for path in tree.glob(CLOUD_CONFIG)? {
        if !DEBIAN_CLOUD_CONFIG.iter().any(|name| path.ends_with(name)) {
            tree.remove(&path)?;
        }
    }
    remove_dangling_units(tree)?;
    for unit in MASKED {
        for link in tree.glob(&format!("etc/systemd/system/*.{{wants,requires}}/{unit}"))? {
            tree.remove(&link)?;
        }
        if tree.contains(&format!("usr/lib/systemd/system/{unit}")) {
            tree.insert_symlink(&format!("etc/systemd/system/{unit}"), "/dev/null")?;
        }
    }
    Ok(())
}

/// Links that enabled what is gone.
fn remove_dangling_units(tree: &mut Tree) -> Result<(), TreeError> {
    let links: Vec<String> = tree
        .iter()
        .filter(|(path, entry)| {
            path.starts_with("etc/systemd/system/")
                && matches!(&entry.kind, Kind::Symlink(target) if target != "/dev/null")
        })
        .map(|(path, _)| path.to_owned())
        .collect();
    for link in links {
        if tree.open(&link).is_err() {
            tree.remove(&link)?;
        }
    }
    Ok(())
}
