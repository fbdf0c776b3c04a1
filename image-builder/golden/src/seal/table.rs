//! The table. Rows are applied from the first to the last.

use super::{Action, Row};

const fn remove(item: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    Row {
        item,
        paths,
        action: Action::Remove,
        why,
    }
}

const fn remove_files(
    item: &'static str,
    paths: &'static [&'static str],
    why: &'static str,
) -> Row {
    Row {
        item,
        paths,
        action: Action::RemoveFiles,
        why,
    }
}

const fn put(
    item: &'static str,
    paths: &'static [&'static str],
    text: &'static str,
    mode: u32,
    why: &'static str,
) -> Row {
    Row {
        item,
        paths,
        action: Action::Put {
            text,
            mode,
            only_with: None,
        },
        why,
    }
}

const HOSTS: &str = "127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
";

/// The seal.
pub const TABLE: [Row; 36] = [
    put(
        "machine id",
        &["etc/machine-id"],
        "",
        0o444,
        "all nodes would be one node to systemd, DHCP and the journal; `uninitialized` would enable services by preset and start the first-boot wizard",
    ),
    remove(
        "D-Bus machine id",
        &["var/lib/dbus/machine-id"],
        "systemd copies it back into the machine id",
    ),
    remove(
        "SSH host keys",
        &["etc/ssh/ssh_host_*", "etc/dropbear/**/*host_key*"],
        "all nodes would have the same keys, and anyone who has the image has them too",
    ),
    remove(
        "users' SSH files",
        &["**/.ssh"],
        "keys of the people who built it would open every node, and cloud-init copies /etc/skel into the home that it makes; the site's keys come through cloud-init",
    ),
    remove(
        "cloud-init state",
        &["var/lib/cloud/*"],
        "cloud-init would think that the node is already set up",
    ),
    remove(
        "cloud-init's generated configuration",
        &[
            "etc/netplan/50-cloud-init.yaml",
            "etc/systemd/network/10-cloud-init-*",
            "etc/network/interfaces.d/50-cloud-init*",
            "etc/ssh/sshd_config.d/50-cloud-init.conf",
            "etc/sudoers.d/90-cloud-init-users",
            "etc/cloud/cloud-init.disabled",
        ],
        "it belongs to the machine that made it, and has that machine's MAC address",
    ),
    Row {
        item: "iSCSI initiator name",
        paths: &["etc/iscsi/initiatorname.iscsi"],
        action: Action::Put {
            text: "GenerateName=yes\n",
            mode: 0o600,
            only_with: Some("etc/iscsi"),
        },
        why: "two nodes with one name corrupt each other's volumes; without the file iscsid does not start",
    },
    remove(
        "NVMe host identity",
        &["etc/nvme/hostnqn", "etc/nvme/hostid"],
        "NVMe over fabrics distinguishes hosts by it",
    ),
    remove(
        "random seeds and secrets of systemd",
        &[
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/urandom/random-seed",
            "{boot,efi,boot/efi,boot/firmware}/loader/{random-seed,entries.srel}",
            "etc/kernel/entry-token",
        ],
        "known random data is not random, and a shared credential secret opens every node's credentials",
    ),
    remove_files(
        "state that systemd keeps of a machine",
        &["var/lib/systemd/{timesync,rfkill,backlight,linger,network,timers}/**"],
        "it is the build host's",
    ),
    put(
        "earliest time",
        &["usr/lib/clock-epoch"],
        "",
        0o644,
        "the file's time is the image's date: a board without a clock starts at that date and not in 1970, when no certificate is valid",
    ),
    remove(
        "clock of the build",
        &["etc/fake-hwclock.data", "etc/adjtime"],
        "it would set the node's clock",
    ),
    remove(
        "names of the machine",
        &["etc/hostname", "etc/machine-info", "etc/mailname"],
        "the node's name comes with its first boot",
    ),
    put(
        "hosts",
        &["etc/hosts"],
        HOSTS,
        0o644,
        "a line for the build host's own name",
    ),
    Row {
        item: "name servers",
        paths: &["etc/resolv.conf"],
        action: Action::Resolver,
        why: "the build host's name server is not the node's",
    },
    remove(
        "name servers of the build host, kept aside",
        &["etc/.resolv.conf*", "etc/resolv.conf.*"],
        "systemd-resolved keeps the file that it replaced",
    ),
    remove(
        "k3s identity and configuration",
        &[
            "etc/rancher/node",
            "etc/rancher/k3s/{config.yaml,k3s.yaml}",
            "etc/rancher/k3s/*{token,.env}*",
            "etc/{systemd/system,default,sysconfig}/k3s*.env",
            "etc/{default,sysconfig}/{k3s,k3s-agent}",
        ],
        "anyone who has the image has a token in it; a node password in it lets only one node join",
    ),
    remove(
        "k3s state",
        &[
            "var/lib/rancher/k3s/{server,data,storage}",
            "var/lib/rancher/k3s/agent/[!i]*",
            "var/lib/rancher/[!k]*",
            "var/lib/{kubelet,cni}",
            "etc/{cni,kubernetes}",
            "{root,home/*}/.kube",
        ],
        "certificates and pods of another node; the images in /var/lib/rancher/k3s/agent/images stay",
    ),
    remove(
        "state of gild's first boot",
        &["var/lib/gild/*"],
        "a node that thinks it is provisioned asks Matchbox nothing; nodes with one secret are one node to the desk",
    ),
    remove_files(
        "network leases",
        &[
            "var/lib/dhcp/*",
            "var/lib/{dhcpcd,dhcpcd5}/**",
            "var/lib/NetworkManager/**",
            "var/lib/misc/*.leases",
            "etc/dhcpcd.duid",
        ],
        "a clone would ask for the same address",
    ),
    remove_files(
        "wireless and VPN secrets",
        &[
            "etc/NetworkManager/system-connections/*",
            "etc/wpa_supplicant/*.conf",
            "var/lib/iwd/*",
            "etc/wireguard/*",
        ],
        "pass phrases and private keys",
    ),
    remove(
        "names bound to a MAC address",
        &["etc/udev/rules.d/{70-persistent-*,*-persistent-net}.rules"],
        "they fit one board only",
    ),
    Row {
        item: "link files bound to a MAC address",
        paths: &["etc/systemd/network/10-*.link"],
        action: Action::RemoveBoundToHardware,
        why: "they fit one board only; link files for a driver or a path fit all boards",
    },
    remove(
        "histories and caches of users",
        &[
            "{root,home/*}/.{bash,zsh,python,psql,sqlite,node_repl}_history",
            "{root,home/*}/.{lesshst,viminfo,wget-hsts,sudo_as_admin_successful,ansible,cache}",
            "{root,home/*}/.{gnupg,netrc,git-credentials,npmrc,pypirc,docker,aws}",
        ],
        "commands with secrets in them",
    ),
    remove_files(
        "mail and jobs",
        &[
            "var/mail/*",
            "var/spool/mail/*",
            "var/spool/cron/{crontabs,atjobs,atspool}/*",
            "var/spool/{at,anacron}/**",
        ],
        "they belong to users of the build",
    ),
    remove(
        "journals",
        &["var/log/journal/*"],
        "the directory is named after a machine id",
    ),
    remove_files(
        "logs",
        &["var/log/**", "var/lib/{wtmpdb,lastlog}/**"],
        "they describe the build host and differ from build to build",
    ),
    remove(
        "files that a boot removes",
        &["run/*", "tmp/*", "var/tmp/*"],
        "leftovers of the build",
    ),
    remove_files(
        "package lists and caches",
        &[
            "var/lib/apt/lists/**",
            "var/cache/apt/**",
            "var/cache/ldconfig/aux-cache",
        ],
        "they are old when the node starts, and differ from build to build",
    ),
    remove(
        "apt's credentials and proxies",
        &[
            "etc/apt/auth.conf",
            "etc/apt/auth.conf.d/*",
            "etc/apt/apt.conf.d/*{proxy,mmdebstrap}*",
        ],
        "they are the build host's",
    ),
    remove(
        "backups of system files",
        &[
            "etc/{passwd,shadow,group,gshadow,subuid,subgid}-",
            "var/lib/dpkg/*-old",
            "var/lib/dpkg/{lock,lock-frontend,triggers/Lock}",
            "var/cache/debconf/*-old",
            "var/cache/debconf/passwords.dat",
            "var/backups/*",
        ],
        "old password hashes, and bytes that differ from build to build",
    ),
    Row {
        item: "passwords",
        paths: &["etc/shadow", "etc/gshadow"],
        action: Action::LockPasswords,
        why: "everybody soon knows a password that all nodes share",
    },
    remove(
        "leftovers of building in a chroot",
        &[
            "usr/sbin/policy-rc.d",
            "usr/bin/qemu-*-static",
            "etc/ansible",
            ".dockerenv",
        ],
        "services would not start after an update",
    ),
    remove(
        "private keys made at installation",
        &[
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "etc/ssl/certs/ssl-cert-snakeoil.pem",
        ],
        "anyone who has the image has the key",
    ),
    remove(
        "swap and dumps",
        &[
            "swapfile",
            "var/swap",
            "var/crash/*",
            "var/lib/systemd/coredump/*",
            "var/account/*",
        ],
        "memory of another machine",
    ),
    remove_files(
        "state of services",
        &[
            "var/lib/nfs/{state,sm/*,sm.bak/*,rmtab,etab}",
            "var/lib/private/**",
            "var/lib/libuuid/clock.txt",
            "etc/multipath/{wwids,bindings}",
            "etc/blkid.tab*",
        ],
        "it names another machine and its disks",
    ),
];
