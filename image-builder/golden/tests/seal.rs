//! Every row of the seal against the file that it is for. Each planted file is also seen to survive when its row is left out
//! of the table: no row passes because of another.

use std::fs;
use std::path::Path;

use gild_golden::seal::{Row, TABLE, apply, list_markdown, seal};
use gild_golden::tree::{Kind, Tree};
use globset::GlobBuilder;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a careless build leaves behind, by the row that is for it. A path that ends in `/` is a directory.
const PLANTS: &[(&str, &[&str])] = &[
    ("machine id", &["etc/machine-id"]),
    ("D-Bus machine id", &["var/lib/dbus/machine-id"]),
    (
        "SSH host keys",
        &[
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "etc/dropbear/dropbear_rsa_host_key",
            "etc/dropbear/initramfs/dropbear_ed25519_host_key",
        ],
    ),
    (
        "users' SSH files",
        &[
            "root/.ssh/id_ed25519",
            "home/pi/.ssh/authorized_keys",
            "etc/skel/.ssh/authorized_keys",
            "var/lib/backup/.ssh/authorized_keys",
        ],
    ),
    (
        "cloud-init state",
        &[
            "var/lib/cloud/instances/i-1/user-data.txt",
            "var/lib/cloud/data/instance-id",
        ],
    ),
    (
        "cloud-init's generated configuration",
        &[
            "etc/netplan/50-cloud-init.yaml",
            "etc/systemd/network/10-cloud-init-eth0.network",
            "etc/network/interfaces.d/50-cloud-init",
            "etc/ssh/sshd_config.d/50-cloud-init.conf",
            "etc/sudoers.d/90-cloud-init-users",
            "etc/cloud/cloud-init.disabled",
        ],
    ),
    ("iSCSI initiator name", &["etc/iscsi/initiatorname.iscsi"]),
    (
        "NVMe host identity",
        &["etc/nvme/hostnqn", "etc/nvme/hostid"],
    ),
    (
        "random seeds and secrets of systemd",
        &[
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/urandom/random-seed",
            "boot/efi/loader/random-seed",
            "boot/loader/entries.srel",
            "etc/kernel/entry-token",
        ],
    ),
    (
        "state that systemd keeps of a machine",
        &[
            "var/lib/systemd/timesync/clock",
            "var/lib/systemd/timers/stamp-apt-daily.timer",
        ],
    ),
    ("earliest time", &["usr/lib/clock-epoch"]),
    (
        "clock of the build",
        &["etc/fake-hwclock.data", "etc/adjtime"],
    ),
    (
        "names of the machine",
        &["etc/hostname", "etc/machine-info", "etc/mailname"],
    ),
    ("hosts", &["etc/hosts"]),
    ("name servers", &["etc/resolv.conf"]),
    (
        "name servers of the build host, kept aside",
        &[
            "etc/.resolv.conf.systemd-resolved.bak",
            "etc/resolv.conf.dpkg-bak",
        ],
    ),
    (
        "k3s identity and configuration",
        &[
            "etc/rancher/node/password",
            "etc/rancher/k3s/config.yaml",
            "etc/rancher/k3s/cluster-token",
            "etc/systemd/system/k3s-agent.service.env",
            "etc/default/k3s-agent",
        ],
    ),
    (
        "k3s state",
        &[
            "var/lib/rancher/k3s/server/token",
            "var/lib/rancher/k3s/agent/client-ca.crt",
            "var/lib/rancher/rke2/x",
            "var/lib/kubelet/config",
            "etc/cni/net.d/a",
            "etc/kubernetes/admin.conf",
            "root/.kube/config",
        ],
    ),
    (
        "state of gild's first boot",
        &["var/lib/gild/provisioned", "var/lib/gild/desk-secret"],
    ),
    (
        "network leases",
        &[
            "var/lib/dhcp/dhclient.leases",
            "var/lib/dhcpcd/eth0.lease",
            "var/lib/NetworkManager/secret_key",
            "var/lib/misc/dnsmasq.leases",
            "etc/dhcpcd.duid",
        ],
    ),
    (
        "wireless and VPN secrets",
        &[
            "etc/NetworkManager/system-connections/home.nmconnection",
            "etc/wpa_supplicant/wpa_supplicant.conf",
            "var/lib/iwd/home.psk",
            "etc/wireguard/wg0.conf",
        ],
    ),
    (
        "names bound to a MAC address",
        &[
            "etc/udev/rules.d/70-persistent-net.rules",
            "etc/udev/rules.d/60-persistent-net.rules",
        ],
    ),
    (
        "link files bound to a MAC address",
        &[
            "etc/systemd/network/10-lan.link",
            "etc/systemd/network/10-dashes.link",
            "etc/systemd/network/10-dots.link",
        ],
    ),
    (
        "histories and caches of users",
        &[
            "root/.bash_history",
            "home/pi/.python_history",
            "root/.lesshst",
            "home/pi/.cache/x",
            "root/.netrc",
        ],
    ),
    (
        "mail and jobs",
        &[
            "var/mail/root",
            "var/spool/mail/pi",
            "var/spool/cron/crontabs/root",
            "var/spool/at/a1",
            "var/spool/anacron/cron.daily",
        ],
    ),
    (
        "journals",
        &["var/log/journal/0123456789abcdef0123456789abcdef/"],
    ),
    (
        "logs",
        &[
            "var/log/dpkg.log",
            "var/log/apt/history.log",
            "var/lib/wtmpdb/wtmp.db",
        ],
    ),
    (
        "files that a boot removes",
        &["run/cloud-init/status.json", "tmp/x/y", "var/tmp/z"],
    ),
    (
        "package lists and caches",
        &[
            "var/lib/apt/lists/mirror_InRelease",
            "var/cache/apt/archives/a.deb",
            "var/cache/ldconfig/aux-cache",
        ],
    ),
    (
        "apt's credentials and proxies",
        &[
            "etc/apt/auth.conf",
            "etc/apt/auth.conf.d/site.conf",
            "etc/apt/apt.conf.d/01proxy",
        ],
    ),
    (
        "backups of system files",
        &[
            "etc/shadow-",
            "var/lib/dpkg/status-old",
            "var/lib/dpkg/lock",
            "var/cache/debconf/config.dat-old",
            "var/cache/debconf/passwords.dat",
            "var/backups/dpkg.status.0",
        ],
    ),
    ("passwords", &["etc/shadow", "etc/gshadow"]),
    (
        "leftovers of building in a chroot",
        &[
            "usr/sbin/policy-rc.d",
            "usr/bin/qemu-aarch64-static",
            "etc/ansible/facts",
            ".dockerenv",
        ],
    ),
    (
        "private keys made at installation",
        &[
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "etc/ssl/certs/ssl-cert-snakeoil.pem",
        ],
    ),
    (
        "swap and dumps",
        &[
            "swapfile",
            "var/swap",
            "var/crash/vmcore",
            "var/lib/systemd/coredump/core.1",
            "var/account/pacct",
        ],
    ),
    (
        "state of services",
        &[
            "var/lib/nfs/state",
            "var/lib/private/x/y",
            "var/lib/libuuid/clock.txt",
            "etc/multipath/wwids",
            "etc/blkid.tab",
        ],
    ),
];

