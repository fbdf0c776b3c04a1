//! Stand-ins for the vendors' files, made from the documented formats. No vendor's program is in them: none may be
//! handed on with this project.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Bytes that do not repeat soon.
pub fn pattern(length: usize) -> Vec<u8> {
    bytes(length, |i| i * 7 + 3)
}

fn bytes(length: usize, at: impl Fn(usize) -> usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(at(i) % 256).expect("a byte"))
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Configuration of the EEPROM images that follow.
pub const CONFIG: &str = "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf461\n";

pub const BOOTCODE: u32 = 0x55aa_f00f;
pub const FILE: u32 = 0x55aa_f11f;
pub const MODULE: u32 = 0x55aa_f33f;
pub const LZ4_MODULE: u32 = 0x55aa_f44f;
pub const PADDING: u32 = 0x55aa_feef;

/// Writes a section's header, of which the length may be a lie, and its content.
pub fn section(image: &mut [u8], offset: usize, magic: u32, length: usize, content: &[u8]) {
    let length = u32::try_from(length).expect("a length");
    image[offset..offset + 4].copy_from_slice(&magic.to_be_bytes());
    image[offset + 4..offset + 8].copy_from_slice(&length.to_be_bytes());
    image[offset + 8..offset + 8 + content.len()].copy_from_slice(content);
}

pub fn file(image: &mut [u8], offset: usize, name: &str, content: &[u8]) {
    let mut section_content = [0; 16].to_vec();
    section_content[..name.len()].copy_from_slice(name.as_bytes());
    section_content.extend(content);
    section(image, offset, FILE, section_content.len(), &section_content);
}

/// For a Raspberry Pi 5, as published before May 2026: the configuration is the last section.
pub fn eeprom_2712() -> Vec<u8> {
    let mut image = vec![0xff; 2 << 20];
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    section(&mut image, 0x1000, MODULE, 0x8_eff8, &pattern(0x8_eff8));
    file(&mut image, 0x9_0000, "pubkey.bin", &[0; 264]);
    section(&mut image, 0x9_0120, PADDING, 0x6ed8, &[]);
    file(&mut image, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());
    image
}

/// For a Raspberry Pi 4.
pub fn eeprom_2711() -> Vec<u8> {
    let mut image = vec![0xff; 512 << 10];
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    section(&mut image, 0x1000, MODULE, 0x1_eff8, &pattern(0x1_eff8));
    file(&mut image, 0x2_0000, "pubkey.bin", &[0; 264]);
    section(&mut image, 0x2_0120, PADDING, 0xed8, &[]);
    file(&mut image, 0x2_1000, "bootconf.txt", CONFIG.as_bytes());
    image
}

/// For a Raspberry Pi 5, with the firmware in two halves.
pub fn eeprom_ab() -> Vec<u8> {
    let mut image = vec![0xff; 2 << 20];
    let unset = *b"\0\0\0\0\xff\xff\xff\xff";
    section(&mut image, 0, BOOTCODE, 0xff8, &pattern(0xff8));
    file(&mut image, 0x1000, "updatetime", &unset);
    section(&mut image, 0x1020, PADDING, 0xefd8, &[]);
    file(&mut image, 0x1_0000, "bootsys", &pattern(0xfe8));
    section(
        &mut image,
        0x1_1000,
        LZ4_MODULE,
        0x7_eff8,
        &pattern(0x7_eff8),
    );
    file(&mut image, 0x9_0000, "updatetime", &unset);
    section(&mut image, 0x9_0020, PADDING, 0x6fd8, &[]);
    file(&mut image, 0x9_7000, "bootconf.txt", CONFIG.as_bytes());
    section(&mut image, 0x9_7040, PADDING, 0x6_ffb8, &[]);
    section(&mut image, 0x10_7000, PADDING, 0xf_6ff8, &[]);
    image
}

/// Runs a tool of the field in this folder. It must be installed: `toolchain/setup` does that.
pub fn run<S: AsRef<OsStr>>(
    folder: &Path,
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("SOURCE_DATE_EPOCH", "1750000000")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} (make setup installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}{said}");
    said
}

/// A folder in which stock tools make U-Boot's files.
pub struct Workshop {
    folder: TempDir,
}

/// The order in mainline U-Boot for the Rock 5B.
pub const MAINLINE: &str = "mmc1 mmc0 nvme scsi usb pxe dhcp spi";

