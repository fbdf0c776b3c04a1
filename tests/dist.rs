//! `make dist`: what its packages contain, that they install, and that two checkouts of one commit make the same bytes.
//!
//! Real: the Makefile, `toolchain/dist`, `toolchain/install`, `toolchain/bill-of-materials` with cargo's own answer, the pages of `gild-docs`,
//! and Debian's dpkg. Stand-ins: the compiled programs and mke2fs are small files, and `cargo` compiles nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use gild_tests::cargo::host_program;
use gild_tests::command::{command, run};
use gild_tests::workspace;
use tempfile::TempDir;

/// What the packages are made of, and what makes them.
const SOURCES: [&str; 13] = [
    "boards",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "docs",
    "image-builder/node",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "toolchain",
];
const PROGRAMS: &str = "target/aarch64-unknown-linux-musl";

/// A checkout in a folder of this name in `place`. `make dist` has run there for both architectures.
fn dist_of(place: &Path, name: &str) -> Result<PathBuf> {
    let root = workspace::root().canonicalize()?;
    let checkout = place.join(name);
    for source in SOURCES {
        let to = checkout.join(source);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        run(command("cp").arg("-r").args([&root.join(source), &to]))?;
    }
    let write = |name: &str, text: &str| {
        let path = checkout.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("a mode")
    };
    // They would install packages and compile.
    for program in ["setup", "libblkid", "e2fsprogs"] {
        write(&format!("toolchain/{program}"), "#!/bin/sh\n")?;
    }
    write(
        "target/libblkid/aarch64-linux-musl/version",
        "util-linux_2\n",
    )?;
    for architecture in ["amd64", "arm64"] {
        let folder = format!("target/e2fsprogs-{architecture}");
        write(&format!("{folder}/versions"), "e2fsprogs 1.47\n")?;
        write(&format!("{folder}/mke2fs"), architecture)?;
    }
    // Cargo would ask which program to run if there were several and the call named none.
    let gild_docs = host_program("gild-docs")?.canonicalize()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let path = std::env::var("PATH")?;
    let home = std::env::var("HOME")?;
    let home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let mut programs = String::new();
    for entry in fs::read_dir(root.join("image-builder/node/src/bin"))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        programs.extend([" ", name.trim_end_matches(".rs")]);
    }
    let cargo = format!(
        r#"#!/bin/sh
case "$*" in
    tree*) cd '{root}' && PATH='{path}' CARGO_HOME='{home}' exec '{cargo}' "$@" ;;
    run*" --bin gild-docs "*) for last; do :; done; exec '{gild_docs}' "$last" ;;
    *"-p gild-agent "*) mkdir -p {PROGRAMS}/agent && echo agent >{PROGRAMS}/agent/gild-agent ;;
    *"-p gild-node "*)
        mkdir -p {PROGRAMS}/release
        # An earlier checkout had this one.
        for program in earlier{programs}; do echo "$program" >"{PROGRAMS}/release/$program"; done
        ;;
    *"-p gild --target "*) for last; do :; done; mkdir -p "target/$last/release" && echo "$last" >"target/$last/release/gild" ;;
    *) echo "cargo: $*: not what this stand-in knows" >&2; exit 101 ;;
esac
"#,
        root = root.display(),
        gild_docs = gild_docs.display(),
    );
    write("stand-ins/cargo", &cargo)?;
    let path = format!("{}:{path}", checkout.join("stand-ins").display());
    run(Command::new("make")
        .args(["--no-print-directory", "dist"])
        .current_dir(&checkout)
        .env_remove("MAKEFLAGS")
        .env("PATH", path)
        // The Makefile puts this folder's programs last, so the stand-in is found.
        .env("CARGO_HOME", checkout.join("cargo-home"))
        .env("SOURCE_DATE_EPOCH", "1700000000"))?;
    Ok(checkout.join("target/dist"))
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
        .collect()
}

#[test]
fn two_checkouts_make_the_same_packages_and_these_hold_all_that_gild_needs() -> Result<()> {
    let place = TempDir::new()?;
    let dist_of = |name| dist_of(place.path(), name);
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| dist_of("one"));
        let other = dist_of("another-one");
        (one.join().expect("its errors are returned"), other)
    });
    let (one, other) = (one?, other?);
    let made = names(&one)?;
    assert_eq!(
        made.len(),
        6,
        "two packages, two archives, a list, digests: {made:?}"
    );
    assert_eq!(made, names(&other)?);
    for name in &made {
        assert!(
            fs::read(one.join(name))? == fs::read(other.join(name))?,
            "{name} is not the same in both"
        );
    }
    run(command("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&one))?;
    let digests = fs::read_to_string(one.join("SHA256SUMS"))?;
    assert_eq!(digests.lines().count(), 5, "{digests}");

    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let package = made
            .iter()
            .find(|name| name.ends_with(&format!("_{architecture}.deb")))
            .context("a package")?;
        let tree = place.path().join(architecture);
        run(command("dpkg-deb")
            .args(["--raw-extract"])
            .args([&one.join(package), &tree]))?;
        let control = fs::read_to_string(tree.join("DEBIAN/control"))?;
        assert!(
            control.contains(&format!("\nArchitecture: {architecture}\n"))
                && control.contains("mmdebstrap")
                && control.contains("\nRecommends: qemu") == (architecture == "amd64"),
            "{control}"
        );
        let gild = fs::read_to_string(tree.join("usr/bin/gild"))?;
        assert_eq!(gild, format!("{machine}-unknown-linux-musl\n"));
        let own = tree.join("usr/share/gild");
        assert_eq!(fs::read_to_string(own.join("gild-agent"))?, "agent\n");
        assert_eq!(
            fs::read_to_string(own.join("e2fsprogs/mke2fs"))?,
            architecture
        );
        let first_boot = names(&own.join("first-boot"))?;
        assert!(
            first_boot.contains("gild-seed") && !first_boot.contains("earlier"),
            "{first_boot:?}"
        );
        for file in [
            "usr/share/gild/fetch-kernel",
            "usr/share/gild/rootfs",
            "usr/share/gild/boards/rpi5/image.toml",
            "usr/share/man/man1/gild-card-build.1.gz",
            "usr/share/bash-completion/completions/gild",
            "usr/share/doc/gild/copyright",
            "usr/share/doc/gild/docs/troubleshooting.md",
        ] {
            assert!(tree.join(file).exists(), "{file} is not in {package}");
        }
        let unit = fs::read_to_string(tree.join("usr/lib/systemd/system/gild-serve.service"))?;
        assert!(unit.contains("\nExecStart=/usr/bin/gild "), "{unit}");
    }
    Ok(())
}
