//! The host of an address: a name, or an IP address that every program reads alike. `192.168.001.010` is 192.168.1.8 for some,
//! 192.168.1.10 for others, and a name for the rest.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

/// Refuses what is neither a name nor the address of one machine, and says why. An IPv6 address stands without brackets here.
pub fn check_host(host: &str) -> Result<(), String> {
    // Of an address that is good on one link alone, which follows it.
    let (address, link) = host
        .split_once('%')
        .map_or((host, None), |(address, link)| (address, Some(link)));
    if let Ok(address) = address.parse::<IpAddr>() {
        return check_address(address, link);
    }
    if ends_in_a_number(host) {
        return Err(format!(
            "`{host}` is not an IP address that every program reads alike; next: write four numbers from 0 to 255, without zeros before them"
        ));
    }
    let is_label = |label: &str| {
        let is_mark = |byte| b"-_".contains(&byte);
        (1..=63).contains(&label.len())
            && (label.bytes()).all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!(
            "`{}` is not a host name; next: write the server's name or IP address alone",
            host.escape_debug()
        ));
    }
    Ok(())
}

/// Refuses a host that this URL has in another form than it was written in, or that no machine has.
pub fn check_url(text: &str, url: &Url) -> Result<(), String> {
    match url.host() {
        Some(Host::Ipv4(address)) => {
            if written_host(text) != address.to_string() {
                return Err(format!(
                    "its address is read as {address} here, and otherwise elsewhere; next: write {address} if that is meant"
                ));
            }
            check_address(address.into(), None)
        }
        Some(Host::Ipv6(address)) => check_address(address.into(), None),
        _ => Ok(()),
    }
}

fn check_address(address: IpAddr, link: Option<&str>) -> Result<(), String> {
    let is_many = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let is_of_a_link = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    if address.is_unspecified() || is_many {
        return Err(format!(
            "`{address}` is not the address of a machine; next: write the server's"
        ));
    }
    match link {
        None if is_of_a_link => Err(format!(
            "`{address}` is good on one link alone, and does not say on which; next: write another address of the server, or its name"
        )),
        Some(link) if !is_of_a_link || link.is_empty() => Err(format!(
            "`{address}` needs no name of an interface; next: leave out what follows %"
        )),
        _ => Ok(()),
    }
}

/// The last part decides, as for browsers: no domain is called so.
fn ends_in_a_number(host: &str) -> bool {
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or(host);
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    !last.is_empty()
        && (last.bytes().all(|byte| byte.is_ascii_digit()) || digits.is_some_and(is_hexadecimal))
}

/// The host as it was written. It may have had a password before it, which is left out.
fn written_host(text: &str) -> &str {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_an_address_that_all_read_alike_is_taken() {
        for host in [
            "desk",
            "desk.lan",
            "desk.lan.",
            "k3s_1.lan",
            "10.0.2.2",
            "127.0.0.1",
            "fd00::1",
            "fe80::1%end0",
            "1e100.net",
            "3com.example",
        ] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn what_no_machine_is_called_is_refused() {
        for host in [
            "",
            ".",
            "a..b",
            "a b",
            "a\u{200b}b",
            "a\u{a0}",
            "me@host",
            "256.1.1.1",
            "192.168.001.010",
            "192.168.1",
            "3232235786",
            "0xc0a80101",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
            "fe80::1",
            "fe80::1%",
            "10.0.0.1%end0",
        ] {
            assert!(check_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn a_url_has_the_host_that_was_written() {
        let check = |text: &str| check_url(text, &Url::parse(text).expect("a URL"));
        for text in [
            "http://192.168.1.10/x",
            "http://192.168.1.10:8080",
            "http://desk.lan:1/1",
            "http://[fd00::1]:8080",
            "http://[FD00:0::1]",
            "http://me:secret@10.0.0.1",
            "http://127.0.0.1",
            "http://10.0.0.1?x",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "http://192.168.001.010",
            "http://192.168.1",
            "http://0xc0a80101:80/",
            "http://3232235786",
            "http://0.0.0.0",
            "http://[fe80::1]",
            "http://[ff02::1]",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
