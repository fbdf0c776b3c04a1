//! The ioctls of block devices, NVMe, flash and the watchdog: the one place of the agent's own code with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// linux/fs.h: the "type" of all block device ioctls.
const BLOCK: u8 = 0x12;
/// mtd/mtd-abi.h: the "type" of all flash ioctls.
const MTD: u8 = b'M';
/// `linux/nvme_ioctl.h`: the "type" of all NVMe ioctls.
const NVME: u8 = b'N';
/// linux/watchdog.h: the "type" of all watchdog ioctls.
const WATCHDOG: u8 = b'W';

/// `struct mtd_info_user`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MtdInfo {
    /// `MTD_NORFLASH` and others.
    pub kind: u8,
    flags: u32,
    /// Bytes of the flash.
    pub size: u32,
    /// Bytes of an erase block.
    pub erase_size: u32,
    write_size: u32,
    oob_size: u32,
    padding: u64,
}

/// `struct erase_info_user`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct MtdRange {
    start: u32,
    length: u32,
}

/// `struct nvme_admin_cmd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words_2_and_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_length: u32,
    length: u32,
    words_10_to_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<NvmeCommand>() == 72);

mod raw {
    use super::{BLOCK, MTD, MtdInfo, MtdRange, NVME, NvmeCommand, WATCHDOG};

    nix::ioctl_readwrite!(nvme_admin, NVME, 0x41, NvmeCommand);

    nix::ioctl_read!(mtd_info, MTD, 1, MtdInfo);
    nix::ioctl_write_ptr!(mtd_erase, MTD, 2, MtdRange);
    nix::ioctl_write_ptr!(mtd_unlock, MTD, 6, MtdRange);

    nix::ioctl_none!(reread_partitions, BLOCK, 95);
    nix::ioctl_none!(flush_buffers, BLOCK, 97);
    nix::ioctl_read_bad!(
        sector_size,
        nix::request_code_none!(BLOCK, 104),
        nix::libc::c_int
    );
    nix::ioctl_read!(size, BLOCK, 114, u64);
    nix::ioctl_write_ptr_bad!(discard, nix::request_code_none!(BLOCK, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(zero_out, nix::request_code_none!(BLOCK, 127), [u64; 2]);

    nix::ioctl_readwrite!(watchdog_timeout, WATCHDOG, 6, nix::libc::c_int);
}

/// `BLKGETSIZE64`: size in bytes.
pub fn size(device: &File) -> io::Result<u64> {
    let mut size = 0;
    // SAFETY: the kernel writes one u64 through the pointer, which is valid for the call.
    unsafe { raw::size(device.as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// `BLKSSZGET`: logical sector size in bytes.
pub fn sector_size(device: &File) -> io::Result<u32> {
    let mut size = 0;
    // SAFETY: the kernel writes one int through the pointer, which is valid for the call.
    unsafe { raw::sector_size(device.as_raw_fd(), &raw mut size) }?;
    u32::try_from(size).map_err(io::Error::other)
}

/// `BLKDISCARD`: the device may forget the range.
pub fn discard(device: &File, offset: u64, length: u64) -> io::Result<()> {
    // SAFETY: the kernel reads two u64 through the pointer, which is valid for the call.
    unsafe { raw::discard(device.as_raw_fd(), &raw const *&[offset, length]) }?;
    Ok(())
}

/// `BLKZEROOUT`: zeros for certain, by the device's own command or written by the kernel.
pub fn zero_out(device: &File, offset: u64, length: u64) -> io::Result<()> {
    // SAFETY: the kernel reads two u64 through the pointer, which is valid for the call.
    unsafe { raw::zero_out(device.as_raw_fd(), &raw const *&[offset, length]) }?;
    Ok(())
}

/// `BLKRRPART`: reads the partition table again.
pub fn reread_partitions(device: &File) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::reread_partitions(device.as_raw_fd()) }?;
    Ok(())
}

/// `BLKFLSBUF`: drops what the page cache holds of the device.
pub fn flush_buffers(device: &File) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::flush_buffers(device.as_raw_fd()) }?;
    Ok(())
}

/// `NVME_IOCTL_ADMIN_CMD`: Get Log Page, of the whole controller. The log is given by its identifier, and read from its start.
pub fn nvme_log(device: &File, identifier: u8, log: &mut [u8; 512]) -> io::Result<()> {
    const GET_LOG_PAGE: u8 = 0x02;
    const WHOLE_CONTROLLER: u32 = u32::MAX;
    let last_word = 512 / 4 - 1;
    let mut command = NvmeCommand {
        opcode: GET_LOG_PAGE,
        namespace: WHOLE_CONTROLLER,
        address: log.as_mut_ptr() as u64,
        length: 512,
        words_10_to_15: [u32::from(identifier) | last_word << 16, 0, 0, 0, 0, 0],
        ..NvmeCommand::default()
    };
    // SAFETY: the kernel reads and writes one `nvme_admin_cmd` through the pointer, and writes at most `length` bytes, as many as
    // `log` has, at `address`. Both are valid for the call, which returns when the command has ended.
    match unsafe { raw::nvme_admin(device.as_raw_fd(), &raw mut command) }? {
        0 => Ok(()),
        status => Err(io::Error::other(format!("NVMe status {status:#x}"))),
    }
}

/// `MEMGETINFO`: what kind of flash it is, and its sizes.
pub fn mtd_info(device: &File) -> io::Result<MtdInfo> {
    let mut info = MtdInfo::default();
    // SAFETY: the kernel writes one `mtd_info_user` through the pointer, which is valid for the call.
    unsafe { raw::mtd_info(device.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// `MEMERASE`: erases whole blocks.
pub fn mtd_erase(device: &File, start: u32, length: u32) -> io::Result<()> {
    let range = MtdRange { start, length };
    // SAFETY: the kernel reads one `erase_info_user` through the pointer, which is valid for the call.
    unsafe { raw::mtd_erase(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// `MEMUNLOCK`: lets blocks be erased and written that were protected.
pub fn mtd_unlock(device: &File, start: u32, length: u32) -> io::Result<()> {
    let range = MtdRange { start, length };
    // SAFETY: the kernel reads one `erase_info_user` through the pointer, which is valid for the call.
    unsafe { raw::mtd_unlock(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// `WDIOC_SETTIMEOUT`: gives the time-out in seconds that the driver took.
pub fn watchdog_timeout(device: &File, seconds: u32) -> io::Result<u32> {
    let mut seconds = nix::libc::c_int::try_from(seconds).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes one int through the pointer, which is valid for the call.
    unsafe { raw::watchdog_timeout(device.as_raw_fd(), &raw mut seconds) }?;
    u32::try_from(seconds).map_err(io::Error::other)
}
