//! Where gild's own files are: in a folder `share/gild` (docs/build-hosts.md), or in the checkout that `gild` was compiled in.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use gild_boards::Board;

/// Names the folder `share/gild`.
const VARIABLE: &str = "GILD_SHARE";
/// Where it is from the folder of the program.
const BESIDE: &str = "../share/gild";
/// Every checkout has this file.
const MARK: &str = "image-builder/node/rootfs/etc/dpkg/dpkg.cfg.d/gild-lean";
/// Where a checkout keeps packages and lists.
const CACHE: &str = "target/image-cache";

/// One of gild's own files or folders.
#[derive(Debug)]
pub struct OwnFile {
    what: &'static str,
    installed: &'static str,
    in_checkout: &'static str,
    option: &'static str,
    /// What of `make` makes it in a checkout.
    target: &'static str,
}

/// The kernel of the card.
pub const KERNEL: OwnFile = OwnFile {
    what: "the kernel directory",
    installed: "kernel",
    in_checkout: "target/kernel",
    option: "--kernel DIR",
    target: "make setup",
};
/// The agent of the card.
pub const AGENT: OwnFile = OwnFile {
    what: "the agent",
    installed: "gild-agent",
    in_checkout: "target/aarch64-unknown-linux-musl/agent/gild-agent",
    option: "--agent FILE",
    target: "make card",
};
/// What is laid into images as it is.
pub const ROOTFS: OwnFile = OwnFile {
    what: "the folder of gild's own files for the image",
    installed: "rootfs",
    in_checkout: "image-builder/node/rootfs",
    option: "--rootfs DIR",
    target: "git restore",
};
/// The programs of first boot.
pub const FIRST_BOOT: OwnFile = OwnFile {
    what: "the folder with the programs of first boot",
    installed: "first-boot",
    in_checkout: "target/aarch64-unknown-linux-musl/release",
    option: "--first-boot DIR",
    target: "make image",
};
/// An mke2fs that reads tar files.
pub const MKE2FS: OwnFile = OwnFile {
    what: "mke2fs",
    installed: "e2fsprogs/mke2fs",
    in_checkout: "target/e2fsprogs/mke2fs",
    option: "--mke2fs FILE",
    target: "make setup",
};

/// Where all of them are.
#[derive(Debug, PartialEq, Eq)]
enum Home {
    Share(PathBuf),
    Checkout(PathBuf),
}

impl OwnFile {
    /// What was given, else gild's own.
    pub fn or(&self, given: Option<&Path>) -> Result<PathBuf> {
        let Some(given) = given else {
            return self.at(home().as_ref());
        };
        ensure!(
            given.exists(),
            "{} {} is not there; next: give a path that is there, or leave {} out for gild's own",
            self.what,
            given.display(),
            self.option
        );
        let wants_folder = self.option.ends_with(" DIR");
        ensure!(
            given.is_dir() == wants_folder,
            "{} {} is {}; next: give {}, or leave it out for gild's own",
            self.what,
            given.display(),
            if wants_folder {
                "not a folder"
            } else {
                "a folder"
            },
            self.option
        );
        Ok(given.to_owned())
    }

    fn at(&self, home: Option<&Home>) -> Result<PathBuf> {
        let home = home.with_context(|| lost(self.what, self.option))?;
        let path = match home {
            Home::Share(folder) => folder.join(self.installed),
            Home::Checkout(folder) => folder.join(self.in_checkout),
        };
        ensure!(
            path.exists(),
            "{} {} is not there; next: {}, or give {}",
            self.what,
            path.display(),
            match home {
                Home::Share(_) => "`make install` in a checkout, which makes the folder again",
                Home::Checkout(_) => self.target,
            },
            self.option
        );
        Ok(path)
    }
}

/// The recipe of a board.
pub fn recipe(board: &Board) -> Result<PathBuf> {
    let home = home().with_context(|| lost("the board's recipe", "--recipe FILE"))?;
    let (Home::Share(folder) | Home::Checkout(folder)) = home;
    Ok(folder.join("boards").join(&board.name).join("image.toml"))
}

/// Where packages and lists are kept for the next build: in the checkout, else where the user's programs keep such files.
pub fn cache() -> Result<PathBuf> {
    if let Some(Home::Checkout(folder)) = home() {
        return Ok(folder.join(CACHE));
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&set("HOME")?).join(".cache")))
        .map(|folder| folder.join("gild"))
        .ok_or_else(|| anyhow!("there is no home to keep packages in; next: give --cache DIR"))
}

fn lost(what: &str, option: &str) -> String {
    format!(
        "{what} cannot be found: there is no folder {BESIDE} beside this program, and it is not in a checkout of gild; next: \
         set {VARIABLE} to the share/gild that `make install` made, or give {option}"
    )
}

fn home() -> Option<Home> {
    let given = env::var_os(VARIABLE).map(PathBuf::from);
    find(
        given,
        env::current_exe().ok().as_deref(),
        env::current_dir().ok().as_deref(),
    )
}

/// What is said counts alone: where it is wrong, nothing else is taken for it.
fn find(given: Option<PathBuf>, program: Option<&Path>, current: Option<&Path>) -> Option<Home> {
    if let Some(folder) = given {
        return Some(Home::Share(folder));
    }
    let beside = program
        .and_then(Path::parent)
        .map(|folder| folder.join(BESIDE))
        .filter(|folder| folder.is_dir());
    if let Some(folder) = beside {
        return Some(Home::Share(folder.canonicalize().unwrap_or(folder)));
    }
    let above = program.into_iter().flat_map(Path::ancestors).skip(1);
    above
        .chain(current)
        .find(|folder| folder.join(MARK).is_file())
        .map(|folder| Home::Checkout(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(path: &Path) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, "").expect("a file");
    }

    #[test]
    fn what_is_said_comes_before_the_folder_beside_the_program_and_that_before_a_checkout() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().canonicalize().expect("a folder");
        let program = place.join("target/release/gild");
        assert_eq!(find(None, Some(&program), Some(&place)), None);

        file(&place.join(MARK));
        let checkout = Home::Checkout(place.clone());
        assert_eq!(find(None, Some(&program), None).as_ref(), Some(&checkout));
        let elsewhere = Path::new("/usr/bin/gild");
        let found = find(None, Some(elsewhere), Some(&place));
        assert_eq!(found.as_ref(), Some(&checkout));

        let share = place.join("target/share/gild");
        fs::create_dir_all(&share).expect("a folder");
        fs::create_dir_all(place.join("target/release")).expect("a folder");
        let found = find(None, Some(&program), Some(&place));
        assert_eq!(found, Some(Home::Share(share)));
        let said = find(Some("/none".into()), Some(&program), Some(&place));
        assert_eq!(said, Some(Home::Share("/none".into())));
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_make_it() {
        let place = tempfile::tempdir().expect("a folder");
        let says = |home: Option<Home>, words: &[&str]| {
            let error = AGENT.at(home.as_ref()).expect_err("no agent").to_string();
            for words in words {
                assert!(error.contains(words), "{words:?} is not in: {error}");
            }
        };
        says(None, &["cannot be found", VARIABLE, "--agent FILE"]);
        let folder = place.path().to_owned();
        says(
            Some(Home::Share(folder.clone())),
            &["/gild-agent is not there", "make install"],
        );
        says(
            Some(Home::Checkout(folder)),
            &["agent/gild-agent is not there", "make card"],
        );
    }
}
