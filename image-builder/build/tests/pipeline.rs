//! Whole builds in seconds. The vendor's image is a stand-in, made by mke2fs after the layout that Armbian documents:
//! no real one is used here, and its kernel, initramfs, device tree and programs are a few bytes each.

mod stand_in;

use std::fs;

use gild_build::pipeline::{self, Built, Options};
use gild_build::progress::Progress;
use stand_in::{Site, Vendor};

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

fn build(site: &Site, options: &Options) -> Built {
    pipeline::build(options, &site.path("disk.img"), &Silent).expect("an image")
}

fn refused(site: &Site, options: &Options) -> String {
    let error = pipeline::build(options, &site.path("disk.img"), &Silent).expect_err("a refusal");
    assert!(!site.path("disk.img").exists(), "an image all the same");
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        said = format!("{said}: {source}");
        cause = source.source();
    }
    said
}

#[test]
fn a_vendor_s_root_becomes_a_golden_image_without_its_first_boot() {
    let site = Site::new();
    let options = site.options(Vendor::Armbian);
    let built = build(&site, &options);
    let root = site.root("disk.img");
    for gone in [
        "/root/.not_logged_in_yet",
        "/etc/systemd/system/multi-user.target.wants/armbian-firstrun.service",
        "/usr/lib/systemd/system/armbian-firstrun.service",
        "/etc/cloud/cloud.cfg.d/99-vendor.cfg",
        "/boot/vmlinuz-6.1.115-vendor-rk35xx",
    ] {
        assert!(!root.exists(gone).expect("a path"), "{gone}");
    }
    let text = |path: &str| {
        root.read_to_string(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    assert_eq!(text("/srv/site"), "from the site's overlay\n");
    assert_eq!(text("/etc/vendor-release"), "armbian\n");
    assert_eq!(
        root.read_link("/etc/systemd/system/NetworkManager.service")
            .ok()
            .map(|path| path.display().to_string()),
        Some("/dev/null".to_owned())
    );
    assert_eq!(
        text("/etc/gild/first-boot.toml"),
        "matchbox = \"https://matchbox.example:8443\"\nca = \"/etc/gild/matchbox-ca.pem\"\n"
    );
    assert!(text("/etc/cloud/cloud.cfg.d/60-gild-site.cfg").contains("ssh-ed25519 AAAAC3"));
    assert!(text("/etc/modules-load.d/gild.conf").contains("br_netfilter"));
    assert!(text("/usr/lib/gild/image-release").contains(&built.image_id));
    let extlinux = site.on_boot_partition("disk.img", "extlinux/extlinux.conf");
    assert!(extlinux.contains("fdt /rk3588-rock-5b.dtb"), "{extlinux}");
    assert!(extlinux.contains("append root=PARTUUID="), "{extlinux}");
    let mark = site.on_boot_partition("disk.img", "gild-image.env");
    assert_eq!(mark, format!("image_id={}\nboard=rock5b\n", built.image_id));
}

#[test]
fn k3s_is_installed_and_neither_enabled_nor_configured() {
    let site = Site::new();
    build(&site, &site.options(Vendor::Armbian));
    let root = site.root("disk.img");
    let program = root.metadata("/usr/local/bin/k3s").expect("k3s");
    assert_eq!((program.mode(), program.uid()), (0o755, 0));
    for link in ["kubectl", "crictl", "ctr"] {
        let target = root
            .read_link(format!("/usr/local/bin/{link}").as_str())
            .expect(link);
        assert_eq!(target.display().to_string(), "k3s");
    }
    let unit = root
        .read_to_string("/etc/systemd/system/k3s-agent.service")
        .expect("the unit");
    assert!(
        unit.contains("ExecStart=/usr/local/bin/k3s agent\n"),
        "{unit}"
    );
    for absent in [
        "/etc/systemd/system/multi-user.target.wants/k3s-agent.service",
        "/etc/rancher",
        "/etc/systemd/system/k3s.service",
    ] {
        assert!(!root.exists(absent).expect("a path"), "{absent}");
    }
    let images = "/var/lib/rancher/k3s/agent/images/k3s-airgap-images-arm64.tar.zst";
    assert!(root.exists(images).expect("a path"));
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_another_overlay_another_name() {
    let site = Site::new();
    let options = site.options(Vendor::Armbian);
    let first = build(&site, &options);
    let bytes = fs::read(site.path("disk.img")).expect("an image");
    // From nothing, in a cache of its own.
    let again = Options {
        cache: site.path("another-cache"),
        ..site.options(Vendor::Armbian)
    };
    let second = build(&site, &again);
    assert!(
        bytes == fs::read(site.path("disk.img")).expect("an image"),
        "the images differ"
    );
    assert_eq!(
        (&first.image_id, &first.sbom),
        (&second.image_id, &second.sbom)
    );

    fs::write(site.path("overlay/srv/site"), "changed\n").expect("the overlay");
    let third = build(&site, &options);
    assert_ne!(first.image_id, third.image_id);
}

#[test]
fn a_raspberry_pi_s_image_has_its_root_behind_a_fat_partition() {
    let site = Site::new();
    build(&site, &site.options(Vendor::RaspberryPiOs));
    let root = site.root("disk.img");
    assert_eq!(
        root.read_to_string("/etc/vendor-release").ok().as_deref(),
        Some("raspberry pi os\n")
    );
    assert!(
        !root
            .exists("/usr/lib/systemd/system/userconfig.service")
            .expect("a path")
    );
    let config = site.on_boot_partition("disk.img", "config.txt");
    assert!(config.contains("kernel=vmlinuz.gz"), "{config}");
    // Raspberry Pi's kernel calls the device tree of the newer stepping as its firmware does.
    for name in [
        "bcm2712-rpi-5-b.dtb",
        "bcm2712d0-rpi-5-b.dtb",
        "cmdline.txt",
        "initrd.img",
    ] {
        assert!(
            !site.on_boot_partition("disk.img", name).is_empty(),
            "{name}"
        );
    }
    // The other kernel there has pages of 16 KiB.
    let kernel = site.on_boot_partition("disk.img", "vmlinuz.gz");
    assert!(kernel.contains("-v8"), "{kernel}");
}

#[test]
fn what_cannot_become_an_image_is_refused_with_a_way_out() {
    let site = Site::new();
    let good = || site.options(Vendor::Armbian);
    let mut options = good();
    if let Some(base) = &mut options.base {
        base.sha256 = "0".repeat(64);
    }
    let said = refused(&site, &options);
    assert!(
        said.contains("fetch it again") && said.contains("000000"),
        "{said}"
    );

    let mut options = good();
    if let Some(k3s) = &mut options.k3s {
        k3s.sha256 = "0".repeat(64);
    }
    assert!(refused(&site, &options).contains("from the same release"));

    let mut options = good();
    options.packages = vec!["evil;reboot".to_owned()];
    assert!(refused(&site, &options).contains("no name of a Debian package"));

    let mut options = good();
    options.first_boot = site.path("overlay");
    assert!(refused(&site, &options).contains("cargo build --release -p gild-first-boot"));

    let mut options = good();
    options.site.authorized_keys = vec![site.secret_key()];
    assert!(refused(&site, &options).contains("private key"));

    for (url, complaint) in [
        ("matchbox.example", "no address of a Matchbox"),
        (
            "https://user:secret@matchbox.example",
            "no address of a Matchbox",
        ),
        ("http://matchbox.example:8080", "no https address"),
    ] {
        let mut options = good();
        options.site.matchbox = Some(url.to_owned());
        let said = refused(&site, &options);
        assert!(said.contains(complaint), "{url}: {said}");
    }

    let mut options = good();
    options.mirror = Some("https://me:secret@mirror.example/debian".to_owned());
    assert!(refused(&site, &options).contains("/etc/apt/auth.conf"));

    let mut options = good();
    options.mke2fs = site.path("none");
    assert!(refused(&site, &options).contains("make setup"));

    let mut options = good();
    options.recipe = site.path("enables-nothing.toml");
    fs::write(
        &options.recipe,
        format!(
            "extends = {:?}\n[units]\nenable = [\"none.service\"]\n",
            site.recipe(Vendor::Armbian)
        ),
    )
    .expect("a recipe");
    assert!(refused(&site, &options).contains("no such unit"));
}

#[test]
fn a_vendor_s_file_that_is_no_disk_of_an_operating_system_is_refused() {
    let site = Site::new();
    for (name, bytes, complaint) in [
        ("empty.img", vec![0; 1 << 20], "has no partitions"),
        ("text.img.xz", b"not xz at all".to_vec(), "unpack"),
        ("disk.iso", vec![0; 512], "is not called *.img"),
    ] {
        let options = site.options_with_base(name, &bytes);
        let said = refused(&site, &options);
        assert!(said.contains(complaint), "{name}: {said}");
    }
}
