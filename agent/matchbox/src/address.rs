//! Where Matchbox is asked, and where a node says how far it is.

use gild_boards::mac::Mac;
use url::Url;

/// The address of Matchbox' answer for this node, below its base address.
#[must_use]
pub fn metadata_address(matchbox: &Url, mac: Mac) -> Url {
    let mut url = below(matchbox, "metadata");
    url.set_query(Some(&format!("mac={mac}")));
    url
}

/// Where a node posts its reports: gild's desk takes them, Matchbox has no such page.
#[must_use]
pub fn report_address(matchbox: &Url) -> Url {
    below(matchbox, "report")
}

fn below(matchbox: &Url, page: &str) -> Url {
    let mut url = matchbox.clone();
    let base = matchbox.path().trim_end_matches('/');
    url.set_path(&format!("{base}/{page}"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_address_may_have_a_path_and_a_slash_at_its_end() {
        let mac = Mac([0xd8, 0x3a, 0xdd, 1, 2, 3]);
        for (base, address) in [
            (
                "http://mb:8080",
                "http://mb:8080/metadata?mac=d8:3a:dd:01:02:03",
            ),
            (
                "https://mb/base/",
                "https://mb/base/metadata?mac=d8:3a:dd:01:02:03",
            ),
            (
                "http://mb/?x=1#y",
                "http://mb/metadata?mac=d8:3a:dd:01:02:03",
            ),
        ] {
            let base = Url::parse(base).expect("an address");
            assert_eq!(metadata_address(&base, mac).as_str(), address);
            let page = address.replace("metadata?mac=d8:3a:dd:01:02:03", "report");
            assert_eq!(report_address(&base).as_str(), page);
        }
    }
}
