//! Whole builds in seconds. The vendor's image is a stand-in, made by mke2fs after the layout that Armbian documents:
//! no real one is used here, and its kernel, initramfs, device tree and programs are a few bytes each.

mod stand_in;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use gild_boards::dtbo;
use gild_golden::base::Security;
use gild_golden::pipeline::{self, Built, Options};
use gild_golden::progress::Progress;
use gild_proof::trial;
use stand_in::{Site, Vendor};

/// Keeps the warnings.
#[derive(Default)]
struct Warnings(RefCell<Vec<String>>);

impl Progress for Warnings {
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
}

fn build(site: &Site, options: &Options) -> Built {
    pipeline::build(options, &site.path("disk.img"), &Warnings::default()).expect("an image")
}

fn refused(site: &Site, options: &Options) -> String {
    let error = pipeline::build(options, &site.path("disk.img"), &Warnings::default())
        .expect_err("a refusal");
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
        "/etc/netplan/10-dhcp-all-interfaces.yaml",
        "/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
        "/etc/systemd/system/multi-user.target.wants/armbian-firstrun.service",
        "/usr/lib/systemd/system/armbian-firstrun.service",
        "/etc/cloud/cloud.cfg.d/99-vendor.cfg",
        "/boot/vmlinuz-6.1.115-vendor-rk35xx",
        "/boot/dtb-6.1.115-vendor-rk35xx/rockchip/rk3588-rock-5b.dtb",
        "/etc/apparmor.d/chat",
        "/etc/.updated",
    ] {
        assert!(!root.exists(gone).expect("a path"), "{gone}");
    }
    assert!(root.exists("/etc/apparmor.d/upgrade").expect("a path"));
    let text = |path: &str| {
        root.read_to_string(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    assert_eq!(text("/srv/site"), "from the site's overlay\n");
    assert_eq!(text("/etc/vendor-release"), "armbian\n");
    assert_eq!(
        text("/usr/lib/systemd/system/cloud-init-local.service"),
        "[Unit]\nBefore=sysinit.target\n"
    );
    assert_eq!(
        root.read_link("/etc/systemd/system/NetworkManager.service")
            .ok()
            .map(|path| path.display().to_string()),
        Some("/dev/null".to_owned())
    );
    assert_eq!(
        text("/etc/gild/first-boot.toml"),
        "matchbox = \"https://matchbox.example:8443\"\nca = \"/etc/gild/matchbox-ca.pem\"\n\
         k3s_url = \"https://k3s.example:6443\"\n"
    );
    assert!(text("/etc/cloud/cloud.cfg.d/60-gild-site.cfg").contains("ssh-ed25519 AAAAC3"));
    assert!(text("/etc/modules-load.d/gild.conf").contains("br_netfilter"));
    assert!(text("/usr/lib/gild/image-release").contains(&built.image_id));
    let script = site.on_boot_partition("disk.img", "boot.scr");
    for line in ["} rk3588-rock-5b.dtb ", "setenv bootargs \"root=PARTUUID="] {
        assert!(script.contains(line), "{line}: {script}");
    }
    for file in trial::TOKENS.iter().chain([&trial::ON]) {
        let text = site.on_boot_partition("disk.img", file);
        assert!(text.contains("has not started yet"), "{file}: {text}");
    }
    let mark = site.on_boot_partition("disk.img", "gild-image.env");
    assert_eq!(mark, format!("image_id={}\nboard=rock5b\n", built.image_id));
}

#[test]
fn a_vendor_s_kernel_and_what_writes_where_it_starts_from_are_held() {
    for (vendor, held) in [
        (
            Vendor::Armbian,
            [
                "linux-image-vendor-rk35xx",
                "linux-dtb-vendor-rk35xx",
                "linux-u-boot-rock-5b-vendor",
                "armbian-bsp-cli-rock-5b",
            ]
            .as_slice(),
        ),
        (
            Vendor::RaspberryPiOs,
            &["linux-image-6.12.47-v8", "raspi-firmware"],
        ),
    ] {
        let site = Site::new();
        build(&site, &site.options(vendor));
        let status = site
            .root("disk.img")
            .read_to_string("/var/lib/dpkg/status")
            .expect("dpkg's status");
        for stanza in status.split_terminator("\n\n") {
            let name = stanza.lines().next().expect("a name");
            let name = name.strip_prefix("Package: ").expect("a name");
            let wanted = if held.contains(&name) {
                "hold"
            } else {
                "install"
            };
            assert!(
                stanza.contains(&format!("\nStatus: {wanted} ok installed\n")),
                "{stanza}"
            );
        }
        for name in held {
            assert!(status.contains(&format!("Package: {name}\n")), "{name}");
        }
    }
}

#[test]
fn the_build_names_the_site_s_files_that_the_seal_removes() {
    let site = Site::new();
    for (path, text) in [
        ("etc/apt/apt.conf.d/01proxy", "Acquire::Retries \"3\";\n"),
        ("etc/hosts", "192.0.2.1 registry.example\n"),
        (
            "etc/systemd/network/10-names.link",
            "[Match]\nDriver=r8169\n[Link]\nName=lan0\n",
        ),
        ("var/lib/cloud/data/site", "x"),
    ] {
        site.in_overlay(path, text);
    }
    let warnings = Warnings::default();
    let options = site.options(Vendor::Armbian);
    pipeline::build(&options, &site.path("disk.img"), &warnings).expect("an image");
    let warnings = warnings.0.into_inner();
    let taken = [
        "/etc/apt/apt.conf.d/01proxy",
        "/etc/hosts",
        "/var/lib/cloud/data/site",
    ];
    for path in taken {
        assert!(
            warnings.iter().any(|text| text.contains(path)),
            "{path}: {warnings:?}"
        );
    }
    // And a warning that the nodes' apt keeps the vendor's sources.
    assert_eq!(warnings.len(), taken.len() + 1, "{warnings:?}");
    let root = site.root("disk.img");
    assert!(
        root.exists("/etc/systemd/network/10-names.link")
            .expect("a path")
    );
}

#[test]
fn the_record_tells_files_apart_that_have_the_same_names() {
    let site = Site::new();
    let digests = || {
        let built = build(&site, &site.options(Vendor::Armbian));
        let record: serde_json::Value = serde_json::from_str(&built.record).expect("JSON");
        record["files"].clone()
    };
    let before = digests();
    for name in ["gild-seed", "gild-reprovision", "rootfs", "overlay 1"] {
        assert_eq!(before[name].as_str().map(str::len), Some(64), "{name}");
    }
    site.in_overlay("srv/site", "changed\n");
    let after = digests();
    assert_ne!(before["overlay 1"], after["overlay 1"]);
    assert_eq!(before["rootfs"], after["rootfs"]);
}

/// Has a file changed once the inputs are checked.
struct Meddler(std::path::PathBuf);

impl Progress for Meddler {
    fn stage(&self, text: &str) {
        if text.starts_with("base:") {
            let mut bytes = fs::read(&self.0).expect("a file");
            bytes.push(b'x');
            fs::write(&self.0, bytes).expect("a file");
        }
    }
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

#[test]
fn what_changes_while_it_is_built_becomes_no_image() {
    let site = Site::new();
    for name in [
        "overlay/srv/site",
        "programs/gild-seed",
        "k3s-arm64",
        "k3s-airgap-images-arm64.tar.zst",
    ] {
        let options = site.options(Vendor::Armbian);
        let output = site.path("disk.img");
        let error = pipeline::build(&options, &output, &Meddler(site.path(name)))
            .expect_err("another file than was checked");
        assert!(error.to_string().contains("build again"), "{name}: {error}");
        assert!(!output.exists(), "{name}");
    }
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
    // From nothing, in a separate cache.
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
    let proven = trial::without_trial(&config).expect("an image on trial");
    assert!(proven.ends_with("disable_splash=1\n"), "{proven}");
    // Only gild's card writes the boot EEPROM.
    let eeprom = "/etc/systemd/system/rpi-eeprom-update.service";
    let masked = root.read_link(eeprom).expect("a mask");
    assert_eq!(masked.display().to_string(), "/dev/null");
    let wanted = "/etc/systemd/system/multi-user.target.wants/rpi-eeprom-update.service";
    assert!(!root.exists(wanted).expect("a path"));
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
    // Its kernel comes with an overlay that fits its own tree.
    let overlay = site.on_boot_partition("disk.img", "overlays/bcm2712d0.dtbo");
    assert!(overlay.contains("vendors-own"), "{overlay}");
    // By the copy in the root `gild image inspect` knows it as the vendor's.
    let copy = dtbo::places_of_own("6.12.47-v8", "overlays/bcm2712d0.dtbo")
        .find_map(|place| root.read(format!("/{place}").as_str()).ok());
    let copy = copy.expect("the kernel's own");
    assert_eq!(String::from_utf8_lossy(&copy), overlay);
    // The other kernel there has pages of 16 KiB.
    let kernel = site.on_boot_partition("disk.img", "vmlinuz.gz");
    assert!(kernel.contains("-v8"), "{kernel}");
}

#[test]
fn what_is_not_a_file_of_public_keys_is_refused_with_what_to_give() {
    let site = Site::new();
    let good = || site.options(Vendor::Armbian);
    for (file, text, complaint) in [
        ("none.pub", None, "none.pub: No such file"),
        ("empty.pub", Some("# nothing\n"), "it has none"),
        (
            "notepad.pub",
            Some("s\0s\0h\0"),
            "notepad.pub is text in UTF-16; next: save it as plain text in UTF-8",
        ),
        ("text.pub", Some("text\n"), "line 1: this is not a public"),
        (
            "cut.pub",
            Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcI me\n"),
            "line 1: this is not a whole public key",
        ),
    ] {
        let path = site.path(file);
        if let Some(text) = text {
            fs::write(&path, text).expect("a file");
        }
        let mut options = good();
        options.site.authorized_keys = vec![path];
        let said = refused(&site, &options);
        assert!(
            said.contains(complaint) && said.contains("; next: "),
            "{file}: {said}"
        );
    }
}

#[test]
fn what_is_not_a_digest_is_not_said_to_be_another_one() {
    let site = Site::new();
    let good = || site.options(Vendor::Armbian);
    for given in ["ABC", ""] {
        let mut options = good();
        if let Some(base) = &mut options.base {
            base.sha256 = given.to_owned();
        }
        assert!(refused(&site, &options).contains("is not a SHA-256; next: "));
        let mut options = good();
        if let Some(k3s) = &mut options.k3s {
            k3s.sha256 = given.to_owned();
        }
        assert!(refused(&site, &options).contains("is not the SHA-256 of"));
    }
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
    assert!(refused(&site, &options).contains("not the name of a Debian package"));

    let mut options = good();
    options.first_boot = site.path("overlay");
    assert!(refused(&site, &options).contains("cargo build --release -p gild-node"));

    let mut options = good();
    options.site.authorized_keys = vec![site.secret_key()];
    assert!(refused(&site, &options).contains("private key"));

    for (url, complaint) in [
        ("matchbox.example", "not a URL"),
        ("https://matchbox.example:80800", "not a URL"),
        ("https://user:secret@matchbox.example", "a password"),
        ("http://matchbox.example:8080", "its address is not https"),
        ("https://[::1]:8443", "each node to itself"),
    ] {
        let mut options = good();
        options.site.matchbox = Some(url.to_owned());
        let said = refused(&site, &options);
        assert!(said.contains(complaint), "{url}: {said}");
    }

    for (url, complaint) in [
        ("https://k3s.example", "`k3s_url` has no port"),
        ("http://k3s.example:6443", "`k3s_url` must begin with https"),
        (
            "https://localhost:6443",
            "`k3s_url` is an address of the node",
        ),
    ] {
        let mut options = good();
        options.site.k3s_url = Some(url.to_owned());
        let said = refused(&site, &options);
        assert!(said.contains(complaint), "{url}: {said}");
    }

    fs::write(
        site.path("no-ca.pem"),
        "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
    )
    .expect("a file");
    let mut options = good();
    options.site.matchbox_ca = Some(site.path("no-ca.pem"));
    let said = refused(&site, &options);
    assert!(said.contains("0 of them can be read"), "{said}");

    let mut options = good();
    options.mirror = Some("https://me:secret@mirror.example/debian".to_owned());
    assert!(refused(&site, &options).contains("/etc/apt/auth.conf"));

    let mut options = good();
    options.mirror = Some("file:///srv/mirror/debian".to_owned());
    assert!(refused(&site, &options).contains("nodes must reach it too"));

    let mut options = good();
    options.mirror = Some("http://localhost:3142/mirror.example/debian".to_owned());
    assert!(refused(&site, &options).contains("on this machine itself"));

    let mut options = good();
    options.security = Security::At("http://127.0.0.1/security".to_owned());
    assert!(refused(&site, &options).contains("on this machine itself"));

    let options = good();
    let secret = site.path("overlay/srv/site");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert!(refused(&site, &options).contains("looks like a secret"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("a mode");

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

#[test]
fn the_images_of_k3s_have_the_given_digest_and_are_in_the_record() {
    let site = Site::new();
    let mut options = site.options(Vendor::Armbian);
    let record = build(&site, &options).record;
    assert!(record.contains("rancher/mirrored-pause:3.6"), "{record}");
    std::fs::remove_file(site.path("disk.img")).expect("the image");
    let k3s = options.k3s.as_mut().expect("k3s");
    let images = k3s.airgap_images.as_mut().expect("images");
    images.sha256 = "0".repeat(64);
    let said = refused(&site, &options);
    assert!(
        said.contains("airgap-images") && said.contains("SHA-256"),
        "{said}"
    );
}

#[test]
fn an_image_says_that_it_is_to_have_no_security_updates() {
    const MARK: &str = "/usr/lib/gild/without-security-updates";
    let site = Site::new();
    let mut options = site.options(Vendor::Armbian);
    for (security, marked) in [(Security::Without, true), (options.security.clone(), false)] {
        options.security = security;
        build(&site, &options);
        let root = site.root("disk.img");
        assert_eq!(root.exists(MARK).expect("a path"), marked);
        // A package that nobody fetches is not installed either.
        let periodic = root.read_to_string("/etc/apt/apt.conf.d/90gild-periodic");
        let switch = format!("Unattended-Upgrade \"{}\";", u8::from(!marked));
        assert!(periodic.expect("apt's timers").contains(&switch));
    }
}

#[test]
fn an_image_whose_nodes_ask_nobody_says_so() {
    let site = Site::new();
    let mut options = site.options(Vendor::Armbian);
    options.site.matchbox = None;
    options.site.matchbox_ca = None;
    options.site.k3s_url = None;
    assert!(refused(&site, &options).contains("--without-matchbox"));
    options.site.without_matchbox = true;
    options.site.authorized_keys.clear();
    options.mirror = Some("http://apt/debian".to_owned());
    let warnings = Warnings::default();
    pipeline::build(&options, &site.path("disk.img"), &warnings).expect("an image");
    let said = site
        .root("disk.img")
        .read_to_string("/etc/gild/first-boot.toml");
    assert_eq!(said.ok().as_deref(), Some("without_matchbox = true\n"));
    let warnings = warnings.0.into_inner();
    assert!(
        matches!(&*warnings, [login, name, sources] if login.contains("nobody can ever log in")
            && name.contains("http://apt/debian") && sources.contains("the vendor's image")),
        "{warnings:?}"
    );
}

#[test]
fn a_site_s_own_settings_of_first_boot_are_kept_or_refused() {
    const SETTINGS: &str = "etc/gild/first-boot.toml";
    let site = Site::new();
    site.in_overlay(SETTINGS, "deadline_seconds = 300\n");
    let said = refused(&site, &site.options(Vendor::Armbian));
    assert!(said.contains("--matchbox writes /etc/gild"), "{said}");

    let mut options = site.options(Vendor::Armbian);
    options.site.matchbox = None;
    options.site.matchbox_ca = None;
    options.site.k3s_url = None;
    let said = refused(&site, &options);
    assert!(said.contains("`without_matchbox = true`"), "{said}");
    let own = "deadline_seconds = 300\nwithout_matchbox = true\n";
    site.in_overlay(SETTINGS, own);
    build(&site, &options);
    let kept = site
        .root("disk.img")
        .read_to_string("/etc/gild/first-boot.toml");
    assert_eq!(kept.ok().as_deref(), Some(own));
    fs::remove_file(site.path("disk.img")).expect("the image");

    site.in_overlay(SETTINGS, "deadline_secs = 300\n");
    assert!(refused(&site, &options).contains("unknown field"));
    // Certificates that a package might bring are looked for once the packages are there.
    site.in_overlay(
        SETTINGS,
        "matchbox = \"https://mb.example\"\nca = \"/usr/share/site/ca.pem\"\n",
    );
    let said = refused(&site, &options);
    assert!(said.contains("the image does not have"), "{said}");
}
