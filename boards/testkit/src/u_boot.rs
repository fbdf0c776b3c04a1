//! U-Boot's files, made by U-Boot's own tools.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{bytes, pattern, run};

/// A folder in which stock tools make U-Boot's files.
pub struct Workshop {
    folder: TempDir,
}

/// The order in mainline U-Boot for the Rock 5B.
pub const MAINLINE: &str = "mmc1 mmc0 nvme scsi usb pxe dhcp spi";

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

impl Workshop {
    /// A folder with a stand-in for each program that comes before U-Boot.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("tpl"), pattern(5000)).expect("tpl");
        let spl = bytes(9000, |i| i * 5 + 1);
        fs::write(folder.path().join("spl"), spl).expect("spl");
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        path
    }

    /// Reads one.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs a tool in it.
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

    /// Where U-Boot would be: some bytes, its built-in environment, and a command of its shell with the help text.
    pub fn u_boot(boot_targets: &str) -> Vec<u8> {
        let environment = format!(
            "\0bootcmd=bootflow scan -lb\0bootdelay=2\0boot_targets={boot_targets}\0fdtfile=rockchip/rk3588-rock-5b.dtb\0\0"
        );
        let command = "fatrm\0delete a file\0<interface> [<dev[:part]>] <filename>\n    - delete a file from 'dev' on 'interface'\0";
        let texts = [environment.as_bytes(), command.as_bytes()].concat();
        [pattern(3000), texts, pattern(500)].concat()
    }

    /// The same without the command.
    pub fn u_boot_without_fatrm(boot_targets: &str) -> Vec<u8> {
        let mut u_boot = Self::u_boot(boot_targets);
        let text = b"\0fatrm\0";
        let at = u_boot.windows(text.len()).position(|bytes| bytes == text);
        u_boot[at.expect("the command") + 1..][..5].copy_from_slice(b"fatls");
        u_boot
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

/// The `compatible` of a Rock 5B, as in a device tree's source.
pub const ROCK5B: &str = r#""radxa,rock-5b", "rockchip,rk3588""#;

/// How a FIT is made.
#[derive(Clone)]
pub struct FitSettings {
    /// Of the hashes.
    pub algorithm: &'static str,
    /// Of U-Boot itself, by mkimage's name for it.
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
