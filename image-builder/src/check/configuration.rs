//! Probable mistakes of a configuration. No I/O.

use gild_card_format::{Config, Order};
use gild_node::reach::Reach;

use super::address::{self, Address};
use super::report::{Check, Finding};

/// Judges a configuration that a node can use.
pub fn judge(name: &str, config: &Config) -> Vec<Finding> {
    let addresses = address::all(config);
    let of_addresses = addresses.iter().flat_map(of_address);
    let of_servers = (config.servers.len() == 1).then(|| {
        let one = &config.servers[0];
        format!("one server of images, {one}")
    });
    let servers =
        of_servers.unwrap_or_else(|| format!("{} servers of images", config.servers.len()));
    let keys = match config.next_public_key {
        Some(_) => "two keys may sign them",
        None => "one key may sign them",
    };
    let read = format!("a node can use it: {servers}; {keys}");
    [Finding::ok(Check::Configuration, name, read)]
        .into_iter()
        .chain(config.order.iter().map(|given| order(name, given)))
        .chain(of_addresses)
        .collect()
}

/// An order to flash, in what has this name.
pub fn order(name: &str, order: &Order) -> Finding {
    let text = format!(
        "it has the order {} to flash: each node of the order is written again once, and all data on its disk is lost",
        order.id
    );
    Finding::warning(
        Check::Configuration,
        name,
        &text,
        "take the order out when the nodes have carried it out, or if you do not want it",
    )
}

fn of_address(address: &Address) -> Vec<Finding> {
    let Address { key, shown, .. } = address;
    let warning = |text: &str, next| {
        let text = format!("`{key}` {text}");
        Finding::warning(Check::Configuration, shown, &text, next)
    };
    let reach = match Reach::of_host(&address.host) {
        Reach::Itself => Some(warning(
            "leads a node to itself",
            "give the address by which nodes reach that server",
        )),
        Reach::OneLabel => Some(warning(
            "is a name without a domain: a node finds it only if its DHCP server gives the domain",
            "give the name with its domain, or an IP address",
        )),
        Reach::Elsewhere => None,
    };
    let clear = (address.has_query && !address.is_encrypted).then(|| {
        warning(
            "has a part that may be a secret, and it goes over the network in clear text",
            "use https://, or an address that needs no secret",
        )
    });
    reach.into_iter().chain(clear).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use gild_card_format::Arguments;

    /// The public key in the documentation of minisign.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn judged(lines: &str) -> Vec<Finding> {
        let text = format!("public_key = \"{KEY}\"\n{lines}\n");
        let config = Config::parse(Some(&text), &Arguments::default()).expect("a configuration");
        judge("gild.toml", &config)
    }

    #[track_caller]
    fn warns(lines: &str, subject: &str, words: &str) {
        let found = judged(lines);
        let warnings: Vec<_> = found
            .iter()
            .filter(|finding| finding.level == Level::Warning)
            .collect();
        let [warning] = warnings[..] else {
            panic!("{lines}: {found:?}");
        };
        assert_eq!(warning.subject, subject, "{lines}");
        assert!(warning.message.contains(words), "{lines}: {warning}");
        assert!(warning.next.as_ref().is_some_and(|next| !next.is_empty()));
    }

    #[test]
    fn what_is_right_is_one_line() {
        for lines in [
            "server = \"nfs://10.0.0.1/gild\"",
            "server = [\"https://a.lan/gild\", \"https://b.lan/gild\"]",
            "server = \"https://a.lan/gild?signature=x\"",
            "server = \"nfs://10.0.0.1/gild\"\nmatchbox = \"http://mb.lan:8080\"",
        ] {
            let found = judged(lines);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].level, Level::Ok);
        }
    }

    #[test]
    fn an_order_is_a_warning_with_what_is_lost() {
        let order =
            "server = \"nfs://10.0.0.1/gild\"\n[order]\nid = \"2026-12\"\nnodes = [\"all\"]";
        warns(order, "gild.toml", "2026-12");
        warns(order, "gild.toml", "is lost");
    }

    #[test]
    fn a_server_that_is_the_node_itself_is_a_warning() {
        for address in ["nfs://localhost/gild", "nfs://127.0.0.1/gild"] {
            let lines = format!("server = \"{address}\"");
            warns(&lines, address, "leads a node to itself");
        }
        let lines = "server = \"nfs://10.0.0.1/gild\"\nmatchbox = \"http://[::1]:8080\"";
        warns(lines, "http://[::1]:8080", "`matchbox` leads a node");
    }

    #[test]
    fn a_name_without_a_domain_is_a_warning() {
        warns("server = \"nfs://nas/gild\"", "nfs://nas/gild", "domain");
    }

    #[test]
    fn what_may_be_a_secret_in_clear_text_is_a_warning_that_does_not_repeat_it() {
        let lines = "server = \"http://10.0.0.1/gild?signature=s3cret\"";
        warns(lines, "http://10.0.0.1/gild?…", "clear text");
        let lines =
            "server = \"nfs://10.0.0.1/gild\"\nstatus_url = \"http://10.0.0.2/x?site=s3cret\"";
        warns(lines, "http://10.0.0.2/x", "clear text");
        for finding in judged(lines) {
            assert!(!finding.to_string().contains("s3cret"), "{finding}");
        }
    }
}
