//! A small golden image that follows every rule, made with other tools than gild's: sfdisk, mkfs.vfat, mtools, mke2fs.
//!
//! Its kernel is 64 bytes of header and a version, its modules and programs are a few bytes: the inspected parts are real,
//! but no part can run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use cpio::newc;
use gild_boards::uboot_script::Script;
use tempfile::TempDir;

/// dpkg's state of a package that no upgrade touches.
pub const HELD: &str = "hold ok installed";
pub const VERSION: &str = "6.99.0-test-arm64";
pub const BOOT_START: u64 = 16 << 20;
pub const ROOT_START: u64 = 56 << 20;
pub const ROOT_SIZE: u64 = 24 << 20;
pub const SIZE: u64 = ROOT_START + ROOT_SIZE + (1 << 20);
const BOOT_GUID: &str = "11111111-2222-4333-8444-555555555555";
const ROOT_GUID: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

const MODULES: [&str; 16] = [
    "overlay",
    "br_netfilter",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_sh",
    "nf_conntrack",
    "vxlan",
    "iscsi_tcp",
    "macb",
    "broadcom",
    "rp1_pci",
    "clk_rp1",
    "pinctrl_rp1",
    "r8169",
    "virtio_blk",
];

/// The boards and the modules that they need before the root file system is there.
pub const EARLY: [(&str, &[&str]); 2] = [
    (
        "rpi5",
        &[
            "nvme",
            "ext4",
            "bcm2835_wdt",
            "fixed",
            "gpio_brcmstb",
            "gpio_regulator",
            "irq_bcm2712_mip",
            "pinctrl_brcmstb_bcm2712",
            "reset_raspberrypi",
            "sdhci_brcmstb",
        ],
    ),
    (
        "rock5b",
        &[
            "nvme",
            "ext4",
            "dw_mmc_rockchip",
            "dw_wdt",
            "fan53555",
            "gpio_rockchip",
            "i2c_rk3x",
            "phy_rockchip_naneng_combphy",
            "phy_rockchip_snps_pcie3",
            "rk808_regulator",
            "sdhci_of_dwcmshc",
            "spi_rockchip",
        ],
    ),
];

/// The boards and the modules of their own network, in the order in which they are asked for.
pub const NETWORK: [(&str, &[&str]); 2] = [
    (
        "rpi5",
        &["macb", "broadcom", "rp1_pci", "clk_rp1", "pinctrl_rp1"],
    ),
    ("rock5b", &["r8169"]),
];

/// What is enabled, as folder and unit.
pub const LINKS: [(&str, &str); 15] = [
    ("cloud-init.target.wants", "gild-seed.service"),
    ("cloud-init.target.wants", "gild-visit-card.service"),
    ("multi-user.target.wants", "gild-prove.service"),
    ("sysinit.target.wants", "gild-on-trial.service"),
    ("sysinit.target.wants", "gild-trial-deadline.timer"),
    ("cloud-init.target.wants", "k3s-init.service"),
    ("cloud-init.target.wants", "cloud-init-network.service"),
    ("timers.target.wants", "gild-seed-retry.timer"),
    ("sysinit.target.wants", "gild-mac.service"),
    ("sysinit.target.wants", "gild-network.service"),
    ("multi-user.target.wants", "ssh.service"),
    ("multi-user.target.wants", "systemd-networkd.service"),
    (
        "network-online.target.wants",
        "systemd-networkd-wait-online.service",
    ),
    ("sysinit.target.wants", "systemd-resolved.service"),
    ("sysinit.target.wants", "systemd-timesyncd.service"),
];

/// Where a node's packages come from.
pub const SOURCES: &str = "etc/apt/sources.list.d/debian.sources";

/// The same with this suite of security updates.
pub fn sources(security: &str) -> String {
    let stanza = |suite: &str| {
        format!(
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: {suite}\nComponents: main\n"
        )
    };
    [stanza("trixie"), stanza(security)].join("\n")
}

/// What of apt's configuration has a node install them.
pub const UPGRADES: &str = "etc/apt/apt.conf.d/60gild-unattended-upgrades";
pub const SECURITY_ORIGIN: &str =
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";

/// What an image is made of; a test changes it before it is made.
pub struct Golden {
    folder: TempDir,
    /// MiB of the boot partition: a FAT32 needs 34, a long initramfs more.
    pub boot_mib: u64,
    /// Keywords of sfdisk for the two partitions.
    pub boot_partition: String,
    pub root_partition: String,
    pub fat_label: &'static str,
    pub ext4_label: &'static str,
}

