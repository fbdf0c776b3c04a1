//! Vendors' images that are laid out in other ways. They are stand-ins: btrfs is only its signature, and a
//! kernel is a few bytes.

mod stand_in;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use gild_golden::base_image::BaseImage;
use gild_golden::cache::sha256_of;
use gild_golden::pipeline::{self, Options};
use gild_golden::progress::Progress;
use stand_in::{Site, Vendor};

const MIB: u64 = 1 << 20;

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// A disk image of 80 MiB whose partitions start at 16 and at 48 MiB.
fn disk(site: &Site) -> File {
    let path = site.path("own.img");
    let disk = File::create(&path).expect("a file");
    disk.set_len(80 * MIB).expect("a size");
    shell(
        site,
        "printf 'label: dos\\nstart=32768, size=65536, type=83\\nstart=98304, type=83\\n' | sfdisk -q own.img",
    );
    disk
}

/// An ext4 file system with the files of a folder, in a partition of the disk image.
fn fill(site: &Site, folder: &str, start: u64) {
    shell(
        site,
        &format!(
            "mke2fs -q -t ext4 -d {folder} -E offset={} own.img 28M",
            start * MIB
        ),
    );
}

fn shell(site: &Site, script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(site.path("."))
        .status()
        .expect("a shell");
    assert!(status.success(), "{script}");
}

/// The options for a build from this image. The stand-in of Armbian's root is in `vendor-root`.
fn options(site: &Site, image: &str) -> Options {
    let path = site.path(image);
    let sha256 = sha256_of(&path).expect("the image");
    Options {
        base: Some(BaseImage { path, sha256 }),
        ..site.options(Vendor::Armbian)
    }
}

fn refused(site: &Site, options: &Options) -> String {
    let error = pipeline::build(options, &site.path("disk.img"), &Silent).expect_err("a refusal");
    whole(&error)
}

fn whole(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        said = format!("{said}: {source}");
        cause = source.source();
    }
    said
}

/// A site whose `vendor-root` is there.
fn site() -> Site {
    let site = Site::new();
    site.options(Vendor::Armbian);
    site
}

#[test]
fn a_root_that_is_btrfs_is_refused_by_its_name() {
    let site = site();
    let disk = disk(&site);
    fs::create_dir(site.path("boot")).expect("a folder");
    fs::write(site.path("boot/vmlinuz-6.1"), "a kernel").expect("a file");
    fill(&site, "boot", 16);
    disk.write_all_at(b"_BHRfS_M", 48 * MIB + 0x1_0040)
        .expect("written");
    let said = refused(&site, &options(&site, "own.img"));
    assert!(
        said.contains("is btrfs, and gild reads only ext4; next: "),
        "{said}"
    );
}

#[test]
fn an_image_of_another_release_is_refused_by_its_name() {
    let site = site();
    for (release, name) in [
        ("ID=debian\nVERSION_CODENAME=\"bookworm\"\n", "is bookworm"),
        ("ID=debian\n", "is of no release"),
    ] {
        disk(&site);
        fs::write(site.path("vendor-root/usr/lib/os-release"), release).expect("a file");
        fill(&site, "vendor-root", 48);
        let said = refused(&site, &options(&site, "own.img"));
        assert!(
            said.contains(name) && said.contains("are from trixie") && said.contains("next: "),
            "{said}"
        );
    }
}

#[test]
fn a_kernel_on_a_separate_boot_partition_is_refused_by_name() {
    let site = site();
    // By what is there, and by what is to be mounted.
    for (boot, fstab) in [
        ("boot/vmlinuz-6.1", ""),
        ("boot/other", "UUID=1 /boot ext4\n"),
    ] {
        disk(&site);
        shell(
            &site,
            "rm -rf boot root; mkdir boot; cp -a vendor-root root; rm -r root/boot",
        );
        fs::write(site.path(boot), "a file").expect("a file");
        fs::write(site.path("root/etc/fstab"), fstab).expect("a file");
        fill(&site, "boot", 16);
        fill(&site, "root", 48);
        let said = refused(&site, &options(&site, "own.img"));
        assert!(said.contains("on a separate partition"), "{said}");
    }
    // A root with its kernel may have other partitions.
    disk(&site);
    shell(&site, "echo 'UUID=1 /boot ext4' >vendor-root/etc/fstab");
    fill(&site, "boot", 16);
    fill(&site, "vendor-root", 48);
    pipeline::build(&options(&site, "own.img"), &site.path("disk.img"), &Silent).expect("an image");
}

