//! Whether a node finds the names in its addresses: by which name servers it asks, and whether this machine can say so. No I/O.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use gild_card_format::Config;

use super::address;
use super::report::{Check, Finding};

/// Judges the names of a configuration.
pub fn judge(config: &Config) -> Vec<Finding> {
    let names: BTreeSet<String> = address::all(config)
        .into_iter()
        .map(|address| address.host)
        .filter(|host| host.parse::<IpAddr>().is_err())
        .collect();
    if names.is_empty() {
        let text = "all addresses are numbers: no name server is needed";
        return vec![Finding::ok(Check::Names, "gild.toml", text)];
    }
    let servers = name_servers(config);
    names
        .iter()
        .map(|name| match servers.first() {
            Some(first) => {
                let list: Vec<String> = servers.iter().map(ToString::to_string).collect();
                let text = format!(
                    "nodes ask the name servers of [network] ({}), and gild asks only this machine's name servers",
                    list.join(", ")
                );
                let next = format!("run `host {name} {first}`, and the same for each of them");
                Finding::not_checked(Check::Names, name, &text, &next)
            }
            None => Finding::not_checked(
                Check::Names,
                name,
                "nodes ask the name servers that their DHCP server gives, which this machine does not know",
                "look the name up on a machine in the nodes' network",
            ),
        })
        .collect()
}

fn name_servers(config: &Config) -> Vec<Ipv4Addr> {
    let fixed = config
        .networks
        .all()
        .filter_map(|network| network.address.as_ref());
    let mut servers: Vec<Ipv4Addr> = fixed.flat_map(|fixed| fixed.dns.iter().copied()).collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use gild_card_format::Arguments;

    fn judged(lines: &str) -> Vec<Finding> {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let text = format!("public_key = \"{key}\"\n{lines}\n");
        judge(&Config::parse(Some(&text), &Arguments::default()).expect("a configuration"))
    }

    #[test]
    fn numbers_need_no_name_server() {
        let found = judged("server = \"nfs://10.0.0.1/gild\"\nmatchbox = \"http://[fd00::1]\"");
        assert_eq!((found.len(), found[0].level), (1, Level::Ok));
    }

    #[test]
    fn each_name_is_said_once_and_by_whom_nodes_ask() {
        let two = "server = [\"nfs://nas.lan/gild\", \"nfs://nas.lan/other\"]\n";
        let found = judged(two);
        assert_eq!((found.len(), found[0].level), (1, Level::NotChecked));
        assert!(found[0].message.contains("DHCP"), "{}", found[0]);

        let fixed = "[network]\naddress = \"10.0.0.5/24\"\ndns = [\"10.0.0.53\"]";
        let found = judged(&format!("{two}{fixed}"));
        assert_eq!(found[0].level, Level::NotChecked);
        assert!(found[0].message.contains("10.0.0.53"), "{}", found[0]);
        let next = found[0].next.as_deref();
        assert!(next.is_some_and(|next| next.contains("host nas.lan 10.0.0.53")));
    }
}