pub fn run(program: &str, arguments: &[&str]) {
    feed(program, arguments, "");
}

fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; run `make setup`"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(input.as_bytes())
        .expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

/// What is needed of the Raspberry Pi 5's device trees and of its overlay.
pub const C0: &str =
    "/ { pinctrl: pins { compatible = \"brcm,bcm2712c0-pinctrl\"; reg = <1 0x30>; }; };";
pub const D0: &str =
    "/ { pinctrl: pins { compatible = \"brcm,bcm2712d0-pinctrl\"; reg = <1 0x20>; }; };";
const OVERLAY: &str =
    "/plugin/; &pinctrl { compatible = \"brcm,bcm2712d0-pinctrl\"; reg = <1 0x20>; };";

/// A device tree with symbols, made by dtc, once for each source: most images have the same.
pub fn device_tree(source: &str) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let tree = made.entry(source.to_owned());
    tree.or_insert_with(|| compiled(source)).clone()
}

fn compiled(source: &str) -> Vec<u8> {
    let mut dtc = Command::new("dtc")
        .args(["-q", "-@", "-I", "dts", "-O", "dtb"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dtc: run `make setup`");
    let mut input = dtc.stdin.take().expect("a pipe");
    write!(input, "/dts-v1/; {source}").expect("into dtc");
    drop(input);
    let output = dtc.wait_with_output().expect("dtc");
    assert!(output.status.success(), "{source}");
    output.stdout
}

impl Golden {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let owner = fs::metadata(folder.path()).expect("just made").uid();
        assert_eq!(owner, 0, "run as root: the files of an image are root's");
        let golden = Self {
            folder,
            boot_mib: 36,
            boot_partition: format!(
                "start=16MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, uuid={BOOT_GUID}, attrs=LegacyBIOSBootable"
            ),
            root_partition: format!(
                "start=56MiB, size=24MiB, type=B921B045-1DF0-41C3-AF44-4C6F280D3FAE, uuid={ROOT_GUID}"
            ),
            fat_label: "GILDBOOT",
            ext4_label: "gild-root",
        };
        golden.fill_root();
        golden.fill_boot();
        golden
    }

    /// A path in the root file system.
    pub fn root(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    /// A path on the boot partition.
    pub fn boot(&self, path: &str) -> PathBuf {
        self.folder.path().join("boot").join(path)
    }

    /// Writes a file of the root file system.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.root(path), content);
    }

    /// Writes a file of the boot partition.
    pub fn put_boot(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.boot(path), content);
    }

    /// Writes a file as if a separate package had brought it.
    pub fn package(&self, path: &str, content: &str) {
        self.put(path, content);
        let output = Command::new("md5sum").arg(self.root(path)).output();
        let output = output.expect("coreutils");
        let sum = String::from_utf8_lossy(&output.stdout)[..32].to_owned();
        let name = path.replace('/', "-");
        let list = format!("var/lib/dpkg/info/{name}.md5sums");
        self.put(&list, format!("{sum}  {path}\n"));
    }

    /// Takes modules out of the kernel's list.
    pub fn without_modules(&self, names: &[&str]) {
        let index = format!("usr/lib/modules/{VERSION}/modules.dep");
        let text = fs::read_to_string(self.root(&index)).expect("it was there");
        let is_kept = |line: &&str| {
            let names = names.iter().map(|name| name.replace('_', "-"));
            !names
                .into_iter()
                .any(|name| line.contains(&format!("/{name}.ko")))
        };
        let kept: Vec<&str> = text.lines().filter(is_kept).collect();
        assert_eq!(kept.len() + names.len(), text.lines().count(), "{names:?}");
        self.put(&index, kept.join("\n"));
    }

    /// Adds to a file of the root file system.
    pub fn append(&self, path: &str, content: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.root(path))
            .expect("the file is there");
        file.write_all(content.as_bytes())
            .expect("the disk has room");
    }

    /// Replaces a text in a file of the boot partition.
    pub fn replace_boot(&self, path: &str, old: &str, new: &str) {
        let content = fs::read_to_string(self.boot(path)).expect("the file is there");
        assert!(content.contains(old), "{path} has no {old}");
        self.put_boot(path, content.replace(old, new));
    }

    fn program(&self, path: &str) {
        let mut elf = vec![0; 64];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        elf[18] = 183;
        self.put(path, elf);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.root(path), mode).expect("own file");
    }

    fn fill_root(&self) {
        for folder in [
            "tmp",
            "run",
            "proc",
            "var/log",
            "var/tmp",
            "boot/firmware",
            "home/debian",
            "root",
        ] {
            fs::create_dir_all(self.root(folder)).expect("a new folder");
        }
        self.put("etc/machine-id", "");
        self.put("etc/hosts", "127.0.0.1 localhost\n");
        self.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
        self.put(
            "etc/shadow",
            "root:*:20000:0:99999:7:::\ndaemon:!:20000::::::\n",
        );
        self.put("etc/gshadow", "root:*::\nusers:!::\n");
        self.put(
            "etc/iscsi/initiatorname.iscsi",
            "# made at first boot\nGenerateName=yes\n",
        );
        self.put(
            "etc/fstab",
            format!("PARTUUID={ROOT_GUID} / ext4 defaults 0 1\nPARTUUID={BOOT_GUID} /boot/firmware vfat defaults 0 2\n"),
        );
        self.put(
            "etc/cloud/cloud.cfg.d/90-gild.cfg",
            "datasource_list: [ NoCloud ]\nnetwork: {config: disabled}\n",
        );
        self.put(
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\nPermitRootLogin yes\n",
        );
        self.put(
            "etc/ssh/sshd_config.d/10-gild.conf",
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n",
        );
        self.put(
            "etc/rancher/k3s/registries.yaml",
            "mirrors:\n  docker.io:\n    endpoint: [\"https://registry.example\"]\n",
        );
        self.put(
            "etc/rancher/k3s/config.yaml.d/10-own.yaml",
            "kubelet-arg: [\"max-pods=50\"]\nnode-label+: [\"example.com/site=a\"]\n",
        );
        self.put(
            "etc/gild/first-boot.toml",
            "matchbox = \"http://matchbox.example:8080\"\n",
        );
        self.put(
            "etc/cloud/cloud.cfg.d/60-gild-site.cfg",
            "ssh_authorized_keys:\n  - \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA admin@example\"\n",
        );
        self.put("var/log/wtmp", "");
        self.put("usr/lib/os-release", "ID=debian\nVERSION_CODENAME=trixie\n");
        self.put(SOURCES, sources("trixie-security"));
        self.put(
            "etc/apt/apt.conf.d/50unattended-upgrades",
            "Unattended-Upgrade::Origins-Pattern {\n  // Debian's own\n  \"origin=Debian,codename=${distro_codename},label=Debian\";\n};\n",
        );
        self.put(
            UPGRADES,
            format!(
                "#clear Unattended-Upgrade::Origins-Pattern;\nUnattended-Upgrade::Origins-Pattern {{ \"{SECURITY_ORIGIN}\"; }};\n\
                 Unattended-Upgrade::Automatic-Reboot \"false\";\nAPT::Periodic {{ Update-Package-Lists \"1\"; Unattended-Upgrade \"1\"; }};\n"
            ),
        );
        self.put(
            "usr/lib/gild/image-release",
            "GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-0123456789ab\n",
        );
        self.put(
            "usr/lib/systemd/system-preset/10-gild.preset",
            "disable k3s-agent.service\n",
        );
        self.put(
            "etc/systemd/system/k3s-agent.service",
            "[Service]\nExecStart=/usr/local/bin/k3s agent\n",
        );
        self.put(
            "usr/lib/systemd/system/k3s-agent.service.d/10-gild.conf",
            "[Unit]\nConditionPathExists=/etc/rancher/k3s/config.yaml\n",
        );
        self.link("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf");
        for path in [
            "usr/lib/systemd/network/20-gild-wired.network",
            "usr/lib/systemd/system/sshd-keygen.service.d/10-gild.conf",
            "usr/lib/systemd/system/systemd-networkd-wait-online.service.d/10-gild.conf",
            "etc/modules-load.d/gild.conf",
            "etc/sysctl.d/90-gild.conf",
            "usr/bin/growpart",
        ] {
            self.put(path, "# as in the real image\n");
        }
        for path in [
            "usr/lib/gild/gild-seed",
            "usr/sbin/gild-reprovision",
            "usr/local/bin/k3s",
        ] {
            self.program(path);
        }
        let apt = ["apt-daily.timer", "apt-daily-upgrade.timer"];
        let apt = apt.map(|timer| ("timers.target.wants", timer));
        for (folder, unit) in LINKS.into_iter().chain(apt) {
            self.put(&format!("usr/lib/systemd/system/{unit}"), "[Unit]\n");
            let target = format!("/usr/lib/systemd/system/{unit}");
            self.link(&target, &format!("etc/systemd/system/{folder}/{unit}"));
        }
        let modules = format!("usr/lib/modules/{VERSION}");
        let mut index = String::new();
        let early = EARLY.iter().flat_map(|(_, modules)| *modules);
        for name in MODULES.iter().chain(early).collect::<BTreeSet<_>>() {
            let path = format!("kernel/{}.ko.xz", name.replace('_', "-"));
            self.put(&format!("{modules}/{path}"), "module");
            writeln!(index, "{path}:").expect("into memory");
        }
        self.put(&format!("{modules}/modules.dep"), index);
        self.kernel_packages(HELD, HELD);
    }

    /// dpkg's state of the package with the kernel's modules, and of the package that depends on the newest kernel.
    pub fn kernel_packages(&self, modules: &str, newest: &str) {
        let stanza = |name: &str, state: &str| format!("Package: {name}\nStatus: {state}\n\n");
        let status = [
            stanza(&format!("linux-modules-{VERSION}"), modules),
            stanza("linux-image-arm64", newest),
            stanza("linux-image-6.1.0-1-arm64", "deinstall ok not-installed"),
            stanza("unattended-upgrades", "install ok installed"),
        ];
        self.put("var/lib/dpkg/status", status.concat());
        let list = format!("var/lib/dpkg/info/linux-modules-{VERSION}.list");
        let folder = format!("/usr/lib/modules/{VERSION}/kernel");
        self.put(&list, format!("/.\n/usr\n{folder}\n"));
    }

    /// Makes it an image of this board.
    pub fn of(&self, board: &str) {
        match board {
            "rpi5" => {}
            "rock5b" => self.rock5b(),
            _ => panic!("no image of {board} can be made here"),
        }
    }

    /// Makes it an image of the other board.
    pub fn rock5b(&self) {
        for path in [
            "config.txt",
            "bcm2712-rpi-5-b.dtb",
            "bcm2712d0-rpi-5-b.dtb",
            "overlays/bcm2712d0.dtbo",
        ] {
            fs::remove_file(self.boot(path)).expect("it was there");
        }
        let arguments = fs::read_to_string(self.boot("cmdline.txt")).expect("it was there");
        fs::remove_file(self.boot("cmdline.txt")).expect("it was there");
        self.put_boot("rk3588-rock-5b.dtb", "device tree");
        self.put_script(format!(
            "if test -e ${{d}} gild-trial/on; then\n\
             for token in gild-trial/1 gild-trial/2 gild-trial/3; do test -e ${{d}} ${{token}} && fatrm ${{d}} ${{token}}; done\nfi\n\
             test -n \"${{card}}\" && source ${{a}}\n\
             setenv bootargs \"{}\"\n\
             load ${{d}} ${{k}} vmlinuz.gz && load ${{d}} ${{r}} initrd.img && booti ${{k}} ${{r}} ${{f}}\n",
            arguments.trim()
        ));
        for token in ["on", "1", "2", "3"] {
            self.put_boot(&format!("gild-trial/{token}"), "x");
        }
        self.put_boot(
            "gild-image.env",
            "image_id=rock5b-0123456789ab\nboard=rock5b\n",
        );
        self.put(
            "usr/lib/gild/image-release",
            "GILD_BOARD=rock5b\nGILD_IMAGE_ID=rock5b-0123456789ab\n",
        );
    }

    fn put_script(&self, text: String) {
        let script = Script {
            name: b"gild".to_vec(),
            time: 0,
            text: text.into_bytes(),
        };
        self.put_boot("boot.scr", script.to_bytes().expect("a short script"));
    }

    /// Replaces a text in U-Boot's script.
    pub fn replace_script(&self, old: &str, new: &str) {
        let bytes = fs::read(self.boot("boot.scr")).expect("it was there");
        let script = Script::parse(&bytes).expect("a script");
        let text = String::from_utf8(script.text).expect("text");
        assert!(text.contains(old), "the script has no {old}");
        self.put_script(text.replace(old, new));
    }

    pub fn link(&self, target: &str, path: &str) {
        let path = self.root(path);
        fs::create_dir_all(path.parent().expect("in the root")).expect("a new folder");
        symlink(target, path).expect("a new link");
    }

    fn fill_boot(&self) {
        self.kernel(1);
        self.put_boot("initrd.img", initrd(&[]));
        for (path, source) in [
            ("bcm2712-rpi-5-b.dtb", C0),
            ("bcm2712d0-rpi-5-b.dtb", D0),
            ("overlays/bcm2712d0.dtbo", OVERLAY),
        ] {
            self.put_boot(path, device_tree(source));
        }
        self.put_boot(
            "config.txt",
            "[all]\nkernel=vmlinuz.gz\ninitramfs initrd.img followkernel\n\
             # gild-trial: begin\n[all]\nset_reboot_order=0xf61\n# gild-trial: end\n",
        );
        self.put_boot(
            "cmdline.txt",
            format!(
                "root=PARTUUID={ROOT_GUID} rootwait cgroup_enable=memory systemd.firstboot=off\n"
            ),
        );
        self.put_boot("gild-image.env", "image_id=rpi5-0123456789ab\nboard=rpi5\n");
    }

    /// A kernel's header with this page size: 1 is 4 KiB, 2 is 16 KiB.
    pub fn kernel(&self, pages: u8) {
        let mut image = vec![0; 64];
        image[24] = pages << 1;
        image[56..60].copy_from_slice(b"ARM\x64");
        image.extend(format!("Linux version {VERSION} (builder@example) #1").as_bytes());
        // The kernel's own tests have keys in DER.
        image.extend(b"\x30\x82\x04\xa4\x02\x01\x00\x02\x82\x01\x01\x00");
        self.put_boot("vmlinuz.gz", gzip(&image));
    }

    /// Makes the image.
    pub fn make(&self) -> PathBuf {
        let image = self.folder.path().join("image");
        let file = File::create(&image).expect("a new file");
        file.set_len(SIZE).expect("a sparse file");
        let table = format!(
            "label: gpt\n{}, size={}MiB\n{}\n",
            self.boot_partition, self.boot_mib, self.root_partition
        );
        feed("sfdisk", &["--quiet", text(&image)], &table);
        let offset = (BOOT_START / 512).to_string();
        let blocks = (self.boot_mib * 1024).to_string();
        run(
            "mkfs.vfat",
            &[
                "-F",
                "32",
                "-s",
                "1",
                "-n",
                self.fat_label,
                "--offset",
                &offset,
                text(&image),
                &blocks,
            ],
        );
        let boot = mtools_name(&image);
        let entries = fs::read_dir(self.boot("")).expect("the folder is there");
        let paths: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        let paths = paths.iter().map(|path| text(path));
        let copy: Vec<_> = ["-s", "-i", &boot].into_iter().chain(paths).collect();
        run("mcopy", &[&copy[..], &["::/"]].concat());
        let options = format!("offset={ROOT_START}");
        let blocks = (ROOT_SIZE / 4096).to_string();
        let root = self.root("");
        run(
            "mke2fs",
            &[
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-L",
                self.ext4_label,
                "-E",
                &options,
                "-d",
                text(&root),
                text(&image),
                &blocks,
            ],
        );
        image
    }
}

