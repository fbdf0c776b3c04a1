//! `gild.toml` and the kernel's command line. The addresses that are accepted are the same when they are read again, and every
//! order is for a node.

use crate::parts;
use gild_card_format::{Arguments, Config, HttpUrl, NfsUrl, ServerUrl};
use gild_format::network::{Found, Settings};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [arguments, file] = parts(input).map(String::from_utf8_lossy);
    let arguments = Arguments::parse(&arguments);
    for (key, value) in arguments.iter() {
        assert_eq!(arguments.get(key), Some(value));
    }
    if let Ok(url) = NfsUrl::parse(&file) {
        assert_eq!(NfsUrl::parse(&url.to_string()).as_ref(), Ok(&url));
    }
    for file in [None, Some(&*file)] {
        let config = match Config::parse(file, &arguments) {
            Ok(config) => config,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        for server in &config.servers {
            match server {
                ServerUrl::Nfs(url) => {
                    assert_eq!(NfsUrl::parse(&url.to_string()).as_ref(), Ok(url));
                }
                ServerUrl::Http(url) => {
                    assert_eq!(HttpUrl::parse(url.url().as_str()).as_ref(), Ok(url));
                }
            }
        }
        for settings in config.networks.all() {
            let block = Found::in_bytes(&settings.to_bytes());
            let expected = match settings.clone() {
                nothing if nothing == Settings::default() => Found::Nothing,
                settings => Found::Settings(settings),
            };
            assert_eq!(block, expected);
        }
        assert!(config.next_public_key.as_ref() != Some(&config.public_key));
        assert!(config.order.is_none_or(|order| !order.id.is_empty()));
    }
}
