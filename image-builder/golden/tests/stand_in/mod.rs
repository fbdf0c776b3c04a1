//! A site's files and stand-ins for vendors' images, made with the host's mke2fs and sfdisk.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ext4_view::{Ext4, Ext4Read};
use gild_golden::base::Security;
use gild_golden::base_image::BaseImage;
use gild_golden::cache::sha256_of;
use gild_golden::k3s::{Images, K3s};
use gild_golden::pipeline::Options;
use gild_golden::site;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// Where the golden image's partitions start.
const BOOT: u64 = 16 * MIB;
const ROOT: u64 = 528 * MIB;

/// Device trees of Raspberry Pi OS, and the vendor's own overlay between them, which changes more than the trees differ
/// in. A pair of them is all that the builder looks at.
const DEVICE_TREES: [(&str, &str); 3] = [
    (
        "broadcom/bcm2712-rpi-5-b.dtb",
        "/ { pins: pins { compatible = \"brcm,bcm2712-pinctrl\"; }; };",
    ),
    (
        "broadcom/bcm2712d0-rpi-5-b.dtb",
        "/ { pins: pins { compatible = \"brcm,bcm2712d0-pinctrl\"; }; };",
    ),
    (
        "overlays/bcm2712d0.dtbo",
        "/plugin/; &pins { compatible = \"brcm,bcm2712d0-pinctrl\"; vendors-own; };",
    ),
];

/// A device tree with symbols.
fn compiled(source: &str) -> Vec<u8> {
    let mut dtc = Command::new("dtc")
        .args(["-q", "-@", "-I", "dts", "-O", "dtb"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("dtc: run `make setup`");
    let mut input = dtc.stdin.take().expect("a pipe");
    write!(input, "/dts-v1/; {source}").expect("into dtc");
    drop(input);
    let output = dtc.wait_with_output().expect("dtc");
    assert!(output.status.success(), "{source}");
    output.stdout
}

/// Which image is stood in for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// One ext4 partition; packed by xz.
    Armbian,
    /// A FAT partition and an ext4 one, in an MBR; packed by gzip.
    RaspberryPiOs,
}

impl Vendor {
    fn board(self) -> &'static str {
        match self {
            Self::Armbian => "rock5b",
            Self::RaspberryPiOs => "rpi5",
        }
    }

    /// The packages that dpkg knows of.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Armbian => &[
                "base-files",
                "linux-image-vendor-rk35xx",
                "linux-dtb-vendor-rk35xx",
                "linux-u-boot-rock-5b-vendor",
                "armbian-bsp-cli-rock-5b",
            ],
            Self::RaspberryPiOs => &["base-files", "linux-image-6.12.47-v8", "raspi-firmware"],
        }
    }

    fn dpkg_status(self) -> String {
        let stanza = |name: &&str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\
                 Maintainer: Somebody <a@example.org>\nDescription: stand-in\n\n"
            )
        };
        self.packages().iter().map(stanza).collect()
    }

    /// Paths and contents of its root file system.
    fn files(self) -> Vec<(&'static str, &'static str)> {
        let mut files = vec![
            ("usr/lib/os-release", "ID=debian\nVERSION_CODENAME=trixie\n"),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/shadow", "root:$y$secret:20000::::::\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/hostname", "vendor\n"),
            ("usr/bin/unattended-upgrade", "stand-in"),
            (
                "etc/cloud/cloud.cfg.d/99-vendor.cfg",
                "datasource_list: [ None ]\n",
            ),
            (
                "usr/lib/systemd/system/NetworkManager.service",
                "[Service]\n",
            ),
        ];
        files.extend(match self {
            Self::Armbian => vec![
                ("etc/vendor-release", "armbian\n"),
                (
                    "etc/apparmor.d/chat",
                    "profile chat /opt/chat/chat flags=(unconfined) {\n}\n",
                ),
                (
                    "etc/apparmor.d/upgrade",
                    "profile upgrade /usr/bin/unattended-upgrade {\n}\n",
                ),
                (
                    "usr/lib/systemd/system/cloud-init-local.service",
                    "[Unit]\nBefore=network-pre.target\nBefore=sysinit.target\n",
                ),
                ("root/.not_logged_in_yet", ""),
                (
                    "etc/netplan/10-dhcp-all-interfaces.yaml",
                    "network: {version: 2, renderer: networkd}\n",
                ),
                (
                    "usr/lib/systemd/system/armbian-firstrun.service",
                    "[Service]\n",
                ),
                ("usr/lib/modules/6.1.115-vendor-rk35xx/modules.dep", ""),
                (
                    "boot/vmlinuz-6.1.115-vendor-rk35xx",
                    "stand-in for a kernel",
                ),
                (
                    "boot/initrd.img-6.1.115-vendor-rk35xx",
                    "stand-in for an initramfs",
                ),
                (
                    "boot/dtb-6.1.115-vendor-rk35xx/rockchip/rk3588-rock-5b.dtb",
                    "stand-in for a device tree",
                ),
            ],
            Self::RaspberryPiOs => vec![
                ("etc/vendor-release", "raspberry pi os\n"),
                ("usr/lib/systemd/system/userconfig.service", "[Service]\n"),
                (
                    "usr/lib/systemd/system/rpi-eeprom-update.service",
                    "[Service]\n",
                ),
                ("usr/lib/modules/6.12.47-v8/modules.dep", ""),
                ("usr/lib/modules/6.12.47-2712/modules.dep", ""),
                ("boot/vmlinuz-6.12.47-v8", "stand-in for the kernel -v8"),
                ("boot/vmlinuz-6.12.47-2712", "stand-in for the kernel -2712"),
                ("boot/initrd.img-6.12.47-v8", "stand-in for an initramfs"),
            ],
        });
        files
    }
}

