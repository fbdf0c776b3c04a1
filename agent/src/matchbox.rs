//! Which node this is going to be, for the operator's eyes: Matchbox is asked for this MAC address.
//!
//! The golden image asks again on its first boot and acts on it; here the answer is only shown. It also holds the
//! cluster's token, so no value but the host name is ever shown.

use gild_boards::mac::Mac;
use log::{info, warn};

use crate::http;

/// Says which node this is going to be, or that Matchbox does not know it. Never fails: nothing depends on it.
pub fn announce(matchbox: &str, mac: Mac) {
    let url = format!("{}/metadata?mac={mac}", matchbox.trim_end_matches('/'));
    match http::get(&url) {
        Ok(metadata) => match hostname(&metadata, &mac.to_string()) {
            Some(hostname) => info!("Matchbox names this node {hostname} ({mac})"),
            None => warn!("Matchbox does not know {mac}: its answer is for no node in particular"),
        },
        Err(http::HttpError::Status(status)) if status == 404 => {
            warn!("Matchbox does not know {mac}");
        }
        Err(error) => warn!("cannot get the name of {mac} from Matchbox: {error}"),
    }
}

/// The host name in Matchbox' `KEY=value` lines.
///
/// A group that selects a MAC address repeats it as `MAC`; without it the answer is the default group's, which is
/// for every unknown node.
fn hostname<'a>(metadata: &'a str, mac: &str) -> Option<&'a str> {
    let value = |key| {
        metadata
            .lines()
            .filter_map(|line| line.split_once('='))
            .find_map(|(found, value)| (found == key).then_some(value.trim_end()))
    };
    value("MAC").filter(|found| found.eq_ignore_ascii_case(mac))?;
    value("HOSTNAME").filter(|name| is_host_name(name))
}

fn is_host_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "d8:3a:dd:12:34:56";

    #[test]
    fn the_lines_come_in_any_order() {
        let metadata = "K3S_TOKEN=s3cret\nMAC=D8:3A:DD:12:34:56\nHOSTNAME=node-1\nREQUEST_QUERY_MAC=d8:3a:dd:12:34:56\n";
        assert_eq!(hostname(metadata, MAC), Some("node-1"));
    }

    #[test]
    fn the_default_group_s_answer_names_no_node() {
        let metadata = "HOSTNAME=default\nREQUEST_QUERY_MAC=d8:3a:dd:12:34:56\n";
        assert_eq!(hostname(metadata, MAC), None);
        assert_eq!(
            hostname("HOSTNAME=x\nMAC=d8:3a:dd:00:00:00\n", MAC),
            None,
            "another node's answer"
        );
    }

    #[test]
    fn what_is_no_host_name_is_not_shown() {
        for name in ["", "a b", "a\u{1b}[2J", &"x".repeat(64)] {
            let metadata = format!("MAC={MAC}\nHOSTNAME={name}\n");
            assert_eq!(hostname(&metadata, MAC), None, "{name:?}");
        }
        assert_eq!(hostname(&format!("MAC={MAC}\n"), MAC), None);
    }
}
