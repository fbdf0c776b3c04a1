//! U-Boot's script on the boot partition, as text.

use gild_boards::uboot_script::{Script, ScriptError};

/// Its name.
pub const BOOT_SCR: &str = "boot.scr";

/// The commands of a script, without its comments.
pub fn commands(bytes: &[u8]) -> Result<String, ScriptError> {
    let script = Script::parse(bytes)?;
    let text = String::from_utf8_lossy(&script.text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    Ok(lines.join("\n"))
}

/// The kernel arguments that it sets.
pub fn arguments(commands: &str) -> Vec<String> {
    let set = |line: &str| {
        let value = line.strip_prefix("setenv bootargs ")?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    commands.lines().filter_map(set).collect()
}

/// The files that it loads, in lower case as the boot partition's are listed. A name in a variable is not known here.
pub fn files(commands: &str) -> Vec<String> {
    let simple = ["&&", "||", ";"]
        .iter()
        .fold(commands.to_owned(), |text, between| {
            text.replace(between, "\n")
        });
    let loaded = |command: &str| {
        let command = command.trim();
        let words = command.strip_prefix("if ").unwrap_or(command);
        let file = words.strip_prefix("load ")?.split_whitespace().last()?;
        let is_plain = !file.contains('$');
        is_plain.then(|| file.trim_matches('/').to_lowercase())
    };
    simple.lines().filter_map(loaded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_files_are_found_wherever_they_stand() {
        let script = Script {
            name: Vec::new(),
            time: 0,
            text: b"# load a b c no.dtb\nif load ${d} ${f} Board.dtb; then\n  setenv bootargs \"root=/dev/x quiet\"\nfi\n\
                load ${d} ${k} /Image && load nvme 0:1 ${r} initrd.img && booti ${k} ${r}:${filesize} ${f}\nload ${d} ${e} ${name}\n"
                .to_vec(),
        };
        let bytes = script.to_bytes().expect("a short script");
        let commands = commands(&bytes).expect("a script");
        assert_eq!(arguments(&commands), ["root=/dev/x quiet"]);
        assert_eq!(files(&commands), ["board.dtb", "image", "initrd.img"]);
        assert!(super::commands(&bytes[1..]).is_err());
    }
}