/// What `docker save` makes of an image without layers, packed.
fn airgap_images() -> Vec<u8> {
    let list =
        r#"[{"Config": "0.json", "RepoTags": ["rancher/mirrored-pause:3.6"], "Layers": []}]"#;
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("0.json", r#"{"architecture": "arm64"}"#),
        ("manifest.json", list),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        let added = tar.append_data(&mut header, path, text.as_bytes());
        added.expect("into memory");
    }
    let tar = tar.into_inner().expect("into memory");
    zstd::encode_all(&tar[..], 1).expect("into memory")
}

/// A folder with everything that a build takes, gone after the test.
pub struct Site {
    folder: TempDir,
}

impl Site {
    pub fn new() -> Self {
        let site = Self {
            folder: TempDir::new().expect("a folder"),
        };
        site.write("overlay/srv/site", b"from the site's overlay\n");
        site.write(
            "key.pub",
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g admin@example\n",
        );
        site.write("ca.pem", include_bytes!("ca.pem"));
        // The header of an arm64 program, and nothing else of one.
        let mut program = b"\x7fELF\x02\x01\x01".to_vec();
        program.resize(18, 0);
        program.extend([183, 0]);
        for name in [
            "programs/gild-seed",
            "programs/gild-reprovision",
            "k3s-arm64",
        ] {
            site.write(name, &program);
        }
        site.write("k3s-airgap-images-arm64.tar.zst", &airgap_images());
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// A file of the site's overlay.
    pub fn in_overlay(&self, path: &str, text: &str) {
        self.write(&format!("overlay/{path}"), text.as_bytes());
    }

    /// A file that looks like a secret key of SSH. Put together here, so that no scanner finds one in the project.
    pub fn secret_key(&self) -> PathBuf {
        let text = ["-----BEGIN OPENSSH", "PRIVATE KEY-----\nAAAA\n"].join(" ");
        self.write("id_ed25519", text.as_bytes());
        self.path("id_ed25519")
    }

    /// The board's recipe without packages, which would take mmdebstrap half an hour.
    pub fn recipe(&self, vendor: Vendor) -> PathBuf {
        let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards");
        let read =
            |name: &str| fs::read_to_string(boards.join(name)).expect("the project's recipe");
        let common = read("image.toml");
        let start = common.find("packages = [").expect("packages");
        let end = start + common[start..].find("\n]\n").expect("their end") + 3;
        self.write(
            "image.toml",
            (common[..start].to_owned() + &common[end..]).as_bytes(),
        );
        let name = format!("{}.toml", vendor.board());
        let own = read(&format!("{}/image.toml", vendor.board()));
        self.write(&name, own.replace("../image.toml", "image.toml").as_bytes());
        self.path(&name)
    }

    pub fn options(&self, vendor: Vendor) -> Options {
        let image = self.vendor_image(vendor);
        let sha256 = sha256_of(&image).expect("the image");
        self.options_for(
            vendor,
            BaseImage {
                path: image,
                sha256,
            },
        )
    }

    fn airgap_images(&self) -> Images {
        let path = self.path("k3s-airgap-images-arm64.tar.zst");
        let sha256 = sha256_of(&path).expect("the images");
        Images { path, sha256 }
    }

    pub fn options_with_base(&self, name: &str, bytes: &[u8]) -> Options {
        self.write(name, bytes);
        let path = self.path(name);
        let sha256 = sha256_of(&path).expect("the image");
        self.options_for(Vendor::Armbian, BaseImage { path, sha256 })
    }

    fn options_for(&self, vendor: Vendor, base: BaseImage) -> Options {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mke2fs = project.join("target/e2fsprogs/mke2fs");
        assert!(mke2fs.exists(), "no {}: run `make setup`", mke2fs.display());
        let k3s = self.path("k3s-arm64");
        Options {
            board: vendor.board().to_owned(),
            recipe: self.recipe(vendor),
            base: Some(base),
            mirror: Some("https://mirror.example/debian".to_owned()),
            security: Security::At("https://mirror.example/debian-security".to_owned()),
            packages: Vec::new(),
            rootfs: project.join("image-builder/node/rootfs"),
            first_boot: self.path("programs"),
            overlays: vec![self.path("overlay")],
            site: site::Options {
                authorized_keys: vec![self.path("key.pub")],
                matchbox: Some("https://matchbox.example:8443".to_owned()),
                matchbox_ca: Some(self.path("ca.pem")),
                k3s_url: Some("https://k3s.example:6443".to_owned()),
                without_matchbox: false,
                order_url: None,
                order_keys: Vec::new(),
            },
            k3s: Some(K3s {
                sha256: sha256_of(&k3s).expect("k3s"),
                program: k3s,
                airgap_images: Some(self.airgap_images()),
            }),
            sector_size: 512,
            cache: self.path("cache"),
            refresh: false,
            source_date: None,
            mke2fs,
        }
    }

    /// The stand-in. Made once for a site, so that its bytes and its digest stay.
    fn vendor_image(&self, vendor: Vendor) -> PathBuf {
        let (name, table, start) = match vendor {
            Vendor::Armbian => (
                "armbian.img.xz",
                "label: gpt\nfirst-lba: 2048\nstart=32768\n",
                16 * MIB,
            ),
            Vendor::RaspberryPiOs => (
                "raspios.img.gz",
                "label: dos\nstart=8192, size=16384, type=c\nstart=32768, type=83\n",
                16 * MIB,
            ),
        };
        let packed = self.path(name);
        if packed.exists() {
            return packed;
        }
        let root = self.path("vendor-root");
        for (path, text) in vendor.files() {
            self.write(&format!("vendor-root/{path}"), text.as_bytes());
        }
        if vendor == Vendor::RaspberryPiOs {
            let folder = "vendor-root/usr/lib/linux-image-6.12.47-v8";
            for (name, source) in DEVICE_TREES {
                self.write(&format!("{folder}/{name}"), &compiled(source));
            }
        }
        self.write(
            "vendor-root/var/lib/dpkg/status",
            vendor.dpkg_status().as_bytes(),
        );
        symlink("usr/lib", root.join("lib")).expect("a link");
        symlink("../usr/lib/os-release", root.join("etc/os-release")).expect("a link");
        let wants = root.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).expect("a folder");
        let enabled = match vendor {
            Vendor::Armbian => ["armbian-firstrun.service", "NetworkManager.service"],
            Vendor::RaspberryPiOs => ["rpi-eeprom-update.service", "NetworkManager.service"],
        };
        for unit in enabled {
            symlink(format!("/usr/lib/systemd/system/{unit}"), wants.join(unit)).expect("a link");
        }
        let disk = self.path("vendor.img");
        File::create(&disk)
            .and_then(|file| file.set_len(48 * MIB))
            .expect("a sparse file");
        let mut sfdisk = Command::new("sfdisk")
            .arg("--quiet")
            .arg(&disk)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sfdisk: run `make setup`");
        sfdisk
            .stdin
            .take()
            .expect("a pipe")
            .write_all(table.as_bytes())
            .expect("the table");
        assert!(sfdisk.wait().expect("sfdisk").success());
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&root)
            .args(["-E", &format!("offset={start}")])
            .arg(&disk)
            .arg("28M"));
        let (program, arguments) = match vendor {
            Vendor::Armbian => ("xz", "-0"),
            Vendor::RaspberryPiOs => ("gzip", "-1"),
        };
        let output = Command::new(program)
            .args([arguments, "--stdout"])
            .arg(&disk)
            .output()
            .expect("the packer: run `make setup`");
        assert!(output.status.success());
        fs::write(&packed, output.stdout).expect("the packed image");
        packed
    }

    /// The root file system of a golden image.
    pub fn root(&self, disk: &str) -> Ext4 {
        let disk = File::open(self.path(disk)).expect("the image");
        Ext4::load(Box::new(Part { disk })).expect("an ext4 file system")
    }

    /// A file on the boot partition of a golden image; a gzipped one is unpacked.
    pub fn on_boot_partition(&self, disk: &str, name: &str) -> String {
        let image = format!("{}@@{BOOT}", self.path(disk).display());
        let output = Command::new("mtype")
            .args(["-i", &image, &format!("::/{name}")])
            .output()
            .expect("mtools: run `make setup`");
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut text = String::new();
        if output.stdout.starts_with(&[0x1f, 0x8b]) {
            std::io::Read::read_to_string(
                &mut flate2::read::GzDecoder::new(&*output.stdout),
                &mut text,
            )
            .expect("gzip");
            return text;
        }
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

struct Part {
    disk: File,
}

impl Ext4Read for Part {
    fn read(
        &mut self,
        start: u64,
        bytes: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.disk.read_exact_at(bytes, ROOT + start)?)
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program: run `make setup`");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
