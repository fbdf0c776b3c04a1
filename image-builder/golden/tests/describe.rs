//! The image's name, and the files that describe it.

use std::collections::BTreeMap;

use gild_golden::image_id::{compute, stamp};
use gild_golden::sbom::{Component, spdx};
use gild_golden::tree::{Content, Tree};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const STATUS: &str = "Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: arm64
Multi-Arch: same
Source: gcc-14
Version: 14.2.0-19
Description: GNU Standard C++ Library v3
 Version: not this one

Package: linux-image-arm64
Status: hold ok installed
Architecture: arm64
Version: 7.3.4-1~bpo13+1

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1:2.0
";

fn tree() -> Result<Tree> {
    let mut tree = Tree::default();
    tree.insert_file("var/lib/dpkg/status", 0o644, STATUS)?;
    tree.insert_file(
        "usr/lib/os-release",
        0o644,
        "ID=debian\nIMAGE_ID=old\nNAME=x",
    )?;
    tree.insert_symlink("etc/os-release", "../usr/lib/os-release")?;
    Ok(tree)
}

fn boot(text: &str) -> BTreeMap<String, Content> {
    BTreeMap::from([("cmdline.txt".to_owned(), text.into())])
}

#[test]
fn the_name_changes_with_everything_that_is_in_the_image_and_with_nothing_else() -> Result<()> {
    let name = compute("rpi5", &tree()?, &boot("quiet"), 1_700_000_000, 512)?;
    assert_eq!(name.len(), "rpi5-".len() + 12);
    assert_eq!(
        name,
        compute("rpi5", &tree()?, &boot("quiet"), 1_700_000_000, 512)?
    );

    let mut changed = tree()?;
    changed.insert_file("var/lib/dpkg/status", 0o600, STATUS)?;
    let others = [
        compute("rpi5", &changed, &boot("quiet"), 1_700_000_000, 512)?,
        compute("rpi5", &tree()?, &boot("quick"), 1_700_000_000, 512)?,
        compute("rpi5", &tree()?, &boot("quiet"), 1_700_000_001, 512)?,
        compute("rock5b", &tree()?, &boot("quiet"), 1_700_000_000, 512)?,
        compute("rpi5", &tree()?, &boot("quiet"), 1_700_000_000, 4096)?,
    ];
    for other in others {
        assert_ne!(name, other);
    }
    Ok(())
}

#[test]
fn the_name_is_in_the_image_where_others_look_for_it() -> Result<()> {
    let mut tree = tree()?;
    stamp(&mut tree, "rpi5", "rpi5-0123456789ab")?;
    assert_eq!(
        tree.read_text("usr/lib/os-release")?,
        "ID=debian\nNAME=x\nIMAGE_ID=gild-rpi5\nIMAGE_VERSION=0123456789ab\n"
    );
    assert_eq!(
        tree.read_text("usr/lib/gild/image-release")?,
        "GILD_BOARD=rpi5\nGILD_IMAGE_ID=rpi5-0123456789ab\n"
    );
    Ok(())
}

#[test]
fn the_list_has_every_installed_package_and_component_once() -> Result<()> {
    let k3s = Component {
        name: "k3s".to_owned(),
        version: "v1.34.1+k3s1".to_owned(),
        supplier: None,
        sha256: "ab".repeat(32),
    };
    let text = spdx(
        &tree()?,
        "rpi5-0123456789ab",
        1_700_000_000,
        std::slice::from_ref(&k3s),
    )?;
    assert_eq!(
        text,
        spdx(&tree()?, "rpi5-0123456789ab", 1_700_000_000, &[k3s])?
    );
    let document: Value = serde_json::from_str(&text)?;
    assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let packages = document["packages"].as_array().ok_or("no packages")?;
    let names: Vec<(&str, &str)> = packages[1..]
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?, package["versionInfo"].as_str()?)))
        .collect();
    assert_eq!(
        names,
        [
            ("libstdc++6", "14.2.0-19"),
            ("linux-image-arm64", "7.3.4-1~bpo13+1"),
            ("k3s", "v1.34.1+k3s1"),
        ]
    );
    assert_eq!(
        packages[1]["SPDXID"],
        "SPDXRef-Package-libstdcplusplus6-arm64"
    );
    assert_eq!(
        packages[1]["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=arm64"
    );
    assert_eq!(document["relationships"].as_array().map(Vec::len), Some(4));
    assert!(
        document["documentNamespace"]
            .as_str()
            .ok_or("no namespace")?
            .starts_with("urn:uuid:")
    );
    Ok(())
}
