//! The network settings from the flasher card. The flasher left them in a block on the disk, and this module turns them into files for
//! networkd.
//!
//! The files lie in `/run`, so a disk that is flashed again starts without them.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gild_format::network::{Found, NETWORK_LENGTH, NETWORK_OFFSET, Settings};
use gild_proof::disk::Disk;
use log::info;

const FOLDER: &str = "run/systemd/network";
/// networkd takes the first matching file by name, so this one comes before the image's.
const NETWORK: &str = "10-gild-card.network";
const VLAN_DEVICE: &str = "10-gild-card.netdev";
const VLAN_NETWORK: &str = "10-gild-card-vlan.network";
/// The image's own file, for DHCP. Its part about names also applies with a static address.
const WIRED: &str = include_str!("../rootfs/usr/lib/systemd/network/20-gild-wired.network");
/// The end of the part that says which interfaces are meant.
const MATCHED: &str = "[Link]\n";
const DHCP: &str = "DHCP=yes\n";

/// Writes the files if the disk has a block. `disk` is the disk to read instead of that of the root file system.
pub fn apply(root: &Path, disk: Option<&Path>) -> Result<()> {
    let disk = match disk {
        Some(device) => Disk {
            device: device.to_owned(),
            sector: 512,
        },
        None if Disk::is_elsewhere(root) => return Ok(()),
        None => Disk::of_root(root)?,
    };
    let shown = disk.device.display();
    let bytes = disk
        .read(NETWORK_OFFSET, NETWORK_LENGTH)
        .with_context(|| format!("reading the network block on {shown}: this node uses DHCP"))?;
    let settings = match Found::in_bytes(&bytes) {
        Found::Settings(settings) => settings,
        Found::Nothing => return Ok(()),
        Found::Damaged => bail!(
            "the network block on {shown} is damaged, or of a later gild: this node uses DHCP; next: if it needs the address \
             of the flasher card, flash it again"
        ),
    };
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, text) in files(&settings) {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    info!("network by the flasher card: {}", in_words(&settings));
    Ok(())
}

/// The files for these settings.
fn files(settings: &Settings) -> Vec<(&'static str, String)> {
    let (wired, rest) = WIRED.split_at(WIRED.find(MATCHED).unwrap_or_default());
    let addresses = rest.replacen(DHCP, &lines(settings), 1) + &far_route(settings);
    let Some(vlan) = settings.vlan else {
        return vec![(NETWORK, format!("{wired}{addresses}"))];
    };
    let name = vlan_name(vlan);
    vec![
        (
            VLAN_DEVICE,
            format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={vlan}\n"),
        ),
        // The interface below the VLAN has no address of its own.
        (
            NETWORK,
            format!(
                "{wired}[Link]\nRequiredForOnline=no\n\n\
                 [Network]\nVLAN={name}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
            ),
        ),
        (VLAN_NETWORK, format!("[Match]\nName={name}\n\n{addresses}")),
    ]
}

fn vlan_name(vlan: u16) -> String {
    format!("vlan{vlan}")
}

/// The lines that replace the image's `DHCP=yes`.
fn lines(settings: &Settings) -> String {
    let mut lines = DHCP.to_owned();
    if let Some(fixed) = &settings.address {
        lines = format!("DHCP=no\nAddress={}/{}\n", fixed.address, fixed.prefix);
        let near = fixed.gateway.filter(|gateway| fixed.has(*gateway));
        put(&mut lines, "Gateway", near.as_slice());
        put(&mut lines, "DNS", &fixed.dns);
    }
    put(&mut lines, "NTP", &settings.ntp);
    lines
}

/// The route to a router outside the node's own network. The flasher accepts such a router too.
fn far_route(settings: &Settings) -> String {
    let fixed = settings.address.as_ref();
    let far = fixed.and_then(|fixed| fixed.gateway.filter(|gateway| !fixed.has(*gateway)));
    let far = far.map(|gateway| format!("\n[Route]\nGateway={gateway}\nGatewayOnLink=yes\n"));
    far.unwrap_or_default()
}

fn put(lines: &mut String, key: &str, addresses: &[Ipv4Addr]) {
    for address in addresses {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{key}={address}");
    }
}

