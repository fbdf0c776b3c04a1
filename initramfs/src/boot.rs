//! What each board's firmware reads on the card to start the agent.

use gild_boards::uboot_script::{Script, ScriptError};
use gild_boards::{Board, Relative};
use gild_card_format::{GATE, ON_TRIAL, TRIAL};

/// The kernel for the Raspberry Pi 5.
pub const KERNEL: &str = "vmlinuz.gz";
/// The same kernel, not compressed: the `booti` of the Rock 5B's vendor's U-Boot takes no other.
pub const PLAIN_KERNEL: &str = "rockchip/Image";
/// The initramfs with the agent in it, for both boards.
pub const INITRAMFS: &str = "initrd.img";
/// The Raspberry Pi's configuration. Its presence makes the card one to start from.
pub const CONFIG_TXT: &str = "config.txt";
/// The Raspberry Pi's kernel arguments.
pub const CMDLINE_TXT: &str = "cmdline.txt";
/// The Rock 5B's boot script.
pub const BOOT_SCR: &str = "boot.scr";
/// Where U-Boot would look before it looks for the script: the gate in it would be passed by.
pub const NEVER_ON_THE_CARD: &str = "extlinux/";
/// U-Boot's command that removes a file from a FAT. Without it no start of an image on trial can be counted.
pub const FATRM: &str = "fatrm";
/// What a golden image calls itself, in its first partition.
pub const IMAGE: &str = "gild-image.env";

/// The kernel's arguments. After a panic the board starts again.
#[must_use]
pub fn kernel_arguments(board: &Board) -> String {
    format!(
        "console={},{} panic=10",
        board.console.device, board.console.baud
    )
}

/// `config.txt`. The firmware reads no more than 98 characters of a line.
#[must_use]
pub fn config_txt() -> String {
    format!(
        "\
# gild's flasher card, for the firmware of the Raspberry Pi 5. The Rock 5B reads {BOOT_SCR}.
[all]
kernel={KERNEL}
initramfs {INITRAMFS} followkernel
enable_uart=1
uart_2ndstage=1
disable_splash=1
# A restart out of the flasher looks at the NVMe disk first, then at this card.
# Firmware from before January 2025 does not know this line.
set_reboot_order=0xf16
# pieeprom.upd is meant for recovery.bin only: a card that was used in one board
# must not update the next one before its disk is written.
bootloader_update=0
"
    )
}

/// `boot.scr`: the gate, and behind it the agent.
pub fn boot_scr(board: &Board) -> Result<Vec<u8>, ScriptError> {
    let script = Script {
        name: b"gild".to_vec(),
        time: 0,
        text: boot_script(board).into_bytes(),
    };
    script.to_bytes()
}

/// Stops on a product that is easily confused with the board. U-Boot for several of them names the product in `fdtfile`; one
/// that sets no `fdtfile`, as the vendor's, is asked for the device tree that it was started with itself.
fn relatives(board: &Board) -> String {
    let refusal = |relative: &Relative| {
        format!(
            r#"if test "${{gild_board}}" = "{}"; then
  echo "gild: this is a {}, and gild supports the {} only"
  exit
fi
"#,
            relative.compatible, relative.model, board.model
        )
    };
    board.relatives.iter().map(refusal).collect()
}

