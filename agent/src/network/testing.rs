//! What the network's tests share.

pub mod cable;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use gild_card_format::Networks;
use gild_identity::Interface;

use super::Effort;
use super::asked::Asked;
use super::search::Search;
use crate::machine::Machine;
use crate::netlink::Netlink;

/// Interfaces with these numbers, with a carrier or without.
pub fn interfaces(root: &Path, all: &[(u32, bool)]) -> Vec<Interface> {
    for (index, has_carrier) in all {
        let path = root.join(format!("sys/class/net/eth{index}"));
        fs::create_dir_all(path.join("device")).expect("an interface");
        let carrier = u8::from(*has_carrier).to_string();
        for (name, text) in [
            ("ifindex", index.to_string()),
            ("type", "1".to_owned()),
            ("carrier", carrier),
        ] {
            fs::write(path.join(name), text).expect("a file");
        }
    }
    Interface::wired(root)
}

/// One that has asked for an address, and has nothing else.
pub fn asked(interface: &Interface, refused_by: Option<Ipv4Addr>) -> Asked {
    Asked {
        interface: interface.clone(),
        client: None,
        given: None,
        refused_by,
        is_mute: None,
        is_refused_by_kernel: None,
        sent: None,
    }
}

/// A search that has got as far as these.
pub fn search<'a>(
    netlink: &'a Netlink,
    machine: &'a Machine,
    networks: &'a Networks,
    asked: Vec<Asked>,
) -> Search<'a> {
    Search {
        netlink,
        machine,
        board: &gild_boards::all()[0],
        networks,
        by_ipv6: false,
        effort: Effort::Full,
        failed: Vec::new(),
        seen: Vec::new(),
        asked,
    }
}
