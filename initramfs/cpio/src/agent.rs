//! Whether a file is a program that can be PID 1 without other files.

use elf::abi::{EM_AARCH64, ET_DYN, ET_EXEC, PT_INTERP};
use elf::endian::LittleEndian;
use elf::file::Class;

/// Why a file cannot be the agent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheAgent {
    /// Not an ELF file of the right kind.
    #[error("it is not a 64-bit little-endian ELF program ({0})")]
    NotElf(String),
    /// Built for another processor.
    #[error("it is built for ELF machine {0}, not for aarch64 (183)")]
    Machine(u16),
    /// An object file, a core dump, ...
    #[error("it is not a program (ELF type {0})")]
    NotExecutable(u16),
    /// Linked dynamically.
    #[error("it is linked dynamically, and the initramfs has no dynamic linker")]
    Dynamic,
}

/// Checks that `file` is a static aarch64 program.
pub fn check(file: &[u8]) -> Result<(), NotTheAgent> {
    let not_elf = |error: elf::ParseError| NotTheAgent::NotElf(error.to_string());
    let elf = elf::ElfBytes::<LittleEndian>::minimal_parse(file).map_err(not_elf)?;
    if elf.ehdr.class != Class::ELF64 {
        return Err(NotTheAgent::NotElf("it is 32-bit".to_owned()));
    }
    if elf.ehdr.e_machine != EM_AARCH64 {
        return Err(NotTheAgent::Machine(elf.ehdr.e_machine));
    }
    if !matches!(elf.ehdr.e_type, ET_EXEC | ET_DYN) {
        return Err(NotTheAgent::NotExecutable(elf.ehdr.e_type));
    }
    let segments = elf
        .segments()
        .ok_or_else(|| NotTheAgent::NotElf("it has no segments".to_owned()))?;
    if segments.iter().any(|segment| segment.p_type == PT_INTERP) {
        return Err(NotTheAgent::Dynamic);
    }
    Ok(())
}