/// What no row may touch.
const KEPT: &[&str] = &[
    "etc/passwd",
    "etc/rancher/k3s/registries.yaml",
    "etc/ssh/sshd_config",
    "etc/systemd/network/10-by-driver.link",
    "etc/systemd/network/20-gild-wired.network",
    "etc/systemd/system/k3s-agent.service",
    "home/pi/.profile",
    "var/lib/dpkg/status",
    "var/lib/rancher/k3s/agent/images/k3s-airgap-images-arm64.tar.zst",
    "var/lib/systemd/deb-systemd-helper-enabled/ssh.service.dsh-also",
];

const SECRET: &str = "left by the build host\n";
const SHADOW: &str = "root:$y$j9T$abc$def:20415:0:99999:7:::\nnobody:!:20415::::::\n";

fn careless_root() -> Result<Tree> {
    let mut tree = Tree::default();
    for path in PLANTS.iter().flat_map(|(_, paths)| *paths).chain(KEPT) {
        let text = match *path {
            "etc/shadow" => SHADOW,
            "etc/gshadow" => "sudo:$6$hash::pi\n",
            "etc/systemd/network/10-lan.link" => "[Match]\nMACAddress=02:00:5e:10:00:01\n",
            "etc/systemd/network/10-dashes.link" => "[Match]\nMACAddress=x 02-00-5E-10-00-01\n",
            "etc/systemd/network/10-dots.link" => "[Match]\nPermanentMACAddress=0200.5e10.0001\n",
            _ => SECRET,
        };
        match path.strip_suffix('/') {
            Some(directory) => tree.insert_dir(directory, 0o755)?,
            None => tree.insert_file(path, 0o600, text)?,
        }
    }
    tree.insert_file("usr/lib/systemd/systemd-resolved", 0o755, "")?;
    Ok(tree)
}