#[test]
fn an_image_for_disks_with_large_sectors_is_read() {
    let site = site();
    let mut disk = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(site.path("own.img"))
        .expect("a file");
    disk.set_len(80 * MIB).expect("a size");
    let mut table = gptman::GPT::new_from(&mut disk, 4096, [7; 16]).expect("a table");
    table[1] = gptman::GPTPartitionEntry {
        partition_type_guid: [8; 16],
        unique_partition_guid: [9; 16],
        starting_lba: 48 * MIB / 4096,
        ending_lba: 78 * MIB / 4096 - 1,
        attribute_bits: 0,
        partition_name: "root".into(),
    };
    table.write_into(&mut disk).expect("written");
    gptman::GPT::write_protective_mbr_into(&mut disk, 4096).expect("written");
    fill(&site, "vendor-root", 48);
    pipeline::build(&options(&site, "own.img"), &site.path("disk.img"), &Silent).expect("an image");
}

#[test]
fn an_image_for_another_board_or_processor_is_refused_before_packages_are_added() {
    let site = site();
    let mut options = options(&site, "vendor.img");
    // A package that no mirror has: nothing gets as far as asking for it.
    options.packages = vec!["no-such-package".to_owned()];
    let armbian = options.recipe.clone();
    options.board = "rpi5".to_owned();
    options.recipe = site.recipe(Vendor::RaspberryPiOs);
    let said = refused(&site, &options);
    for words in [
        "does not fit rpi5: kernel 6.1.115-vendor-rk35xx has no device tree",
        "next: take the vendor's image for this board",
    ] {
        assert!(said.contains(words), "{said}");
    }

    disk(&site);
    shell(
        &site,
        "sed -i 's/^Architecture: arm64/Architecture: armhf/' vendor-root/var/lib/dpkg/status",
    );
    fill(&site, "vendor-root", 48);
    let said = refused(
        &site,
        &Options {
            recipe: armbian,
            packages: options.packages,
            ..self::options(&site, "own.img")
        },
    );
    assert!(said.contains("are for armhf, and nodes run"), "{said}");
}

#[test]
fn a_long_window_of_zstd_is_unpacked() {
    let site = site();
    // From a pipe, so that zstd does not know that the file is shorter.
    shell(&site, "cat vendor.img | zstd -q -1 --long=31 >long.img.zst");
    let header = fs::read(site.path("long.img.zst")).expect("the file");
    assert_eq!(header[5], (31 - 10) << 3, "the window is not the longest");
    let image = site.path("disk.img");
    pipeline::build(&options(&site, "long.img.zst"), &image, &Silent).expect("an image");
    assert!(Path::new(&image).exists());
}

#[test]
fn an_image_whose_end_is_missing_is_said_to_be_cut_off() {
    let site = site();
    shell(
        &site,
        "xz -1 -c vendor.img | head -c 5000 > cut.img.xz; gzip -1 -c vendor.img | head -c 5000 > cut.img.gz",
    );
    for image in ["cut.img.xz", "cut.img.gz"] {
        let said = refused(&site, &options(&site, image));
        assert!(
            said.contains("its end is missing; next: fetch it again"),
            "{said}"
        );
    }
}

#[test]
fn a_root_without_a_kernel_is_refused_with_one_way_out() {
    let site = site();
    disk(&site);
    shell(
        &site,
        "rm -r vendor-root/boot/* vendor-root/usr/lib/modules/*",
    );
    fill(&site, "vendor-root", 48);
    let said = refused(&site, &options(&site, "own.img"));
    assert!(said.contains("has no kernel"), "{said}");
    assert_eq!(said.matches("next: ").count(), 1, "{said}");
}
