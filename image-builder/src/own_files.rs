//! Where gild's own files are: in a folder `share/gild` (docs/build-hosts.md), or in the checkout that `gild` was compiled in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use gild_boards::Board;

/// Names the folder `share/gild`.
const VARIABLE: &str = "GILD_SHARE";
/// Where it is from the folder of the program.
const BESIDE: &str = "../share/gild";
/// Every checkout has this file.
const MARK: &str = "image-builder/node/rootfs/etc/dpkg/dpkg.cfg.d/gild-lean";
/// In `share/gild` of a package: puts the kernel where `GILD_KERNEL` says.
const FETCH: &str = "fetch-kernel";
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

/// The kernel of the card. Ask [`kernel`] for it.
const KERNEL: OwnFile = OwnFile {
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

/// The kernel that was given, else gild's own. A gild from a package has none: it fetches Debian's, which it keeps with the packages.
pub fn kernel(given: Option<&Path>) -> Result<PathBuf> {
    if given.is_none()
        && let Some(Home::Share(folder)) = home()
        && let Some(fetch) = fetch_instead(&folder)
    {
        return fetched(&fetch, &cache()?);
    }
    KERNEL.or(given)
}

/// The program that fetches the kernel, where there is one instead of the kernel.
fn fetch_instead(share: &Path) -> Option<PathBuf> {
    let fetch = share.join(FETCH);
    (!share.join(KERNEL.installed).exists() && fetch.exists()).then_some(fetch)
}

/// Has the kernel fetched, if it is not there yet. The program says what it does, and checks Debian's signatures.
fn fetched(fetch: &Path, cache: &Path) -> Result<PathBuf> {
    let kernel = cache.join(KERNEL.installed);
    let status = Command::new(fetch)
        .env("GILD_KERNEL", &kernel)
        .env("GILD_DEBIAN", cache.join("debian"))
        .status()
        .with_context(|| format!("cannot run {}", fetch.display()))?;
    ensure!(
        status.success(),
        "Debian's kernel was not fetched; next: see the lines above, or give {}",
        KERNEL.option
    );
    Ok(kernel)
}

/// The recipe of a board.
pub fn recipe(board: &Board) -> Result<PathBuf> {
    let home = home().with_context(|| lost("the board's recipe", "--recipe FILE"))?;
    let (Home::Share(folder) | Home::Checkout(folder)) = home;
    Ok(folder.join("boards").join(&board.name).join("image.toml"))
}

/// The program that lets this machine's kernel run the boards' programs, if it is there.
pub fn arm64_programs() -> Option<PathBuf> {
    let path = match home()? {
        Home::Share(folder) => folder.join("arm64-programs"),
        Home::Checkout(folder) => folder.join("toolchain/arm64-programs"),
    };
    path.exists().then_some(path)
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

/// If a folder is given, only that counts, even if it is wrong: gild does not fall back to another one.
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
    use std::os::unix::fs::PermissionsExt;

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

    fn fetcher(share: &Path, text: &str) -> PathBuf {
        let path = share.join(FETCH);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    #[test]
    fn a_kernel_is_fetched_where_a_package_has_none() {
        let place = tempfile::tempdir().expect("a folder");
        let (share, cache) = (place.path().join("share"), place.path().join("cache"));
        fs::create_dir(&share).expect("a folder");
        assert_eq!(fetch_instead(&share), None, "nothing fetches");
        let fetch = fetcher(&share, "mkdir -p \"$GILD_KERNEL\" \"$GILD_DEBIAN\"");
        assert_eq!(fetch_instead(&share), Some(fetch.clone()));
        let kernel = fetched(&fetch, &cache).expect("a kernel");
        assert_eq!(kernel, cache.join("kernel"));
        assert!(kernel.is_dir() && cache.join("debian").is_dir());
        let error = fetched(&fetcher(&share, "exit 3"), &cache).expect_err("none");
        assert!(error.to_string().contains("--kernel DIR"), "{error}");
        fs::create_dir(share.join("kernel")).expect("a folder");
        assert_eq!(fetch_instead(&share), None, "it is there");
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
