//! An address for people: parts that may be a secret are left out.

use gild_card_format::{Config, ServerUrl};
use reqwest::Url;

/// An address in a configuration.
pub struct Address {
    /// The key that has it.
    pub key: &'static str,
    /// As it is shown.
    pub shown: String,
    /// A name, or an address without brackets.
    pub host: String,
    /// Nobody reads along.
    pub is_encrypted: bool,
    /// It is the web's, and has a part that may be a secret.
    pub has_query: bool,
}

/// All addresses of a configuration.
pub fn all(config: &Config) -> Vec<Address> {
    let of_images = config.servers.iter().map(|server| Address {
        key: "server",
        shown: server.to_string(),
        host: server.host().to_owned(),
        is_encrypted: server.is_encrypted(),
        has_query: matches!(server, ServerUrl::Http(url) if url.url().query().is_some()),
    });
    let of_web = [
        ("matchbox", &config.matchbox),
        ("status_url", &config.status_url),
        ("order_url", &config.order_url),
    ];
    let of_web = of_web.into_iter().filter_map(|(key, url)| {
        let url = url.as_ref()?;
        Some(Address {
            key,
            shown: shown(url),
            host: host(url).to_owned(),
            is_encrypted: url.scheme() == "https",
            has_query: url.query().is_some() || url.password().is_some(),
        })
    });
    of_images.chain(of_web).collect()
}

/// Without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let path = url.path().trim_end_matches('/');
    format!("{}{path}", url.origin().ascii_serialization())
}

/// A name, or an address without brackets.
pub fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_a_secret_is_shown() {
        for (text, expected) in [
            (
                "https://me:s3cret@mb.lan:8443/a?token=s3cret#s3cret",
                "https://mb.lan:8443/a",
            ),
            ("http://s3cret@[fd00::1]:8080/", "http://[fd00::1]:8080"),
        ] {
            let url = Url::parse(text).expect("an address");
            assert_eq!(shown(&url), expected);
        }
    }
}
