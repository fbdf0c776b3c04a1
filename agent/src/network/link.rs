//! The link of an interface. It is brought up with a lasting MAC address, and again if its chip has stalled.

use std::path::Path;

use gild_boards::Board;
use gild_identity::{Interface, lasting_macs};
use log::{info, warn};

use super::error::{NetworkError, kernel};
use crate::netlink::Netlink;

/// Takes an interface over: gives it a lasting MAC address and brings the link up.
pub fn prepare(
    netlink: &Netlink,
    board: &Board,
    wired: &[Interface],
    interface: &Interface,
) -> Result<(), NetworkError> {
    let mut change = None;
    if interface.has_random_mac() {
        let mac =
            lasting_macs(Path::new("/"), board, wired).and_then(|mut macs| macs.remove(interface));
        if let Some(mac) = mac {
            info!(
                "{} has no MAC address of its own: {mac} from the board's number",
                interface.name
            );
            change = Some(mac);
        } else {
            warn!(
                "{} has no MAC address of its own, and this board has no number to make one from: \
                 the node will be another one after each start",
                interface.name
            );
        }
    }
    netlink
        .bring_up(interface.index, change)
        .map_err(kernel(format!("bringing {} up", interface.name)))
}

/// Whether an interface with a carrier has sent nothing since then. The MAC of the Raspberry Pi 5 (macb) can stop like this without any
/// message from its driver. It works again after the link has been down and up (raspberrypi/linux#7339).
pub fn has_stalled(interface: &Interface, sent: Option<u64>) -> bool {
    sent.is_some() && interface.packets_sent() == sent && interface.has_carrier()
}

/// Takes the link down and up, so that the driver sets up the chip again.
pub fn toggle(netlink: &Netlink, interface: &Interface) {
    let name = &interface.name;
    warn!("{name} has a carrier and sends nothing: taking its link down and up again");
    let index = interface.index;
    if let Err(error) = netlink
        .take_down(index)
        .and_then(|()| netlink.bring_up(index, None))
    {
        warn!("taking the link of {name} down and up failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_carrier_and_a_counter_that_stands_still_are_a_stall() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("sys/class/net/eth0");
        fs::create_dir_all(path.join("device")).expect("an interface");
        fs::create_dir_all(path.join("statistics")).expect("its counters");
        let put = |name: &str, text: &str| fs::write(path.join(name), text).expect("a file");
        put("ifindex", "2\n");
        put("type", "1\n");
        let stalled = |carrier, sent, before| {
            put("carrier", carrier);
            put("statistics/tx_packets", sent);
            let all = Interface::wired(root.path());
            has_stalled(all.first().expect("it is wired"), before)
        };
        assert!(stalled("1\n", "17\n", Some(17)));
        assert!(!stalled("1\n", "18\n", Some(17)), "it sends");
        assert!(!stalled("0\n", "17\n", Some(17)), "there is no cable");
        assert!(!stalled("1\n", "17\n", None), "nothing is known of before");
    }
}
