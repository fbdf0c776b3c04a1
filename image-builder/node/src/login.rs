//! The public keys that open a node: those of the image, those of Matchbox, and what people add.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::files;

/// Where an image has its own keys, for cloud-init: the builder writes them there.
pub const IMAGE_KEYS: &str = "etc/cloud/cloud.cfg.d/60-gild-site.cfg";
/// The home of the user that cloud-init makes on Debian.
const HOME: &str = "home/debian";
const SSH: &str = ".ssh";
const KEYS: &str = "authorized_keys";

#[derive(Default, Deserialize)]
struct OfImage {
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
}

/// Takes the keys that Matchbox gave before and gives no more out of the file, and puts those that are new into it.
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
    let write = || {
        if !directory.is_dir() {
            files::private_directory(&directory)?;
            chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
        }
        files::write_private_of(&path, &text, Some((owner.uid(), owner.gid())))
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// An image without keys of its own has no such file.
fn of_image(root: &Path) -> Result<Vec<String>> {
    let path = root.join(IMAGE_KEYS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let read = || -> Result<OfImage> { Ok(serde_saphyr::from_str(&fs::read_to_string(&path)?)?) };
    let keys = read().with_context(|| format!("reading {}", path.display()))?;
    Ok(keys.ssh_authorized_keys)
}

fn replaced(present: &str, of_image: &[String], before: &[String], now: &[String]) -> String {
    let is = |keys: &[String], line: &str| keys.iter().any(|key| key.trim() == line.trim());
    let stays = |line: &&str| !is(before, line) || is(now, line) || is(of_image, line);
    let mut lines: Vec<&str> = present.lines().filter(stays).collect();
    for key in now {
        if !lines.iter().any(|line| line.trim() == key.trim()) {
            lines.push(key);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names
            .iter()
            .map(|name| format!("ssh-ed25519 AAAA {name}"))
            .collect()
    }

    #[test]
    fn a_key_that_matchbox_gives_no_more_opens_nothing_and_others_stay() {
        let present =
            "ssh-ed25519 AAAA gone\nssh-ed25519 AAAA image\n# of a person\nssh-ed25519 AAAA own\n";
        let text = replaced(
            present,
            &keys(&["image"]),
            &keys(&["gone", "image"]),
            &keys(&["new"]),
        );
        assert_eq!(
            text,
            "ssh-ed25519 AAAA image\n# of a person\nssh-ed25519 AAAA own\nssh-ed25519 AAAA new\n"
        );
        assert_eq!(replaced(&text, &[], &keys(&["new"]), &keys(&["new"])), text);
    }

    #[test]
    fn a_node_without_a_file_of_keys_gets_one_and_a_link_is_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        let ssh = root.path().join(HOME).join(SSH);
        fs::create_dir_all(root.path().join(HOME)).expect("a home");
        replace_keys(root.path(), &[], &keys(&["new"])).expect("a file of keys");
        let file = ssh.join(KEYS);
        assert_eq!(
            fs::read_to_string(&file).expect("keys"),
            "ssh-ed25519 AAAA new\n"
        );
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