impl Workshop {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("tpl"), pattern(5000)).expect("tpl");
        let spl = bytes(9000, |i| i * 5 + 1);
        fs::write(folder.path().join("spl"), spl).expect("spl");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn run<const N: usize>(&self, program: &str, args: [&str; N]) -> String {
        run(self.path(), program, args)
    }

    /// Debian 12's mkimage does not know the RK3588 by name. The RK3568 has the same ID block, only less room.
    pub fn id_block(&self) -> Vec<u8> {
        self.run(
            "mkimage",
            [
                "-n",
                "rk3568",
                "-T",
                "rksd",
                "-d",
                "tpl:spl",
                "idbloader.img",
            ],
        );
        self.read("idbloader.img")
    }

    /// Where U-Boot would be: some bytes, and its built-in environment.
    pub fn u_boot(boot_targets: &str) -> Vec<u8> {
        let environment = format!(
            "\0bootcmd=bootflow scan -lb\0bootdelay=2\0boot_targets={boot_targets}\0fdtfile=rockchip/rk3588-rock-5b.dtb\0\0"
        );
        [pattern(3000), environment.into_bytes(), pattern(500)].concat()
    }

    /// A FIT as U-Boot's build makes it, with this U-Boot, for the board with this `compatible`.
    pub fn fit(&self, u_boot: &[u8], compatible: &str, settings: &FitSettings) -> Vec<u8> {
        let dts = format!("/dts-v1/; / {{ compatible = {compatible}; model = \"A board\"; }};");
        self.write("board.dts", dts);
        self.run("dtc", ["-q", "-O", "dtb", "-o", "board.dtb", "board.dts"]);
        self.write("u-boot.bin", u_boot);
        let FitSettings {
            algorithm,
            compression,
            extra,
            ..
        } = settings;
        let hash = format!("hash {{ algo = \"{algorithm}\"; }};");
        self.write(
            "u-boot.its",
            format!(
                r#"/dts-v1/; / {{
                    description = "FIT image for U-Boot with bl31 (TF-A)"; #address-cells = <1>;
                    images {{
                        u-boot {{
                            description = "U-Boot"; type = "standalone"; os = "u-boot"; arch = "arm64";
                            compression = "{compression}"; load = <0xa00000>; entry = <0xa00000>;
                            data = /incbin/("u-boot.bin"); {hash} {extra}
                        }};
                        atf-1 {{
                            description = "ARM Trusted Firmware"; type = "firmware"; os = "arm-trusted-firmware";
                            arch = "arm64"; compression = "none"; load = <0x40000>; entry = <0x40000>;
                            data = /incbin/("spl"); {hash}
                        }};
                        fdt-1 {{
                            description = "fdt-rk3588-rock-5b"; type = "flat_dt"; compression = "none";
                            data = /incbin/("board.dtb"); {hash}
                        }};
                    }};
                    configurations {{
                        default = "config-1";
                        config-1 {{
                            description = "rk3588-rock-5b.dtb"; firmware = "atf-1"; loadables = "u-boot"; fdt = "fdt-1";
                        }};
                    }};
                }};"#
            ),
        );
        let mut args = vec!["-f", "u-boot.its"];
        args.extend(&settings.placement);
        args.push("u-boot.itb");
        run(self.path(), "mkimage", args);
        self.read("u-boot.itb")
    }

    /// `u-boot-rockchip-spi.bin` with such a FIT.
    pub fn spi(&self, fit: &[u8]) -> Vec<u8> {
        let mut image = vec![0xff; 0x8000];
        image.extend(self.id_block());
        image.resize(0x6_0000, 0xff);
        [&image, fit].concat()
    }

    /// `u-boot-rockchip.bin` with such a FIT.
    pub fn card(&self, fit: &[u8]) -> Vec<u8> {
        let mut image = self.id_block();
        image.resize(0x7f_8000, 0);
        [&image, fit].concat()
    }

    /// `u-boot-rockchip-spi.bin` for the Rock 5B, with this order.
    pub fn rock5b_spi(&self, boot_targets: &str) -> Vec<u8> {
        self.spi(&self.fit(&Self::u_boot(boot_targets), ROCK5B, &FitSettings::default()))
    }
}

pub const ROCK5B: &str = r#""radxa,rock-5b", "rockchip,rk3588""#;

/// How a FIT is made.
#[derive(Clone)]
pub struct FitSettings {
    pub algorithm: &'static str,
    pub compression: &'static str,
    /// Put into U-Boot's node.
    pub extra: &'static str,
    /// Where mkimage puts the data: behind the device tree, as U-Boot's build does, or elsewhere.
    pub placement: Vec<&'static str>,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            algorithm: "sha256",
            compression: "none",
            extra: "",
            placement: vec!["-E"],
        }
    }
}
