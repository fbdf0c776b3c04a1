//! What U-Boot reads on the boot partition: `boot.scr`, which starts the disk and knows the way back to the flasher card.

use gild_boards::uboot_script::{Script, ScriptError};
use gild_proof::trial::{BOOT_SCR, ON, TOKENS};

use super::{INITRAMFS, KERNEL};

/// `boot.scr` with this device tree of the boot partition and these kernel arguments.
pub fn boot_scr(device_tree: &str, arguments: &str) -> Result<Vec<u8>, ScriptError> {
    let script = Script {
        name: b"gild".to_vec(),
        time: 0,
        text: boot_script(device_tree, arguments).into_bytes(),
    };
    script.to_bytes()
}

/// Is this character itself in U-Boot's shell, between double quotes too?
#[must_use]
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.,:=/@+%~".contains(c)
}

/// The text of `boot.scr`. U-Boot's shell takes no apostrophe inside double quotes, and knows no `break`.
///
/// On trial, a start first takes one of the files away, and makes sure that it is gone: a disk that cannot be written, or a
/// U-Boot that cannot write, must not start the same image forever. Then a gild card may start. If none starts, the disk
/// does: the script never makes it unbootable. The card's script may start this disk again, so it gets one turn only.
///
/// The card is named in the shell's own variables, as older U-Boots do when they look for scripts: those in the environment
/// would hide them, and the card's script could not start the disk.
///
/// The arguments are one word, because U-Boot limits the words of a command. Where U-Boot has no place for a device tree,
/// as in QEMU, the machine gives the tree; on a board it is the image's own, or nothing is started.
#[must_use]
pub fn boot_script(device_tree: &str, arguments: &str) -> String {
    let tokens = TOKENS.join(" ");
    format!(
        r#"# gild: start this disk. An image on trial has a few starts before the flasher card has its turn.
setenv gild_disk ${{devtype}} ${{devnum}}:${{distro_bootpart}}
setenv gild_way_back
setenv gild_token
if test -e ${{gild_disk}} {ON}; then
  setenv gild_way_back yes
  for token in {tokens}; do
    if test -z "${{gild_token}}"; then
      if test -e ${{gild_disk}} ${{token}}; then setenv gild_token ${{token}}; fi
    fi
  done
fi
if test -n "${{gild_token}}"; then
  echo "gild: this image is on trial: this start uses up ${{gild_token}}"
  if fatrm ${{gild_disk}} ${{gild_token}}; then
    if test -e ${{gild_disk}} ${{gild_token}}; then
      echo "gild: it is still there"
    else
      setenv gild_way_back
    fi
  fi
fi
if test -n "${{gild_card_had_its_turn}}"; then setenv gild_way_back; fi
if test -n "${{gild_way_back}}"; then
  echo "gild: this image on trial has no start left: looking for a gild card"
  setenv gild_card_had_its_turn yes
  for kind in mmc virtio; do
    for number in 0 1 2 3; do
      if test -e ${{kind}} ${{number}}:1 gild.toml; then
        if test -e ${{kind}} ${{number}}:1 {BOOT_SCR}; then
          echo "gild: back to the card in ${{kind}} ${{number}}"
          setenv devtype
          setenv devnum
          setenv distro_bootpart
          devtype=${{kind}}
          devnum=${{number}}
          distro_bootpart=1
          load ${{kind}} ${{number}}:1 ${{scriptaddr}} {BOOT_SCR} && source ${{scriptaddr}}
        fi
      fi
    done
  done
  echo "gild: no card starts"
fi
echo "gild: starting the disk, ${{gild_disk}}"
setenv bootargs "{arguments}"
setenv gild_fdt ${{fdt_addr}}
if test -n "${{fdt_addr_r}}"; then
  setenv gild_fdt
  load ${{gild_disk}} ${{fdt_addr_r}} {device_tree} && setenv gild_fdt ${{fdt_addr_r}}
fi
if test -n "${{gild_fdt}}"; then
  load ${{gild_disk}} ${{kernel_addr_r}} {KERNEL} && load ${{gild_disk}} ${{ramdisk_addr_r}} {INITRAMFS} && booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{filesize}} ${{gild_fdt}}
fi
echo "gild: the disk did not start"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> String {
        boot_script("board.dtb", "root=PARTUUID=1-2 console=ttyS2,1500000")
    }

    fn at(script: &str, text: &str) -> usize {
        let at = script.find(text);
        at.unwrap_or_else(|| panic!("no {text} in {script}"))
    }

    #[test]
    fn a_token_is_gone_before_anything_is_loaded() {
        let script = script();
        let order = [
            "test -e ${gild_disk} gild-trial/on",
            "for token in gild-trial/1 gild-trial/2 gild-trial/3;",
            "fatrm ${gild_disk} ${gild_token}",
            "source ${scriptaddr}",
            "setenv bootargs \"root=PARTUUID=1-2 console=ttyS2,1500000\"\n",
            "load ${gild_disk} ${fdt_addr_r} board.dtb",
            "load ${gild_disk} ${kernel_addr_r} vmlinuz.gz",
            "load ${gild_disk} ${ramdisk_addr_r} initrd.img",
            "booti",
        ];
        let places = order.map(|text| at(&script, text));
        assert!(places.is_sorted(), "{script}");
    }

    #[test]
    fn the_script_has_only_commands_that_the_boards_u_boot_has() {
        let known = [
            "booti", "done", "echo", "else", "fatrm", "fi", "for", "if", "load", "setenv",
            "source", "test",
        ];
        let separators = ["&&", ";", " then ", "\n"];
        let script = separators
            .iter()
            .fold(script(), |text, separator| text.replace(separator, "\n"));
        let commands = script.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            words.find(|word| !["if", "then", "do"].contains(word))
        });
        let is_assignment = |word: &str| word.contains('=') || word.starts_with('#');
        for command in commands.filter(|command| !is_assignment(command)) {
            assert!(known.contains(&command), "{command}");
        }
    }

    #[test]
    fn the_script_has_nothing_that_u_boot_s_shell_stumbles_over() {
        let script = script();
        assert!(!script.contains('\''), "{script}");
        for line in script.lines() {
            assert_eq!(line.matches('"').count() % 2, 0, "{line}");
            assert!(line.len() < 512, "{line}");
        }
        for word in [
            "a=\"b\"", "a;b", "$a", "a\\b", "a&b", "it's", "a|b", "a b", "#",
        ] {
            assert!(!word.chars().all(is_plain), "{word}");
        }
    }

    #[test]
    fn what_is_packed_is_the_script() {
        let bytes = boot_scr("board.dtb", "quiet").expect("a short script");
        let read = Script::parse(&bytes).expect("a script");
        assert_eq!(read.text, boot_script("board.dtb", "quiet").into_bytes());
    }
}