fn in_words(settings: &Settings) -> String {
    let mut words = match &settings.address {
        Some(fixed) => format!("{}/{}", fixed.address, fixed.prefix),
        None => "DHCP".to_owned(),
    };
    if let Some(vlan) = settings.vlan {
        let _ = write!(words, " in VLAN {vlan}, interface {}", vlan_name(vlan));
    }
    if !settings.ntp.is_empty() {
        let _ = write!(words, ", {} time servers", settings.ntp.len());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use gild_format::network::Static;
    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    fn settings() -> Settings {
        Settings {
            address: Some(Static {
                address: [192, 168, 1, 50].into(),
                prefix: 24,
                gateway: Some([192, 168, 1, 1].into()),
                dns: vec![[192, 168, 1, 2].into(), [192, 168, 1, 3].into()],
            }),
            vlan: None,
            ntp: vec![[192, 168, 1, 4].into()],
        }
    }

    /// Applies a block with these bytes to a root directory. Returns the directory and the result.
    fn applied(block: &[u8]) -> (TempDir, Result<()>) {
        // It needs a real file system, because one in memory may refuse O_DIRECT.
        let disk = NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("a disk");
        disk.as_file().set_len(1 << 20).expect("its size");
        disk.as_file()
            .write_all_at(block, NETWORK_OFFSET)
            .expect("its block");
        let root = tempfile::tempdir().expect("a directory");
        let result = apply(root.path(), Some(disk.path()));
        (root, result)
    }

    fn file(root: &TempDir, name: &str) -> String {
        fs::read_to_string(root.path().join(FOLDER).join(name)).expect("a file of networkd's")
    }

    fn names(root: &TempDir) -> Vec<String> {
        let folder = fs::read_dir(root.path().join(FOLDER)).into_iter().flatten();
        let mut names: Vec<String> = folder
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_static_address_takes_the_place_of_dhcp_and_nothing_else() {
        let (root, result) = applied(&settings().to_bytes());
        result.expect("a block");
        assert_eq!(names(&root), [NETWORK]);
        let expected = WIRED.replace(
            DHCP,
            "DHCP=no\nAddress=192.168.1.50/24\nGateway=192.168.1.1\nDNS=192.168.1.2\nDNS=192.168.1.3\nNTP=192.168.1.4\n",
        );
        assert_eq!(file(&root, NETWORK), expected);
        assert!(expected.contains("\n[Network]\nDHCP=no\nAddress="));
        assert!(expected.contains("[Match]\nType=ether\nKind=!*\n"));
    }

    #[test]
    fn a_router_outside_of_the_network_is_reached_on_the_link() {
        for vlan in [None, Some(7)] {
            let mut settings = Settings { vlan, ..settings() };
            if let Some(fixed) = &mut settings.address {
                fixed.prefix = 32;
            }
            let (root, result) = applied(&settings.to_bytes());
            result.expect("a block");
            let text = file(&root, vlan.map_or(NETWORK, |_| VLAN_NETWORK));
            let route = "\n[Route]\nGateway=192.168.1.1\nGatewayOnLink=yes\n";
            assert!(text.ends_with(route), "{text}");
            assert_eq!(text.matches("Gateway=").count(), 1, "{text}");
        }
    }

    #[test]
    fn time_servers_alone_leave_dhcp_on() {
        let (root, result) = applied(
            &Settings {
                address: None,
                ..settings()
            }
            .to_bytes(),
        );
        result.expect("a block");
        let expected = WIRED.replace(DHCP, "DHCP=yes\nNTP=192.168.1.4\n");
        assert_eq!(file(&root, NETWORK), expected);
    }

    #[test]
    fn a_vlan_has_the_address_and_the_interface_below_it_has_none() {
        let (root, result) = applied(
            &Settings {
                vlan: Some(100),
                ..settings()
            }
            .to_bytes(),
        );
        result.expect("a block");
        assert_eq!(names(&root), [VLAN_NETWORK, VLAN_DEVICE, NETWORK]);
        let device = "[NetDev]\nName=vlan100\nKind=vlan\n\n[VLAN]\nId=100\n";
        assert_eq!(file(&root, VLAN_DEVICE), device);
        let below = file(&root, NETWORK);
        assert!(below.contains("[Match]\nType=ether\nKind=!*\n"), "{below}");
        assert!(below.contains("\nVLAN=vlan100\n"), "{below}");
        assert!(
            !below.contains("DHCP") && !below.contains("Address="),
            "{below}"
        );
        let vlan = file(&root, VLAN_NETWORK);
        assert!(
            vlan.starts_with("[Match]\nName=vlan100\n\n[Link]\n"),
            "{vlan}"
        );
        assert!(vlan.contains("\nAddress=192.168.1.50/24\n"), "{vlan}");
    }

    #[test]
    fn without_a_block_nothing_is_written() {
        let (root, result) = applied(&[0; NETWORK_LENGTH]);
        result.expect("zeros");
        assert!(!root.path().join("run").exists());
    }

    #[test]
    fn a_damaged_block_is_said_and_nothing_is_written() {
        let mut bytes = settings().to_bytes();
        bytes[25] ^= 1;
        let (root, result) = applied(&bytes);
        let said = result.expect_err("damaged").to_string();
        assert!(
            said.contains("damaged") && said.contains("uses DHCP; next: "),
            "{said}"
        );
        assert!(!root.path().join("run").exists());
    }

    #[test]
    fn a_machine_without_a_disk_of_its_own_has_no_block() {
        let root = tempfile::tempdir().expect("a directory");
        let proc = root.path().join("proc/self");
        fs::create_dir_all(&proc).expect("a directory");
        let mounts = "22 1 0:21 / / rw - overlay overlay rw\n";
        fs::write(proc.join("mountinfo"), mounts).expect("mounts");
        apply(root.path(), None).expect("nothing to do");
    }

    #[test]
    fn the_image_s_file_has_the_places_that_are_filled() {
        for part in [MATCHED, DHCP] {
            assert_eq!(WIRED.matches(part).count(), 1, "{part}");
        }
    }
}
