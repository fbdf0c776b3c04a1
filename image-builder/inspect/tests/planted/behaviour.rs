//! What will start.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "units-enabled",
            "no ssh",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/ssh.service";
                fs::remove_file(golden.root(link)).expect("it was there");
            }),
        ),
        (
            "units-not-enabled",
            "the agent",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/k3s-agent.service";
                golden.link("/etc/systemd/system/k3s-agent.service", link);
            }),
        ),
        (
            "units-not-enabled",
            "an ordering cycle",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/k3s-init.service";
                golden.link("/usr/lib/systemd/system/k3s-init.service", link);
            }),
        ),
        (
            "cloud-init-source",
            "a second source by a link",
            Before(|golden| {
                golden.put("usr/share/site/none", "datasource_list: [ None ]\n");
                golden.link("/usr/share/site/none", "etc/cloud/cloud.cfg.d/99-site.cfg");
            }),
        ),
        (
            "cloud-init-source",
            "a second source",
            Before(|golden| {
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    "datasource_list: [ NoCloud, None ]\n",
                );
            }),
        ),
        (
            "cloud-init-source",
            "a network in a later file",
            Before(|golden| {
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    "\"network\":\n  version: 2\n",
                );
            }),
        ),
        (
            "cloud-init-source",
            "among the kernel's arguments",
            Before(|golden| golden.replace_boot("cmdline.txt", "rootwait", "ds=nocloud;s=/srv/")),
        ),
        (
            "units-not-enabled",
            "an update of firmware",
            Before(|golden| {
                let link = "etc/systemd/system/multi-user.target.wants/rpi-eeprom-update.service";
                golden.link("/usr/lib/systemd/system/rpi-eeprom-update.service", link);
            }),
        ),
        (
            "owners",
            "of the builder",
            Before(|golden| {
                golden.put("etc/initramfs-tools/hooks/gild", "#!/bin/sh\n");
                let hook = golden.root("etc/initramfs-tools/hooks/gild");
                std::os::unix::fs::chown(hook, Some(1000), Some(1000)).expect("root runs this");
            }),
        ),
        (
            "gild-programs",
            "of another mode",
            Before(|golden| {
                let mode = fs::Permissions::from_mode(0o777);
                fs::set_permissions(golden.root("usr/lib/gild/gild-seed"), mode).expect("own file");
            }),
        ),
        (
            "k3s-program",
            "missing",
            Before(|golden| {
                fs::remove_file(golden.root("usr/local/bin/k3s")).expect("it was there");
            }),
        ),
    ]
}
