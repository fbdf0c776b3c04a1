//! The recipes of the boards, and what is said about a mistake in one.

use std::fs;
use std::path::{Path, PathBuf};

use gild_golden::recipe::{Loader, Recipe};
use gild_golden::tree::Tree;
use tempfile::TempDir;

fn of_board(board: &str) -> Recipe {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards");
    Recipe::read(&boards.join(board).join("image.toml")).expect("the board's recipe")
}

const GOOD: &str = r#"
suite = "trixie"
components = ["main"]
packages = ["udev"]
kernel_arguments = ["quiet"]
[boot]
loader = "u-boot"
[boot.device_trees]
"board.dtb" = "vendor/board.dtb"
"#;

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file in a folder of the test");
    path
}

#[test]
fn every_board_has_a_recipe() {
    for board in gild_boards::all() {
        let recipe = of_board(&board.name);
        let console = format!("console={},{}", board.console.device, board.console.baud);
        // Services write to the last console.
        assert_eq!(recipe.kernel_arguments.last(), Some(&console));
        assert!(
            recipe
                .kernel_arguments
                .contains(&"cgroup_enable=memory".to_owned())
        );
        for device_tree in &board.dtb {
            assert!(
                recipe
                    .boot
                    .device_trees
                    .values()
                    .any(|path| path == device_tree),
                "{}: {device_tree}",
                board.name
            );
        }
        let overlays: Vec<&String> = recipe.boot.overlays.keys().collect();
        let stepping = board.stepping.as_ref();
        let wanted: Vec<&String> = stepping
            .map(|stepping| &stepping.overlay)
            .into_iter()
            .collect();
        assert_eq!(overlays, wanted, "{}", board.name);
        for overlay in recipe.boot.overlays.values() {
            let vendor_dtb = stepping.map(|stepping| stepping.vendor_dtb.as_str());
            assert_eq!(overlay.from, board.base_dtb());
            assert_eq!(Some(overlay.to.as_str()), vendor_dtb);
        }
        // The firmware's check stays on, and it loads no overlay that it does not choose itself.
        assert!(!recipe.boot.config.contains("os_check"));
        assert!(!recipe.boot.config.contains("dtoverlay"));
    }
}

#[test]
fn the_boards_share_the_base_that_takes_so_long() {
    let (one, other) = (of_board("rpi5"), of_board("rock5b"));
    assert_eq!(one.packages, other.packages);
    assert_eq!(one.backports, other.backports);
    assert_eq!(one.initramfs_modules, other.initramfs_modules);
    assert_eq!((one.suite, one.components), (other.suite, other.components));
}

#[test]
fn nodes_install_security_updates_unless_a_recipe_says_not() {
    for board in gild_boards::all() {
        let recipe = of_board(&board.name);
        assert!(recipe.updates.security);
        assert!(recipe.packages.contains(&"unattended-upgrades".to_owned()));
    }
    let folder = TempDir::new().expect("a folder");
    let own = write(&folder, "own.toml", GOOD);
    assert!(Recipe::read(&own).expect("a recipe").updates.security);
    let text = "extends = \"own.toml\"\n[updates]\nsecurity = false\n";
    let off = Recipe::read(&write(&folder, "off.toml", text)).expect("a recipe");
    assert!(!off.updates.security);
}

#[test]
fn the_initramfs_has_the_drivers_of_each_board_s_disks() {
    for board in gild_boards::all() {
        let recipe = of_board(&board.name);
        for module in &board.modules {
            let on_the_way = ["NVMe", "target", "SD card", "PCIe"]
                .iter()
                .any(|word| module.why.contains(word))
                && !module.why.contains("Ethernet");
            assert!(
                !on_the_way || recipe.initramfs_modules.contains(&module.name),
                "{}: {} ({})",
                board.name,
                module.name,
                module.why
            );
        }
    }
}

