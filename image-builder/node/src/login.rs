//! The public keys that may log in to a node: those of the image, those of Matchbox, and those that people add.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::files;

/// The file where the builder puts the image's own keys for cloud-init. An overlay may have other files beside it.
pub const IMAGE_KEYS: &str = "etc/cloud/cloud.cfg.d/60-gild-site.cfg";
/// The home of the user that cloud-init makes on Debian.
const HOME: &str = "home/debian";
const CONFIGURATION: &str = "etc/cloud/cloud.cfg.d";
const SSH: &str = ".ssh";
const KEYS: &str = "authorized_keys";

#[derive(Default, Deserialize)]
struct OfImage {
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
}

/// Removes the keys that Matchbox gives no longer, and adds the new ones.
pub fn replace_keys(root: &Path, before: &[String], now: &[String]) -> Result<()> {
    let home = root.join(HOME);
    let owner = fs::metadata(&home).with_context(|| format!("reading {}", home.display()))?;
    let directory = home.join(SSH);
    let path = directory.join(KEYS);
    let present = match fs::symlink_metadata(&path) {
        Ok(file) if !file.is_file() => bail!("{} is not a file", path.display()),
        Ok(_) => {
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?
        }
        Err(_) => String::new(),
    };
    let text = replaced(&present, &of_image(root)?, before, now);
    if keys_in(&text) == 0 && keys_in(&present) > 0 {
        bail!(
            "nobody could log in without the keys that its group no longer has, so they stay; next: add another key to the group"
        );
    }
    let write = || {
        if !directory.is_dir() {
            files::private_directory(&directory)?;
            chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
        }
        files::write_private_of(&path, &text, Some((owner.uid(), owner.gid())))
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The keys in all files that cloud-init reads. A file that is not valid YAML gives none, as for cloud-init.
fn of_image(root: &Path) -> Result<Vec<String>> {
    let directory = root.join(CONFIGURATION);
    let files = fs::read_dir(&directory);
    let files = files.with_context(|| format!("reading {}", directory.display()))?;
    let mut keys = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "cfg") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let found: OfImage = serde_saphyr::from_str(&text).unwrap_or_default();
            keys.extend(found.ssh_authorized_keys);
        }
    }
    Ok(keys)
}

/// The key in a line, without the comment behind it.
fn key(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let kind = words.next().filter(|word| !word.starts_with('#'))?;
    Some((kind, words.next()?))
}

fn keys_in(text: &str) -> usize {
    text.lines().filter(|line| key(line).is_some()).count()
}

fn replaced(present: &str, of_image: &[String], before: &[String], now: &[String]) -> String {
    let is_in = |keys: &[String], line: &str| {
        key(line).is_some() && keys.iter().any(|other| key(other) == key(line))
    };
    let stays = |line: &&str| !is_in(before, line) || is_in(now, line) || is_in(of_image, line);
    let mut lines: Vec<&str> = present.lines().filter(stays).collect();
    for new in now {
        if !lines.iter().any(|line| key(line) == key(new)) {
            lines.push(new);
        }
    }
    let ends = lines.iter().map(|line| [line, "\n"]);
    ends.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names
            .iter()
            .map(|name| format!("ssh-ed25519 AAAA{name} {name}"))
            .collect()
    }

    #[test]
    fn a_key_that_matchbox_gives_no_more_opens_nothing_and_others_stay() {
        let present = "ssh-ed25519 AAAAgone gone\nssh-ed25519 AAAAimage image\n# of a person\nssh-ed25519 AAAAown own\n";
        let text = replaced(
            present,
            &keys(&["image"]),
            &keys(&["gone", "image"]),
            &keys(&["new"]),
        );
        assert_eq!(
            text,
            "ssh-ed25519 AAAAimage image\n# of a person\nssh-ed25519 AAAAown own\nssh-ed25519 AAAAnew new\n"
        );
        assert_eq!(replaced(&text, &[], &keys(&["new"]), &keys(&["new"])), text);
    }

    #[test]
    fn a_node_without_a_file_of_keys_gets_one_and_a_link_is_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        let ssh = root.path().join(HOME).join(SSH);
        fs::create_dir_all(root.path().join(HOME)).expect("a home");
        fs::create_dir_all(root.path().join(CONFIGURATION)).expect("cloud-init");
        replace_keys(root.path(), &[], &keys(&["new"])).expect("a file of keys");
        let file = ssh.join(KEYS);
        assert_eq!(
            fs::read_to_string(&file).expect("keys"),
            "ssh-ed25519 AAAAnew new\n"
        );
        replace_keys(root.path(), &keys(&["new"]), &[]).expect_err("the last key");
        let in_image = "ssh_authorized_keys:\n  - ssh-ed25519 AAAAnew of-the-image\n";
        fs::write(root.path().join(IMAGE_KEYS), in_image).expect("the image's keys");
        replace_keys(root.path(), &keys(&["new"]), &[]).expect("it stays");
        let text = fs::read_to_string(&file).expect("keys");
        assert_eq!(text, "ssh-ed25519 AAAAnew new\n");
        fs::remove_file(&file).expect("the file");
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, "a secret\n").expect("a file");
        std::os::unix::fs::symlink(&elsewhere, &file).expect("a link");
        replace_keys(root.path(), &[], &keys(&["new"])).expect_err("a link");
        assert_eq!(
            fs::read_to_string(&elsewhere).expect("the file"),
            "a secret\n"
        );
    }
}
