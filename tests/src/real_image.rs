//! The real golden image, built by the commands that an operator uses.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::board_dtb::Product;
use crate::cargo::{host_program, image_program};
use crate::command::{command, run};
use crate::golden::Golden;
use crate::share::Share;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// This machine, as a board in QEMU's user-mode network sees it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// A public key that opens nothing: nobody has the other half.
pub const AUTHORIZED_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g nobody@example.com";

/// Builds the image of a board and verifies it.
pub fn build(product: Product, matchbox: &str, directory: &Path) -> Result<Share> {
    let gild = host_program("gild")?;
    let gild = gild.to_string_lossy();
    let keys = directory.join("authorized");
    fs::write(&keys, format!("{AUTHORIZED_KEY}\n"))?;
    run(command(&gild)
        .args(["key", "new", "--output"])
        .arg(directory.join("test")))?;
    let share = directory.join("share");
    let mut build = build_command(product, directory)?;
    build
        .args(["--matchbox", matchbox, "--authorized-key"])
        .arg(&keys)
        .arg("--key")
        .arg(directory.join("test.key"))
        .arg("--output")
        .arg(&share);
    must_succeed(&mut build)?;

    let public_key = directory.join("test.pub");
    run(command(&gild)
        .args(["image", "verify", "--sealed", "--key"])
        .arg(&public_key)
        .arg(&share))?;

    let manifest = fs::read(share.join(product.name()).join("golden.json"))?;
    let manifest: Value = serde_json::from_slice(&manifest)?;
    let image_id = manifest["image_id"]
        .as_str()
        .context("a manifest without an image id")?;
    let public_key = fs::read_to_string(public_key)?;
    Ok(Share {
        golden: Golden {
            product,
            image_id: image_id.to_owned(),
            raw: share
                .join(product.name())
                .join(format!("{image_id}.img.zst")),
            on_trial: None,
        },
        directory: share,
        key: directory.join("test.key"),
        public_key: public_key
            .lines()
            .last()
            .context("an empty public key")?
            .to_owned(),
        own: true,
    })
}

/// Builds the image of a board with what the folder of a desk says.
pub fn build_for_desk(product: Product, directory: &Path, desk: &Path) -> Result<()> {
    must_succeed(build_command(product, directory)?.arg("--desk").arg(desk))
}

/// `gild image build` of a board, with the stub instead of k3s.
fn build_command(product: Product, directory: &Path) -> Result<Command> {
    let stub = image_program("k3s-stub")?;
    let sha256 = hex::encode(Sha256::digest(fs::read(&stub)?));
    let recipe = directory.join(format!("{}.toml", product.name()));
    fs::write(&recipe, on_qemu(product))?;
    let mut build = command(&host_program("gild")?.to_string_lossy());
    build
        .current_dir(workspace::root())
        .args(["image", "build", "--board", product.name(), "--k3s"])
        .arg(&stub)
        .args(["--k3s-sha256", &sha256, "--level", "3", "--recipe"])
        .arg(&recipe)
        .arg("--overlay")
        .arg(workspace::root().join("tests/image-overlay"));
    Ok(build)
}

fn must_succeed(build: &mut Command) -> Result<()> {
    let status = build.status()?;
    ensure!(status.success(), "gild image build ended with {status}");
    Ok(())
}

/// The board's recipe with QEMU's serial port on the kernel's command line, and with longer time-outs for its slow processor.
fn on_qemu(product: Product) -> String {
    let recipe = workspace::root().join(format!("boards/{}/image.toml", product.name()));
    format!(
        "extends = \"{}\"\nkernel_arguments = [\"systemd.default_device_timeout_sec=1200\", \"console=ttyAMA0\"]\n",
        recipe.display()
    )
}
