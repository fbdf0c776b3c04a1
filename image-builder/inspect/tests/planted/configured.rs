//! Secrets in the form that a program's configuration has them.

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "k3s-tokens",
            "in the agent's environment",
            Before(|golden| {
                golden.put(
                    "etc/systemd/system/k3s-agent.service.d/x.conf",
                    "[Service]\nEnvironment=K3S_TOKEN=a-password\n",
                );
            }),
        ),
        (
            "k3s-tokens",
            "in a program's arguments",
            Before(|golden| {
                golden.put(
                    "usr/lib/systemd/system/site.service",
                    "[Service]\nExecStart=/usr/local/bin/k3s agent --token a-password\n",
                );
            }),
        ),
        (
            "private-keys",
            "WireGuard's",
            Before(|golden| {
                golden.put(
                    "etc/systemd/network/50-wg0.netdev",
                    format!(
                        "[WireGuard]\nPrivateKey={}=\n",
                        "aB3/".repeat(11).split_at(43).0
                    ),
                );
            }),
        ),
        (
            "configured-passwords",
            "a hash",
            Before(|golden| {
                let hash = format!("$6$salt${}", "a".repeat(86));
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    format!("users:\n  - {{name: pi, passwd: {hash}}}\n"),
                );
            }),
        ),
        (
            "configured-passwords",
            "of cloud-init",
            Before(|golden| {
                golden.put(
                    "etc/cloud/cloud.cfg.d/95-site.cfg",
                    "password: correct horse\nssh_pwauth: true\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "of a registry",
            Before(|golden| {
                golden.append(
                    "etc/rancher/k3s/registries.yaml",
                    "configs:\n  registry.example:\n    auth:\n      username: it\n      password: it\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "the login of a registry",
            Before(|golden| {
                golden.append(
                    "etc/rancher/k3s/registries.yaml",
                    "configs:\n  registry.example:\n    auth: {auth: aXQ6aXQ=}\n",
                );
            }),
        ),
        (
            "bootstrap-tokens",
            "in a configuration",
            Before(|golden| golden.put("opt/app/config.yaml", "token: abcdef.0123456789abcdef\n")),
        ),
        (
            "wifi-passphrases",
            "in a configuration",
            Before(|golden| golden.put("etc/wifi.conf", "network={\n  psk=\"correct horse\"\n}\n")),
        ),
        (
            "url-credentials",
            "a mirror's",
            Before(|golden| {
                golden.put(
                    "etc/apt/sources.list.d/site.list",
                    "deb https://me:secret@deb.example.org trixie main\n",
                );
            }),
        ),
    ]
}