/// The text of `boot.scr`. U-Boot's shell takes no apostrophe inside double quotes.
///
/// The agent leaves one file for one start of a disk on trial. The script removes it before that start, so a failed start
/// leads back to the agent. A U-Boot that cannot remove the file starts the agent. The file names the image, or the disk's
/// first partition if the disk may not say what it carries: the script does not start any other disk that was put in meanwhile.
/// The gate does not count for a disk whose image says itself that it is on trial: nobody would count its starts. The disk's
/// own script does not repeat this script's decision: without a start left it would come back here.
///
/// The script imports the files one variable at a time, so that nothing else in them can change U-Boot's settings. The vendor's
/// U-Boot 2017.09 cannot do that and takes everything in them. If an older U-Boot does not know a command of the script, it
/// goes on to the agent. If neither the agent nor the disk starts, the board starts again: one failed read must
/// not leave it at a prompt.
#[must_use]
pub fn boot_script(board: &Board) -> String {
    let name = &board.name;
    let arguments = kernel_arguments(board);
    let relatives = relatives(board);
    // U-Boot calls it by the same name.
    let tree = &board.dtb[0];
    format!(
        r#"# gild: start the NVMe disk if it carries the image that this card has seen finished, else the agent.
setenv gild_card ${{devtype}} ${{devnum}}:${{distro_bootpart}}
if test -n "${{fdtfile}}" -a "${{fdtfile}}" != {tree}; then
  echo "gild: the device tree of this board is ${{fdtfile}}: this card is for {tree} only"
  exit
fi
setenv gild_board
if test -n "${{fdtcontroladdr}}"; then
  fdt addr ${{fdtcontroladdr}} && fdt get value gild_board / compatible
fi
{relatives}setenv {name}
setenv gild_once
if test -e ${{gild_card}} {GATE}; then
  load ${{gild_card}} ${{scriptaddr}} {GATE} && env import -t ${{scriptaddr}} ${{filesize}} {name}
fi
if test -e ${{gild_card}} {TRIAL}; then
  if load ${{gild_card}} ${{scriptaddr}} {TRIAL}; then
    setenv gild_size ${{filesize}}
    if {FATRM} ${{gild_card}} {TRIAL}; then
      setenv gild_once yes
      env import -t ${{scriptaddr}} ${{gild_size}} {name}
    fi
  fi
fi
if test -n "${{{name}}}"; then
  nvme scan
  for disk in 0 1; do
    setenv image_id
    setenv gild_start
    if test -e nvme ${{disk}}:1 {IMAGE}; then
      load nvme ${{disk}}:1 ${{scriptaddr}} {IMAGE} && env import -t ${{scriptaddr}} ${{filesize}} image_id
    fi
    if test -n "${{gild_once}}"; then
      setenv gild_partition
      part uuid nvme ${{disk}}:1 gild_partition
      if test -n "${{gild_partition}}"; then
        if test "${{gild_partition}}" = "${{{name}}}"; then setenv gild_start "for one start"; fi
      fi
    fi
    if test -n "${{image_id}}"; then
      if test "${{image_id}}" = "${{{name}}}"; then
        if test -n "${{gild_once}}"; then
          setenv gild_start "for one start"
        else
          setenv gild_start finished
          if test -e nvme ${{disk}}:1 {ON_TRIAL}; then
            setenv gild_start
            echo "gild: ${{image_id}} on the NVMe disk has not proven itself: the agent counts its starts"
          fi
        fi
      fi
    fi
    if test -n "${{gild_start}}"; then
      echo "gild: NVMe disk ${{disk}} (image ${{image_id}}) ${{gild_start}}: starting it"
      setenv gild_card_had_its_turn yes
      bootflow scan -b nvme${{disk}}
      if test -n "${{bootcmd_nvme0}}"; then run bootcmd_nvme${{disk}}; fi
      echo "gild: the NVMe disk did not start"
    fi
  done
fi
echo "gild: starting the agent from ${{gild_card}}"
setenv bootargs {arguments} ${{gild_args}}
setenv gild_fdt ${{fdt_addr}}
if test -n "${{fdt_addr_r}}"; then
  load ${{gild_card}} ${{fdt_addr_r}} {tree} && setenv gild_fdt ${{fdt_addr_r}}
fi
load ${{gild_card}} ${{kernel_addr_r}} {PLAIN_KERNEL} && load ${{gild_card}} ${{ramdisk_addr_r}} {INITRAMFS} && booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{filesize}} ${{gild_fdt}}
echo "gild: the agent did not start: the NVMe disk is tried, and then everything again"
bootflow scan -b nvme
if test -n "${{bootcmd_nvme0}}"; then run bootcmd_nvme0; fi
sleep 10
reset
"#
    )
}

#[cfg(test)]
mod tests {
    use gild_boards::BootFirmware;

    use super::*;

    #[test]
    fn the_script_is_for_the_one_board_that_reads_it() {
        // For a second one, it has to choose between their device trees.
        let readers = gild_boards::with_firmware(BootFirmware::Rk3588Spi);
        let names: Vec<_> = readers.map(|board| &board.name).collect();
        assert_eq!(
            names,
            ["rock5b"],
            "boot.scr takes the device tree of one board: docs/add-a-board.md says what two need"
        );
    }

    #[test]
    fn no_line_is_longer_than_the_firmware_reads() {
        let longest = config_txt().lines().map(str::len).max();
        assert!(longest <= Some(98), "{longest:?}");
    }

    #[test]
    fn the_script_has_nothing_that_u_boot_s_shell_stumbles_over() {
        let script = boot_script(gild_boards::by_name("rock5b").expect("a board"));
        assert!(!script.contains('\''), "{script}");
        for line in script.lines() {
            assert_eq!(line.matches('"').count() % 2, 0, "{line}");
            // CONFIG_SYS_CBSIZE is 1024 where it is small.
            assert!(line.len() < 512, "{line}");
        }
    }
}
