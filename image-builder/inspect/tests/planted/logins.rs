//! Passwords of programs and networks.

use super::Defect::Before;
use super::Planted;

pub fn defects() -> Vec<Planted> {
    vec![
        (
            "configured-passwords",
            "a login in netrc's form",
            Before(|golden| {
                golden.put(
                    "srv/site/netrc",
                    "machine deb.example.org\nlogin me\npassword correct-horse\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "of iSCSI",
            Before(|golden| {
                golden.put(
                    "etc/iscsi/iscsid.conf",
                    "node.session.auth.username = me\nnode.session.auth.password = correct-horse\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "netplan's",
            Before(|golden| {
                golden.put("etc/netplan/90-site.yaml", "network:\n  wifis:\n    wlan0:\n      access-points:\n        site: {password: correct-horse}\n");
            }),
        ),
        (
            "configured-passwords",
            "wpa_supplicant's",
            Before(|golden| {
                golden.put(
                    "etc/wpa_supplicant/site/wlan0",
                    "network={\n  identity=\"me\"\n  password=\"it\"\n}\n",
                );
            }),
        ),
        (
            "configured-passwords",
            "NetworkManager's",
            Before(|golden| {
                golden.put(
                    "usr/lib/NetworkManager/system-connections/site.nmconnection",
                    "[802-1x]\nidentity=me\npassword=it\n",
                );
            }),
        ),
    ]
}
