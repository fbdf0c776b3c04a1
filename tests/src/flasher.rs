//! What a real card has in addition to its configuration: the kernel, and the initramfs with the agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::cargo::board_program;
use crate::kernel::Kernel;
use crate::virtual_board::Boot;
use crate::workspace;

/// Drivers of the hardware that QEMU has instead of the board's own.
pub const MODULES: [&str; 5] = [
    "virtio_net",
    "sdhci_pci",
    "virtio_rng",
    "i6300esb",
    "leds_gpio",
];

/// The kernel and the flasher's initramfs. They are built again if the agent or the kernel has changed.
pub fn boot(arguments: &str) -> Result<Boot> {
    let kernel = Kernel::fetched()?;
    let agent = board_program("gild-agent")?;
    let mut inputs = vec![agent.clone()];
    for entry in fs::read_dir(workspace::root().join("initramfs/cpio/src"))? {
        inputs.push(entry?.path());
    }
    inputs.sort();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let key = workspace::key(&inputs, &[&kernel.version()?, &MODULES.join(" ")])?;
    let place = workspace::cached("flasher", &key, |directory| {
        let boards: Vec<_> = gild_boards::all().iter().collect();
        let extra_modules = MODULES.map(str::to_owned);
        let contents = gild_initramfs::Contents {
            kernel: kernel.directory(),
            agent: &agent,
            boards: &boards,
            extra_modules: &extra_modules,
        };
        let initramfs = gild_initramfs::build(&contents)?;
        ensure!(
            initramfs.agent_version.as_deref() == Some(env!("CARGO_PKG_VERSION")),
            "the agent's program does not say its version, so no card would: {:?}",
            initramfs.agent_version
        );
        initramfs.write(&directory.join("initramfs"))?;
        Ok(())
    })?;
    Ok(Boot {
        kernel: kernel.image(),
        initramfs: place.join("initramfs"),
        command_line: format!("console=ttyAMA0 quiet panic=-1 {arguments}")
            .trim_end()
            .to_owned(),
    })
}
