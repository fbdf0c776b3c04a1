//! Ways in.

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "passwords",
            "a hash",
            Before(|golden| golden.append("etc/shadow", "pi:$y$j9T$x$y:20000::::::\n")),
        ),
        (
            "passwords",
            "none at all",
            Before(|golden| golden.append("etc/shadow", "pi::20000::::::\n")),
        ),
        (
            "root-account",
            "a second name",
            Before(|golden| golden.append("etc/passwd", "toor:x:0:0::/root:/bin/sh\n")),
        ),
        (
            "ssh-server",
            "keys in another place",
            Before(|golden| {
                golden.put(
                    "etc/ssh/sshd_config.d/05-site.conf",
                    "AuthorizedKeysFile /etc/ssh/keys\n",
                );
            }),
        ),
        (
            "ssh-server",
            "an authority",
            Before(|golden| {
                golden.append("etc/ssh/sshd_config", "trustedusercakeys=/etc/ssh/ca.pub\n");
            }),
        ),
        (
            "ssh-server",
            "root, before our own file",
            Before(|golden| {
                golden.put(
                    "etc/ssh/sshd_config.d/05-site.conf",
                    "PermitRootLogin \"yes\"\n",
                );
            }),
        ),
        (
            "ssh-server",
            "passwords, for one user",
            Before(|golden| {
                golden.append(
                    "etc/ssh/sshd_config",
                    "Match User debian\n  PasswordAuthentication yes\n",
                );
            }),
        ),
        (
            "ssh-server",
            "keys of a program",
            Before(|golden| {
                golden.append(
                    "etc/ssh/sshd_config",
                    "AuthorizedKeysCommand /usr/local/bin/keys\n",
                );
            }),
        ),
        (
            "ssh-server",
            "empty passwords",
            Before(|golden| golden.append("etc/ssh/sshd_config", "PermitEmptyPasswords yes\n")),
        ),
        (
            "ssh-server",
            "a file elsewhere",
            Before(|golden| golden.append("etc/ssh/sshd_config", "Include /srv/sshd.conf\n")),
        ),
    ]
}