/// Whether a plant is still what the build host left.
fn survives(tree: &Tree, path: &str) -> Result<bool> {
    let path = path.trim_end_matches('/');
    match tree.get(path).map(|entry| &entry.kind) {
        None | Some(Kind::Symlink(_)) => Ok(false),
        Some(Kind::Directory) => Ok(true),
        Some(_) => {
            let text = tree.read_text(path)?;
            Ok(text == SECRET || text.contains('$') || text.contains("MACAddress"))
        }
    }
}

#[test]
fn each_row_takes_what_it_is_for_and_no_other_row_does_it_instead() -> Result<()> {
    assert_eq!(
        PLANTS.len(),
        TABLE.len(),
        "a row of the table is not tested"
    );
    for ((item, paths), row) in PLANTS.iter().zip(&TABLE) {
        assert_eq!(*item, row.item);
        let rest: Vec<Row> = TABLE
            .iter()
            .filter(|other| other.item != *item)
            .copied()
            .collect();
        let mut without = careless_root()?;
        apply(&mut without, &rest)?;
        let mut with = careless_root()?;
        apply(&mut with, &TABLE)?;
        for path in *paths {
            assert!(
                survives(&without, path)?,
                "{path} went without the row {item:?}"
            );
            assert!(!survives(&with, path)?, "{path} is still there");
        }
    }
    Ok(())
}

#[test]
fn each_pattern_of_the_table_has_a_plant() -> Result<()> {
    for ((item, plants), row) in PLANTS.iter().zip(&TABLE) {
        for pattern in row.paths {
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()?
                .compile_matcher();
            let hit = plants.iter().any(|plant| {
                let path = plant.trim_end_matches('/');
                let mut ends = path
                    .match_indices('/')
                    .map(|(at, _)| &path[..at])
                    .chain([path]);
                ends.any(|path| glob.is_match(path))
            });
            assert!(hit, "{pattern} of {item:?} is not tested");
        }
    }
    Ok(())
}

#[test]
fn what_belongs_to_the_image_stays() -> Result<()> {
    let mut tree = careless_root()?;
    seal(&mut tree)?;
    for path in KEPT {
        assert_eq!(tree.read_text(path)?, SECRET, "{path}");
    }
    for directory in [
        "var/log/apt",
        "var/lib/apt/lists",
        "var/spool/cron/crontabs",
        "run",
        "tmp",
    ] {
        assert!(tree.contains(directory), "{directory} went");
    }
    Ok(())
}

#[test]
fn what_must_be_there_is_there_in_the_form_that_works() -> Result<()> {
    let mut tree = careless_root()?;
    tree.remove("etc/machine-id")?;
    seal(&mut tree)?;
    let machine_id = tree.get("etc/machine-id").ok_or("no machine id")?;
    assert_eq!(machine_id.mode, 0o444);
    assert_eq!(tree.read("etc/machine-id")?, b"");
    assert_eq!(
        tree.read_text("etc/iscsi/initiatorname.iscsi")?,
        "GenerateName=yes\n"
    );
    assert!(tree.contains("usr/lib/clock-epoch"));
    let resolver = &tree.get("etc/resolv.conf").ok_or("no resolv.conf")?.kind;
    assert!(
        matches!(resolver, Kind::Symlink(target) if target == "../run/systemd/resolve/stub-resolv.conf")
    );
    assert_eq!(
        tree.read_text("etc/shadow")?,
        "root:*::0:99999:7:::\nnobody:!:::::::\n"
    );
    assert_eq!(tree.read_text("etc/gshadow")?, "sudo:*::pi\n");
    Ok(())
}

#[test]
fn a_root_without_iscsi_or_resolved_gets_neither() -> Result<()> {
    let mut tree = Tree::default();
    tree.insert_file("etc/resolv.conf", 0o644, "nameserver 192.0.2.1\n")?;
    seal(&mut tree)?;
    assert!(!tree.contains("etc/iscsi"));
    assert_eq!(tree.read("etc/resolv.conf")?, b"");
    Ok(())
}

#[test]
fn sealing_twice_changes_nothing_more() -> Result<()> {
    let mut tree = careless_root()?;
    assert!(!seal(&mut tree)?.is_empty());
    assert_eq!(seal(&mut tree)?, []);
    Ok(())
}

#[test]
fn the_documentation_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/golden-image.md");
    let text = fs::read_to_string(&path).expect("docs/golden-image.md is part of the project");
    let table = list_markdown();
    assert!(
        text.contains(&table),
        "docs/golden-image.md shows another table; the table is now:\n{table}"
    );
}
