//! The interfaces by which the metadata server may know this node, the likeliest first.

use std::fs;
use std::path::Path;

use gild_boards::mac::Mac;
use gild_identity::Interface;

const ROUTES: &str = "proc/net/route";

/// The interfaces to ask with: first the one of the default route, then every other with a carrier.
#[must_use]
pub fn candidates(root: &Path) -> Vec<Interface> {
    let leading_out = way_out_of(root)
        .and_then(|name| Interface::named(root, &name))
        .filter(|interface| interface.mac().is_some());
    let others: Vec<Interface> = Interface::wired(root)
        .into_iter()
        .filter(|interface| interface.has_carrier() && Some(interface) != leading_out.as_ref())
        .collect();
    leading_out.into_iter().chain(others).collect()
}

/// The MAC addresses that this node may go by, the likeliest first.
#[must_use]
pub fn macs(root: &Path) -> Vec<Mac> {
    let mut macs = Vec::new();
    for mac in candidates(root)
        .iter()
        .chain(&Interface::wired(root))
        .filter_map(Interface::mac)
    {
        if !macs.contains(&mac) {
            macs.push(mac);
        }
    }
    macs
}

/// The interface of the default route.
pub(crate) fn way_out_of(root: &Path) -> Option<String> {
    let routes = fs::read_to_string(root.join(ROUTES)).ok()?;
    way_out(&routes).map(str::to_owned)
}

/// The interface of the IPv4 default route with the lowest metric, in the kernel's table.
fn way_out(routes: &str) -> Option<&str> {
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, destination, _, _, _, _, metric, mask, ..] = fields[..] else {
                return None;
            };
            (destination == "00000000" && mask == "00000000")
                .then(|| Some((metric.parse::<u32>().ok()?, name)))?
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn make(root: &Path, name: &str, files: &[(&str, &str)], directories: &[&str]) {
        let path = root.join("sys/class/net").join(name);
        fs::create_dir_all(&path).expect("an interface");
        for (file, content) in files {
            fs::write(path.join(file), format!("{content}\n")).expect("its file");
        }
        for directory in directories {
            fs::create_dir(path.join(directory)).expect("its directory");
        }
    }

    fn ethernet(root: &Path, name: &str, index: &str, mac: &str, carrier: &str) {
        make(
            root,
            name,
            &[
                ("ifindex", index),
                ("type", "1"),
                ("address", mac),
                ("carrier", carrier),
            ],
            &["device"],
        );
    }

    #[test]
    fn the_lowest_metric_leads_out() {
        let routes = format!(
            "{HEAD}eth1\t00000000\t0100000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n\
             eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth2\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        );
        assert_eq!(way_out(&routes), Some("eth0"));
        assert_eq!(way_out(HEAD), None);
        assert_eq!(way_out(""), None);
    }

    #[test]
    fn the_way_out_is_asked_with_first_then_every_cable() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        ethernet(root, "eth0", "2", "02:00:00:00:00:01", "1");
        ethernet(root, "eth1", "3", "02:00:00:00:00:02", "1");
        ethernet(root, "eth2", "4", "02:00:00:00:00:03", "0");
        make(
            root,
            "lo",
            &[
                ("ifindex", "1"),
                ("type", "772"),
                ("address", "00:00:00:00:00:00"),
            ],
            &[],
        );
        make(
            root,
            "cni0",
            &[("ifindex", "5"), ("type", "1"), ("carrier", "1")],
            &[],
        );
        make(
            root,
            "wlan0",
            &[("ifindex", "6"), ("type", "1"), ("carrier", "1")],
            &["device", "phy80211"],
        );
        let names = || -> Vec<String> {
            candidates(root)
                .into_iter()
                .map(|interface| interface.name)
                .collect()
        };
        assert_eq!(names(), ["eth0", "eth1"]);
        fs::create_dir_all(root.join("proc/net")).expect("a directory");
        fs::write(
            root.join(ROUTES),
            format!("{HEAD}eth1\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"),
        )
        .expect("routes");
        assert_eq!(names(), ["eth1", "eth0"]);
        assert_eq!(
            macs(root)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [
                "02:00:00:00:00:02",
                "02:00:00:00:00:01",
                "02:00:00:00:00:03"
            ]
        );
    }
}
