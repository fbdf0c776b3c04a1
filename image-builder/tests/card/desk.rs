//! What the tests of cards work with: files that `gild card build` takes, and mtools to look at the result.

use std::fs;
use std::path::Path;

use crate::common::{self, Bench, Ran};
use gild_boards_testkit::{FitSettings, MAINLINE, ROCK5B, Workshop, eeprom_2712, elf};

pub const FAT: &str = "card.img@@16M";

/// A stand-in of the agent that says this version.
pub fn agent_of(version: &str) -> Vec<u8> {
    [
        &elf()[..],
        format!("gild-agent-version={version}\n").as_bytes(),
    ]
    .concat()
}

/// A folder with everything that `gild card build` takes.
pub struct Desk {
    pub bench: Bench,
    pub workshop: Workshop,
}

impl Desk {
    pub fn new() -> Self {
        let bench = Bench::new();
        let kernel = bench.path("kernel");
        fs::create_dir_all(kernel.join("modules")).expect("a folder");
        fs::write(kernel.join("version"), "7.0.0-test\n").expect("the version");
        let mut image = vec![0; 100_000];
        image[56..60].copy_from_slice(b"ARM\x64");
        // Its size, and that it may lie anywhere in memory, as every kernel of the last years says.
        image[16..24].copy_from_slice(&100_000_u64.to_le_bytes());
        image[24] = 0x0a;
        fs::write(kernel.join("vmlinuz"), image).expect("the kernel");
        // All built in.
        let modules = gild_boards::all().iter().flat_map(|board| &board.modules);
        let builtin = modules.fold(String::new(), |list, module| {
            list + "kernel/" + &module.name + ".ko\n"
        });
        for (table, text) in [("dep", ""), ("builtin", builtin.as_str()), ("softdep", "")] {
            fs::write(kernel.join(format!("modules/modules.{table}")), text).expect("a table");
        }
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernel/dtb");
        for path in gild_boards::all().iter().flat_map(|board| &board.dtb) {
            let copy = kernel.join("dtb").join(path);
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
            fs::copy(real.join(path), copy)
                .expect("a device tree of target/kernel (`make setup` gets it)");
        }
        fs::write(bench.path("agent"), elf()).expect("the agent");
        fs::write(
            bench.path("gild.toml"),
            "server = \"nfs://10.0.2.2/gild\"\n",
        )
        .expect("the configuration");
        let desk = Self {
            bench,
            workshop: Workshop::new(),
        };
        desk.put("pieeprom.bin", versioned(eeprom_2712()));
        desk.put("recovery.bin", common::noise(100_000));
        desk.put("spi.bin", desk.workshop.rock5b_spi(MAINLINE));
        let fit = desk.fit(ROCK5B);
        desk.put("u-boot.bin", desk.workshop.card(&fit));
        desk
    }

    /// A FIT with U-Boot for this board.
    pub fn fit(&self, compatible: &str) -> Vec<u8> {
        self.workshop.fit(
            &Workshop::u_boot(MAINLINE),
            compatible,
            &FitSettings::default(),
        )
    }

    /// A FIT whose U-Boot lacks what the trial of an image needs.
    pub fn fit_without_fatrm(&self) -> Vec<u8> {
        let u_boot = Workshop::u_boot_without_fatrm(MAINLINE);
        self.workshop.fit(&u_boot, ROCK5B, &FitSettings::default())
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.bench.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub fn build(&self, more: &[&str]) -> Ran {
        let mut args = vec![
            "card",
            "build",
            "--config",
            "gild.toml",
            "--out",
            "card.img",
        ];
        args.extend(["--kernel", "kernel", "--agent", "agent"]);
        args.extend(more);
        self.bench.gild(args)
    }

    /// A card with all that can be on it.
    pub fn full() -> Self {
        let desk = Self::new();
        let mut args = vec!["--public-key", "signing.pub"];
        args.extend([
            "--rpi-eeprom",
            "pieeprom.bin",
            "--rpi-recovery",
            "recovery.bin",
        ]);
        args.extend(["--rock5b-spi", "spi.bin", "--rock5b-u-boot", "u-boot.bin"]);
        desk.build(&args).succeeds();
        desk
    }

    /// A card with nothing that can be left out.
    pub fn least() -> Self {
        let desk = Self::new();
        desk.build(&["--public-key", "signing.pub"]).succeeds();
        desk
    }

    pub fn inspect(&self) -> Ran {
        self.bench.gild(["card", "inspect", "card.img", "--json"])
    }

    /// A file of the card, as mtools read it.
    pub fn read(&self, path: &str) -> Vec<u8> {
        self.bench
            .tool(
                "mcopy",
                &["-n", "-o", "-i", FAT, &format!("::{path}"), "out"],
            )
            .succeeds();
        self.bench.bytes("out")
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).expect("a text")
    }

    /// Replaces a file of the card, as an operator or a node would.
    pub fn replace(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.put("in", bytes);
        self.bench
            .tool("mcopy", &["-o", "-i", FAT, "in", &format!("::{path}")])
            .succeeds();
    }
}

/// An EEPROM image that says when it was built, as every real one does.
pub fn versioned(mut image: Vec<u8>) -> Vec<u8> {
    let version = b"BUILD_TIMESTAMP=1779807685\0";
    image[0x1_2000..0x1_2000 + version.len()].copy_from_slice(version);
    image
}
