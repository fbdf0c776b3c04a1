//! What the firmware reads: the kernel's compression, and the edits to Debian's own device tree of the Pi 5.

use std::fs;
use std::path::Path;
use std::process::Command;

use gild_boards::device_tree::one_size_cell;
use gild_golden::assemble::{AssembleError, gzip};
use gild_golden::tree::Content;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Debian's device trees, as `make setup` fetched them.
fn device_tree(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/kernel/dtb/broadcom")
        .join(name);
    fs::read(&path).map_err(|error| format!("{}: {error}; run `make setup`", path.display()).into())
}

fn fdtget(device_tree: &Path, node: &str, property: &str) -> Result<String> {
    let output = Command::new("fdtget")
        .args(["-t", "x"])
        .arg(device_tree)
        .args([node, property])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn device_trees_of_both_steppings_get_one_cell_for_sizes_at_their_root() -> Result<()> {
    let directory = tempfile::TempDir::new()?;
    for name in ["bcm2712-rpi-5-b.dtb", "bcm2712-d-rpi-5-b.dtb"] {
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        let original = device_tree(name)?;
        fs::write(&old, &original)?;
        fs::write(&new, one_size_cell(&original)?)?;
        assert_eq!(
            fdtget(&old, "/", "#size-cells")?,
            "2",
            "Debian's has changed"
        );
        for (node, property, value) in [
            ("/", "#address-cells", "2"),
            ("/", "#size-cells", "1"),
            ("/reserved-memory", "#size-cells", "1"),
            ("/memory@0", "reg", "0 0 28000000"),
            ("/hvs@107c580000", "reg", "10 7c580000 1a000"),
            ("/reserved-memory/atf@0", "reg", "0 0 80000"),
            ("/reserved-memory/linux,cma", "size", "4000000"),
            ("/reserved-memory/linux,cma", "alloc-ranges", "0 0 40000000"),
        ] {
            assert_eq!(
                fdtget(&new, node, property)?,
                value,
                "{name} {node} {property}"
            );
        }
        // Buses below have their own cells.
        for bus in ["/soc@107c000000", "/axi"] {
            let cells = fdtget(&old, bus, "#size-cells")?;
            assert_eq!(fdtget(&new, bus, "#size-cells")?, cells, "{name} {bus}");
        }
    }
    Ok(())
}

#[test]
fn a_device_tree_of_another_board_is_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/kernel/dtb/rockchip/rk3588-rock-5b.dtb");
    let other = fs::read(path).expect("`make setup` fetched it");
    assert!(one_size_cell(&other).is_err());
    assert!(one_size_cell(b"no device tree").is_err());
}

#[test]
fn a_kernel_is_compressed_once_and_alike_each_time() -> Result<()> {
    let kernel = Content::from(b"MZ not a kernel ".repeat(1000));
    let packed = gzip(&kernel)?;
    assert_eq!(packed, gzip(&kernel)?);
    // Neither a time (bytes 4 to 8) nor a name (flag 8) is in it.
    assert_eq!(
        (&packed[..2], packed[3], &packed[4..8]),
        (&[0x1f, 0x8b][..], 0, &[0; 4][..])
    );
    assert_eq!(gzip(&packed.clone().into())?, packed);
    Ok(())
}

#[test]
fn a_kernel_that_old_firmware_could_not_read_is_refused() {
    let mut noise = vec![0x1f, 0x8b];
    noise.resize(32 << 20, 7);
    let refused = gzip(&noise.into());
    assert!(
        matches!(refused, Err(AssembleError::TooLarge { .. })),
        "{refused:?}"
    );
}
