//! Asks Matchbox which node this MAC address will be, to show the operator.
//!
//! The golden image asks again at its first boot and acts on the answer. Here the answer is only shown. It also has the cluster's token in
//! it, so only the host name is ever shown or kept.

use gild_boards::mac::Mac;
use gild_http::Access;
use gild_matchbox::{Answer, NameError, fallback_name, host_name, metadata_address};
use log::{info, warn};
use reqwest::Url;

use crate::http::{self, HttpError};

/// Logs which node this will be, or why it has no name yet, and returns the name. Never fails, because nothing depends on it.
pub fn announce(access: &Access, matchbox: &Url, mac: Mac) -> Option<String> {
    let answer = http::get(access, &metadata_address(matchbox, mac));
    match answer.map(|body| name(&body, mac)) {
        Ok(Ok(name)) => {
            info!("the metadata server names this node {name} ({mac})");
            return Some(name);
        }
        Ok(Err(reason)) => warn!("{reason}"),
        Err(HttpError::Status(status)) if status == 404 => {
            warn!("{}", Nameless::Unknown(mac));
        }
        Err(error) => warn!(
            "cannot get the name of {mac} from the metadata server (a desk or Matchbox): {error}"
        ),
    }
    None
}

/// Why Matchbox has no name for this node at present.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Nameless {
    #[error("the metadata server (a desk or Matchbox) does not know {0}: the node will call itself {name}", name = fallback_name(Some(*.0)))]
    Unknown(Mac),
    #[error(
        "the metadata server (a desk or Matchbox) does not know {0}: its answer is for no node in particular, and the node will call itself {name}",
        name = fallback_name(Some(*.0))
    )]
    DefaultGroup(Mac),
    #[error("the node will refuse the name that the metadata server has for {0}: {1}")]
    Refused(Mac, NameError),
}

/// The name that the node will take from this answer.
fn name(body: &str, mac: Mac) -> Result<String, Nameless> {
    let refused = |error| Nameless::Refused(mac, error);
    match Answer::parse(body, mac).map_err(|error| refused(error.into()))? {
        Answer::Dedicated(values) => host_name(&values).map_err(refused),
        Answer::Default(_) => Err(Nameless::DefaultGroup(mac)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x12, 0x34, 0x56]);
    const ECHO: &str = "REQUEST_QUERY_MAC=d8:3a:dd:12:34:56\n";

    #[test]
    fn the_lines_come_in_any_order() {
        let body = format!("K3S_TOKEN=s3cret\nMAC=D8:3A:DD:12:34:56\nHOSTNAME=node-1\n{ECHO}");
        assert_eq!(name(&body, MAC).as_deref(), Ok("node-1"));
    }

    #[test]
    fn the_default_group_s_answer_names_no_node() {
        let shown = name(&format!("HOSTNAME=default\n{ECHO}"), MAC).expect_err("no name");
        assert_eq!(shown, Nameless::DefaultGroup(MAC));
        assert!(shown.to_string().ends_with("itself k3s-123456"), "{shown}");
    }

    #[test]
    fn a_name_that_the_node_will_refuse_is_not_announced_and_no_secret_is_shown() {
        for (lines, reason) in [
            ("HOSTNAME=Node-1\nMAC=d8:3a:dd:12:34:56", "lower-case"),
            ("HOSTNAME=a.b\nMAC=d8:3a:dd:12:34:56", "lower-case"),
            (
                "HOSTNAME=a\u{1b}[2J\nMAC=d8:3a:dd:12:34:56",
                "\\u{1b}[2J\": it must",
            ),
            ("MAC=d8:3a:dd:12:34:56", "no `hostname`"),
            (
                "HOSTNAME=a\nHOSTNAME=b\nMAC=d8:3a:dd:12:34:56",
                "there twice",
            ),
            ("HOSTNAME=x\nMAC=d8:3a:dd:00:00:00", "another MAC address"),
            ("HOSTNAME=x\nno line", "no `=`"),
        ] {
            let body = format!("K3S_TOKEN=s3cret\n{lines}\n{ECHO}");
            let shown = name(&body, MAC).expect_err(lines).to_string();
            assert!(
                shown.contains("will refuse")
                    && shown.contains(reason)
                    && !shown.contains("s3cret"),
                "{shown}"
            );
        }
        let other = "HOSTNAME=a\nMAC=d8:3a:dd:12:34:56\nREQUEST_QUERY_MAC=d8:3a:dd:00:00:00\n";
        let shown = name(other, MAC).expect_err("another's answer").to_string();
        assert!(shown.contains("REQUEST_QUERY_MAC"), "{shown}");
    }
}
