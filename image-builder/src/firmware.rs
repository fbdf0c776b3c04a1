//! `gild firmware`: commands for the boards' firmware files.

mod facts;
mod file;
mod inspect;
mod kind;
mod rk3588;
mod rpi_eeprom;
mod uboot_env;

use clap::Subcommand;

/// Check the boards' firmware files, and change their settings
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a firmware file is, whether it is whole, and for which board
    Inspect(inspect::Args),
    /// Change EEPROM images of the Raspberry Pi
    #[command(subcommand)]
    RpiEeprom(rpi_eeprom::Command),
    /// Change builds of U-Boot for the RK3588
    #[command(subcommand)]
    Rk3588(rk3588::Command),
    /// Read and change the environment of a U-Boot
    #[command(subcommand)]
    UbootEnv(uboot_env::Command),
}

/// Runs `gild firmware`.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect(args) => inspect::run(&args),
        Command::RpiEeprom(rpi_eeprom::Command::Set(args)) => rpi_eeprom::set(&args),
        Command::Rk3588(rk3588::Command::SetBootTargets(args)) => rk3588::set_boot_targets(&args),
        Command::UbootEnv(uboot_env::Command::Get(args)) => uboot_env::get(&args),
        Command::UbootEnv(uboot_env::Command::Set(args)) => uboot_env::set(&args),
    }
}
