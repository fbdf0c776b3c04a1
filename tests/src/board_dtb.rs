//! The device tree of a virtual board: QEMU's own for `virt`, with the identity of the board laid over it.
//!
//! In the guest these parts look like the board's: compatible, model, serial number, LED and, for `rpi5`, the EEPROM configuration. All
//! other hardware is QEMU's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{command, run};

/// The machine options that shape the device tree: the same for the dump and for every run.
pub const MACHINE: [&str; 8] = [
    "-cpu",
    "cortex-a76",
    "-smp",
    "1",
    "-m",
    "512M",
    "-nodefaults",
    "-nographic",
];

/// Where the EEPROM configuration of `rpi5` lies in guest memory: near the end of the 512 MiB, which begin at 1 GiB.
pub const BOOTLOADER_CONFIG_ADDRESS: u64 = 0x5f00_0000;

/// A board the harness can stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Raspberry Pi 5.
    Rpi5,
    /// Radxa Rock 5B.
    Rock5b,
    /// A board gild has never heard of.
    Unknown,
}

impl Product {
    /// The supported ones.
    pub const SUPPORTED: [Self; 2] = [Self::Rpi5, Self::Rock5b];

    /// gild's name of the board.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpi5 => "rpi5",
            Self::Rock5b => "rock5b",
            Self::Unknown => "unknown",
        }
    }

    /// The supported one of this name.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::SUPPORTED
            .into_iter()
            .find(|product| product.name() == name);
        found.with_context(|| {
            let known = Self::SUPPORTED.map(Self::name).join(", ");
            format!("no virtual board `{name}`: there are {known}")
        })
    }

    /// The product whose golden image this board is offered. An unknown board is offered another board's.
    #[must_use]
    pub fn image(self) -> Self {
        if self == Self::Unknown {
            Self::Rpi5
        } else {
            self
        }
    }

    /// `model` in the device tree.
    #[must_use]
    pub fn model(self) -> &'static str {
        match self {
            Self::Rpi5 => "Raspberry Pi 5 Model B Rev 1.0",
            Self::Rock5b => "Radxa ROCK 5B",
            Self::Unknown => "Acme Toaster 3000",
        }
    }

    /// The serial number in the device tree.
    #[must_use]
    pub fn serial_number(self) -> &'static str {
        match self {
            Self::Rpi5 => "a1b2c3d4e5f60718",
            Self::Rock5b => "5b00c0ffee123456",
            Self::Unknown => "0000000000000001",
        }
    }

    /// A MAC address with the maker's prefix, if the maker has one.
    #[must_use]
    pub fn mac(self) -> &'static str {
        match self {
            Self::Rpi5 => "d8:3a:dd:12:34:56",
            Self::Rock5b => "00:e0:4c:5b:5b:5b",
            Self::Unknown => "52:54:00:00:00:01",
        }
    }

    /// The MAC address as gild writes it in file names.
    #[must_use]
    pub fn mac12(self) -> String {
        self.mac().replace(':', "")
    }

    /// The cores of the real board.
    #[must_use]
    pub fn cores(self) -> u32 {
        match self {
            Self::Rpi5 | Self::Unknown => 4,
            Self::Rock5b => 8,
        }
    }

    /// Is it started by the Raspberry Pi's bootloader, out of an EEPROM?
    #[must_use]
    pub fn has_eeprom(self) -> bool {
        match self {
            Self::Rpi5 => true,
            Self::Rock5b | Self::Unknown => false,
        }
    }

    /// Does the pin's low level light the LED?
    #[must_use]
    pub fn led_active_low(self) -> bool {
        match self {
            Self::Rpi5 => true,
            Self::Rock5b | Self::Unknown => false,
        }
    }

    /// `compatible` in the device tree, as `dtc` reads it.
    fn compatible(self) -> &'static str {
        match self {
            Self::Rpi5 => r#""raspberrypi,5-model-b", "brcm,bcm2712""#,
            Self::Rock5b => r#""radxa,rock-5b", "rockchip,rk3588""#,
            Self::Unknown => r#""acme,toaster""#,
        }
    }

    fn overlay(self, firmware: &str) -> String {
        // Line 5 of the PL061 is free (3 is the power key). Mainline names the Rock's LED by function and colour;
        // Raspberry Pi's own device tree names the Pi's by label.
        let led = match self {
            Self::Rpi5 => r#"label = "ACT"; gpios = <&{/pl061@9030000} 5 1>;"#,
            Self::Rock5b | Self::Unknown => {
                r#"function = "status"; color = <3>; gpios = <&{/pl061@9030000} 5 0>;"#
            }
        };
        let eeprom = if self.has_eeprom() {
            format!(
                r#"reserved-memory {{
                    #address-cells = <2>; #size-cells = <2>; ranges;
                    nvram@{BOOTLOADER_CONFIG_ADDRESS:x} {{
                        compatible = "raspberrypi,bootloader-config", "nvmem-rmem";
                        reg = <0 {BOOTLOADER_CONFIG_ADDRESS:#x} 0 0x1000>;
                        no-map; #address-cells = <1>; #size-cells = <1>;
                    }};
                }};"#
            )
        } else {
            String::new()
        };
        // The dump's seeds are removed. Otherwise every run would have the same random numbers.
        format!(
            r#"/ {{
                compatible = {};
                model = "{model}";
                serial-number = "{serial}";
                chosen {{ /delete-property/ rng-seed; /delete-property/ kaslr-seed; }};
                leds {{ compatible = "gpio-leds"; led-0 {{ {led} default-state = "off"; }}; }};
                {eeprom}
                {firmware}
            }};"#,
            self.compatible(),
            model = self.model(),
            serial = self.serial_number(),
        )
    }
}

/// Writes the device tree of `product` to `dtb`, for QEMU with this many cores, and with what the board's firmware adds.
pub fn write(product: Product, firmware: &str, cores: u32, qemu: &str, dtb: &Path) -> Result<()> {
    let dump = dtb.with_extension("virt.dtb");
    run(command(qemu)
        .arg("-M")
        .arg(format!("virt,acpi=off,dumpdtb={}", dump.display()))
        .args(MACHINE)
        .args(["-smp", &cores.to_string()]))?;
    let mut source = run(command("dtc")
        .args(["-q", "-I", "dtb", "-O", "dts"])
        .arg(&dump))?;
    source.extend_from_slice(product.overlay(firmware).as_bytes());
    let dts = dtb.with_extension("dts");
    fs::write(&dts, source).with_context(|| format!("writing {}", dts.display()))?;
    run(command("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb", "-o"])
        .arg(dtb)
        .arg(&dts))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_supported_board_has_its_virtual_one() {
        let virtual_ones =
            Product::SUPPORTED.map(|product| (product.name(), product.compatible().to_owned()));
        let boards = gild_boards::all().iter().map(|board| {
            let entries = board.compatible.iter();
            let quoted: Vec<_> = entries.map(|entry| format!("\"{entry}\"")).collect();
            (board.name.as_str(), quoted.join(", "))
        });
        assert_eq!(boards.collect::<Vec<_>>(), virtual_ones);
    }
}
