//! Waits until this node is in a network. One cable is enough, in any socket.
//!
//! systemd's own program also waits until IPv6 has checked that nobody else has the link-local address. That takes one or two seconds
//! longer than DHCP, and nothing at the start needs it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interface;

/// Where networkd describes each link, in a file named after the interface's number.
const LINKS: &str = "run/systemd/netif/links";
/// After this time the start goes on without a network, under a name of the node's own.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);

/// Waits until a link of networkd's has an address and is ready: either the default route leads over it, or all of its settings are
/// applied.
pub fn wait(root: &Path) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_online(root) {
        if Instant::now() >= end {
            bail!(
                "this node has no address after {} s; next: look at its cable and at the DHCP server, or at `networkctl status`",
                PATIENCE.as_secs()
            );
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn is_online(root: &Path) -> bool {
    let way_out = interface::way_out_of(root).and_then(|name| {
        fs::read_to_string(root.join(format!("sys/class/net/{name}/ifindex"))).ok()
    });
    let links = fs::read_dir(root.join(LINKS)).into_iter().flatten();
    links.filter_map(Result::ok).any(|link| {
        let is_way_out = way_out.as_deref().map(str::trim) == link.file_name().to_str();
        fs::read_to_string(link.path()).is_ok_and(|text| is_ready(&text, is_way_out))
    })
}

/// A link that networkd does not manage, such as one of k3s, is never ready.
fn is_ready(link: &str, is_way_out: bool) -> bool {
    let is = |line: &str| link.lines().any(|found| found == line);
    let is_set_up = is("ADMIN_STATE=configured") || (is_way_out && is("ADMIN_STATE=configuring"));
    is_set_up && is("OPER_STATE=routable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online(admin: &str, operational: &str, destination: &str) -> bool {
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        put("sys/class/net/end0/ifindex", "2\n");
        put(
            "proc/net/route",
            &format!(
                "Iface\tDestination\nend0\t{destination}\t014D0A0A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n"
            ),
        );
        put(
            &format!("{LINKS}/2"),
            &format!("# private\nADMIN_STATE={admin}\nOPER_STATE={operational}\n"),
        );
        put(
            &format!("{LINKS}/1"),
            "ADMIN_STATE=unmanaged\nOPER_STATE=carrier\n",
        );
        is_online(root.path())
    }

    #[test]
    fn a_node_is_online_once_it_has_an_address_and_a_way_out() {
        let (out, nowhere) = ("00000000", "004D0A0A");
        for (admin, operational, destination, expected) in [
            ("configuring", "routable", out, true),
            ("configured", "routable", nowhere, true),
            ("configuring", "routable", nowhere, false),
            ("configuring", "degraded", out, false),
            ("configured", "carrier", nowhere, false),
            // A link of k3s.
            ("unmanaged", "routable", out, false),
        ] {
            let found = online(admin, operational, destination);
            assert_eq!(found, expected, "{admin} {operational} {destination}");
        }
        assert!(!is_online(Path::new("/nowhere")));
    }
}
