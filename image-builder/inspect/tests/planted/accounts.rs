//! Ways in.

use std::fs;

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
            "passwords",
            "a hash by a link",
            Before(|golden| {
                golden.put("usr/share/shadow", "root:$y$j9T$x$y:20000::::::\n");
                fs::remove_file(golden.root("etc/shadow")).expect("it was there");
                golden.link("../usr/share/shadow", "etc/shadow");
            }),
        ),
        (
            "ssh-user-files",
            "a folder in another place",
            Before(|golden| {
                golden.put("opt/keys/authorized_keys", "ssh-ed25519 AAAA somebody\n");
                golden.link("../opt/keys", "root/.ssh");
            }),
        ),
        (
            "ssh-server",
            "our own file is gone",
            Before(|golden| {
                let own = "etc/ssh/sshd_config.d/10-gild.conf";
                fs::remove_file(golden.root(own)).expect("it was there");
                golden.put(
                    "etc/ssh/sshd_config",
                    "Include /etc/ssh/sshd_config.d/*.conf\n",
                );
            }),
        ),
        (
            "ssh-server",
            "the drop-ins are not read",
            Before(|golden| golden.put("etc/ssh/sshd_config", "X11Forwarding no\n")),
        ),
        (
            "ssh-server",
            "a password, before the drop-ins",
            Before(|golden| {
                golden.put(
                    "etc/ssh/sshd_config",
                    "PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n",
                );
            }),
        ),
        (
            "ssh-server",
            "root, by a link",
            Before(|golden| {
                golden.put("usr/share/site/ssh", "PermitRootLogin yes\n");
                golden.link("/usr/share/site/ssh", "etc/ssh/sshd_config.d/00-site.conf");
            }),
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
