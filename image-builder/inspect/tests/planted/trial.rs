//! The way back of an image that has not started yet.

use std::fs;

use super::Defect::Before;
use super::Planted;
use crate::common::Golden;

const RULE: &str = "trial";
const CONFIG: &str = "config.txt";
const ORDER: &str = "[all]\nset_reboot_order=0xf61\n";

fn remove(golden: &Golden, path: &str) {
    golden.rock5b();
    fs::remove_file(golden.boot(path)).expect("it was there");
}

fn script(golden: &Golden, old: &str, new: &str) {
    golden.rock5b();
    golden.replace_script(old, new);
}

pub fn defects() -> Vec<Planted> {
    vec![
        (
            RULE,
            "no marks",
            Before(|golden| golden.replace_boot(CONFIG, "# gild-trial: end", "#")),
        ),
        (
            RULE,
            "no restart order",
            Before(|golden| golden.replace_boot(CONFIG, ORDER, "")),
        ),
        (
            RULE,
            "an order for other boards",
            Before(|golden| golden.replace_boot(CONFIG, ORDER, &ORDER.replace("all", "pi4"))),
        ),
        (
            RULE,
            "another order behind it",
            Before(|golden| {
                let later = "# gild-trial: end\nset_reboot_order = 0xf16";
                golden.replace_boot(CONFIG, "# gild-trial: end", later);
            }),
        ),
        (
            RULE,
            "the same order outside of the marks",
            Before(|golden| {
                golden.replace_boot(CONFIG, "kernel=", "set_reboot_order=0xf61\nkernel=");
            }),
        ),
        (
            RULE,
            "not on trial",
            Before(|golden| remove(golden, "gild-trial/on")),
        ),
        (
            RULE,
            "one start less",
            Before(|golden| remove(golden, "gild-trial/3")),
        ),
        (
            RULE,
            "a script that uses no start up",
            Before(|golden| script(golden, "fatrm", "ls")),
        ),
        (
            RULE,
            "a script that does not look at the last start",
            Before(|golden| script(golden, " gild-trial/3", "")),
        ),
        (
            RULE,
            "a script that asks no card",
            Before(|golden| script(golden, "source ", "echo ")),
        ),
        (
            RULE,
            "a script that starts a kernel first",
            Before(|golden| script(golden, "if test -e", "booti ${k} ${r} ${f}\nif test -e")),
        ),
        (
            RULE,
            "what U-Boot takes before the script",
            Before(|golden| {
                golden.rock5b();
                golden.put_boot("extlinux/extlinux.conf", "label gild\n");
            }),
        ),
        (
            "boot-files",
            "a file that boot.scr names",
            Before(|golden| script(golden, "initrd.img", "own.img")),
        ),
        (
            "kernel-arguments",
            "the wizard, in boot.scr",
            Before(|golden| script(golden, "systemd.firstboot=off", "")),
        ),
    ]
}
