//! What all nodes would say to k3s, and should not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Defect::Before;
use super::Planted;

const DROP_IN: &str = "etc/rancher/k3s/config.yaml.d/50-site.yaml";

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "k3s-tokens",
            "commented out beside k3s's configuration",
            Before(|golden| golden.put(DROP_IN, "# token: it\ndebug: true\n")),
        ),
        (
            "k3s-tokens",
            "beside k3s's configuration",
            Before(|golden| golden.put(DROP_IN, "token: it\n")),
        ),
        (
            "k3s-settings",
            "a token as only YAML has it",
            Before(|golden| golden.put(DROP_IN, "? token\n: it\n")),
        ),
        (
            "k3s-settings",
            "a name for all nodes",
            Before(|golden| golden.put(DROP_IN, "node-name: it\n")),
        ),
        (
            "k3s-settings",
            "a mistake",
            Before(|golden| golden.put(DROP_IN, "kubelet-arg: [max-pods=50\n")),
        ),
        (
            "k3s-settings",
            "a file that k3s does not read",
            Before(|golden| golden.put("etc/rancher/k3s/config.yaml.d/site.conf", "debug: true\n")),
        ),
        (
            "k3s-settings",
            "a file that others may write",
            Before(|golden| {
                golden.put(DROP_IN, "debug: true\n");
                let mode = fs::Permissions::from_mode(0o666);
                fs::set_permissions(golden.root(DROP_IN), mode).expect("own file");
            }),
        ),
        (
            "k3s-settings",
            "a link",
            Before(|golden| golden.link("/etc/fstab", DROP_IN)),
        ),
    ]
}