/// The boot partition as mtools name it.
pub fn mtools_name(image: &Path) -> String {
    format!("{}@@{BOOT_START}", image.display())
}

/// Changes the root file system of a finished image.
pub fn debugfs(image: &Path, command: &str) {
    let target = format!("{}?offset={ROOT_START}", image.display());
    run("debugfs", &["-w", "-R", command, &target]);
}

/// Writes bytes into a finished image.
pub fn poke(image: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(image)
        .expect("the image is there");
    file.write_all_at(bytes, offset).expect("it can be written");
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("into memory");
    gzip.finish().expect("into memory")
}

/// An initramfs as Debian's, with all early modules: first a plain archive, then one compressed with zstd.
pub fn initrd(more: &[(&str, &[u8])]) -> Vec<u8> {
    initrd_without(&[], more)
}

/// The same without these modules.
pub fn initrd_without(modules: &[&str], more: &[(&str, &[u8])]) -> Vec<u8> {
    let early = archive(&[("early/microcode".into(), b"code")]);
    let present = EARLY.iter().flat_map(|(_, all)| *all);
    let present: BTreeSet<_> = present.filter(|name| !modules.contains(*name)).collect();
    let paths: Vec<(String, &[u8])> = present
        .iter()
        .map(|name| {
            let path = format!("usr/lib/modules/{VERSION}/kernel/{name}.ko");
            (path, &b"module"[..])
        })
        .chain(
            more.iter()
                .map(|&(path, content)| (path.to_owned(), content)),
        )
        .collect();
    let main = zstd::encode_all(&archive(&paths)[..], 1).expect("into memory");
    [early, main].concat()
}

fn archive(files: &[(String, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        let length = u32::try_from(content.len()).expect("short");
        let mut writer = newc::Builder::new(path)
            .mode(0o100_644)
            .write(&mut archive, length);
        writer.write_all(content).expect("into memory");
        writer.finish().expect("into memory");
    }
    newc::trailer(&mut archive).expect("into memory");
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("in a folder")).expect("a new folder");
    fs::write(path, content).expect("the disk has room");
}