#[test]
fn a_recipe_adds_to_the_one_it_extends_and_has_the_last_word() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, "base.toml", GOOD);
    let path = write(
        &folder,
        "site.toml",
        "extends = \"base.toml\"\nsuite = \"forky\"\npackages = [\"htop\", \"udev\"]\n\
         modules = [\"nbd\"]\n[sysctls]\n\"vm.swappiness\" = 1\n\"kernel.core_pattern\" = \"|/bin/false\"\n",
    );
    let recipe = Recipe::read(&path).expect("a recipe");
    assert_eq!(recipe.suite, "forky");
    assert_eq!(recipe.packages, ["udev", "htop"]);
    assert_eq!(recipe.kernel_arguments, ["quiet"]);
    assert_eq!(recipe.boot.loader, Loader::UBoot);
    let mut tree = Tree::default();
    recipe.install(&mut tree).expect("an empty tree");
    assert_eq!(
        tree.read_text("etc/modules-load.d/gild.conf")
            .ok()
            .as_deref(),
        Some("nbd\n")
    );
    assert_eq!(
        tree.read_text("etc/sysctl.d/90-gild.conf").ok().as_deref(),
        Some("kernel.core_pattern = |/bin/false\nvm.swappiness = 1\n")
    );
}

#[test]
fn a_mistake_is_found_and_named() {
    let folder = TempDir::new().expect("a folder");
    let good = write(&folder, "good.toml", GOOD);
    Recipe::read(&good).expect("the recipe before the mistake");
    for (right, wrong, complaint) in [
        ("suite = \"trixie\"", "", "`suite` is missing"),
        ("[\"main\"]", "[]", "`components` is empty"),
        (
            "[\"udev\"]",
            "[\"udev,evil\"]",
            "`packages` has \"udev,evil\"",
        ),
        ("[\"udev\"]", "[\"--force-yes\"]", "`packages` has"),
        ("packages =", "package =", "unknown field `package`"),
        ("[\"quiet\"]", "[\"quiet splash\"]", "a separate entry"),
        (
            "[\"quiet\"]",
            "[\"root=/dev/sda1\"]",
            "the builder gives `root=`",
        ),
        (
            "[\"quiet\"]",
            "[\"reserve=$x\"]",
            "\"reserve=$x\" has a character that is special to U-Boot's shell",
        ),
        (
            "\"board.dtb\" =",
            "\"a;b.dtb\" =",
            "\"a;b.dtb\" has a character that is special to U-Boot's shell",
        ),
        (
            "loader = \"u-boot\"",
            "loader = \"raspberry-pi\"\nconfig = \"kernel=x\\n# gild-trial: end\\n\"",
            "`boot.config` has the line `# gild-trial: end`",
        ),
        (
            "\"vendor/board.dtb\"",
            "\"../board.dtb\"",
            "not both relative paths",
        ),
        (
            "[boot.device_trees]",
            "[boot.overlays]\n\"../new.dtbo\" = { from = \"board.dtb\", to = \"board.dtb\" }\n[boot.device_trees]",
            "`boot.overlays` has \"../new.dtbo\"",
        ),
        (
            "[boot.device_trees]",
            "[boot.overlays]\n\"new.dtbo\" = { from = \"board.dtb\", to = \"new.dtb\" }\n[boot.device_trees]",
            "with \"new.dtb\", which is not in `boot.device_trees`",
        ),
        (
            "loader = \"u-boot\"",
            "loader = \"raspberry-pi\"",
            "`boot.config` is missing",
        ),
        (
            "loader = \"u-boot\"",
            "loader = \"grub\"",
            "unknown variant `grub`",
        ),
        (
            "suite =",
            "extends = \"none.toml\"\nsuite =",
            "none.toml: cannot be read",
        ),
        ("suite =", "extends = \"bad.toml\"\nsuite =", "in a circle"),
    ] {
        let text = GOOD.replacen(right, wrong, 1);
        assert_ne!(text, GOOD, "{right} is not in the recipe");
        let path = write(&folder, "bad.toml", &text);
        let error = Recipe::read(&path).expect_err(wrong).to_string();
        assert!(error.contains(complaint), "{wrong}: {error}");
        assert!(error.contains(".toml"), "{error}");
    }
}
