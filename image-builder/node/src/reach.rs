//! Where an address leads on a node. The builder tries addresses on another machine, from which some lead elsewhere.

use std::net::IpAddr;

use reqwest::Url;

/// The names that Debian's `/etc/hosts` and systemd-resolved have for the machine itself.
const OWN_NAMES: [&str; 4] = [
    "localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "ip6-loopback",
];

/// Where an address leads on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the node itself.
    Itself,
    /// To a name without a domain. The node finds it only with a domain from its DHCP server.
    OneLabel,
    /// To another machine, the same one from everywhere.
    Elsewhere,
}

impl Reach {
    /// Of a URL.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        Self::of_host(url.host_str().unwrap_or_default())
    }

    /// Of a name, or an address.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = address.parse::<IpAddr>() {
            let address = address.to_canonical();
            return if address.is_loopback() || address.is_unspecified() {
                Self::Itself
            } else {
                Self::Elsewhere
            };
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if OWN_NAMES.contains(&&*name) || name.ends_with(".localhost") {
            Self::Itself
        } else if name.contains('.') {
            Self::Elsewhere
        } else {
            Self::OneLabel
        }
    }

    /// Of the text of a URL, if it is one.
    #[must_use]
    pub fn of_text(url: &str) -> Option<Self> {
        Url::parse(url).ok().as_ref().map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reaches_itself_by_any_of_its_own_names() {
        for url in [
            "http://localhost:8080",
            "http://LocalHost",
            "http://localhost.:8080",
            "http://matchbox.localhost",
            "http://ip6-localhost",
            "http://127.0.0.1",
            "http://127.8.8.8:1",
            "http://127.1",
            "http://2130706433",
            "http://0.0.0.0",
            "http://[::1]:8080",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(Reach::of_text(url), Some(Reach::Itself), "{url}");
        }
    }

    #[test]
    fn a_name_without_a_domain_is_another_thing_than_one_with() {
        for url in ["http://matchbox:8080", "https://k3s", "http://localhosts"] {
            assert_eq!(Reach::of_text(url), Some(Reach::OneLabel), "{url}");
        }
        for url in [
            "http://matchbox.lan",
            "http://localhost.lan",
            "http://10.0.0.1:8080",
            "https://[fd00::1]:6443",
        ] {
            assert_eq!(Reach::of_text(url), Some(Reach::Elsewhere), "{url}");
        }
        assert_eq!(Reach::of_text("matchbox"), None);
    }
}
