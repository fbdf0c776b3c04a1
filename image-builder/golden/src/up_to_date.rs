//! The stamps by which systemd knows that /etc and /var fit /usr.
//!
//! Without them the first start makes again what the packages have made while the image was built: the linker's cache, the journal's
//! catalog, the hardware database, users (`ConditionNeedsUpdate=` in systemd.unit(5)).

use crate::tree::{Tree, TreeError};

const STAMPS: [&str; 2] = ["etc/.updated", "var/.updated"];
/// What they are, for people. Their time is that of the image, and nothing in the image is younger.
const TEXT: &str =
    "# Made with the image: systemd has nothing to bring up to date at the first start.\n";

/// What those steps read.
const READ: [&str; 5] = [
    "etc/ld.so.conf{,.d/*}",
    "{,usr/}{,local/}lib{,64}/**/*.so{,.*}",
    "{etc,{,usr/}{,local/}lib}/sysusers.d/*",
    "{etc,{,usr/}lib}/udev/hwdb.d/*",
    "{,usr/}lib/systemd/catalog/*",
];

/// Says that nothing is to be brought up to date, unless a file of the site's overlays has to be read for that.
pub fn stamp(tree: &mut Tree, of_the_site: &[String]) -> Result<(), TreeError> {
    for pattern in READ {
        if tree
            .glob(pattern)?
            .iter()
            .any(|path| of_the_site.contains(path))
        {
            return Ok(());
        }
    }
    for path in STAMPS {
        tree.insert_file(path, 0o644, TEXT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_stamped(of_the_site: &str) -> bool {
        let mut tree = Tree::default();
        for path in ["usr/lib/aarch64-linux-gnu/libc.so.6", of_the_site] {
            tree.insert_file(path, 0o644, "").expect("a file");
        }
        stamp(&mut tree, &[of_the_site.to_owned()]).expect("a tree");
        STAMPS.iter().all(|path| tree.contains(path))
    }

    #[test]
    fn the_first_start_brings_nothing_up_to_date_but_the_site_s_files() {
        assert!(is_stamped("etc/site.conf"));
        for path in [
            "usr/local/lib/libsite.so.1",
            "usr/lib/aarch64-linux-gnu/libsite.so",
            "etc/ld.so.conf.d/site.conf",
            "usr/lib/sysusers.d/site.conf",
            "etc/udev/hwdb.d/90-site.hwdb",
            "usr/lib/systemd/catalog/site.catalog",
        ] {
            assert!(!is_stamped(path), "{path}");
        }
    }
}
