//! `/etc/resolv.conf`: the name servers that libc asks, and the domains in which it looks for short names.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::Ipv4Addr;

/// musl asks each name server for five seconds by default, longer than a step may be silent.
const RESOLVER_OPTIONS: &str = "options timeout:2 attempts:2\n";
/// musl ignores a line that, together with its end, is longer than 255 bytes.
const LONGEST_LINE: usize = 254;
const SEARCH: &str = "search";

/// Writes the name servers and the domains there.
pub fn write(dns: &[Ipv4Addr], search: &[String]) -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    fs::write("/etc/resolv.conf", text(dns, search))
}

fn text(dns: &[Ipv4Addr], search: &[String]) -> String {
    let mut list = String::new();
    for domain in search {
        if SEARCH.len() + list.len() + 1 + domain.len() <= LONGEST_LINE {
            list.push(' ');
            list.push_str(domain);
        }
    }
    let mut text = RESOLVER_OPTIONS.to_owned();
    if !list.is_empty() {
        let _ = writeln!(text, "{SEARCH}{list}");
    }
    for server in dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_domains_as_far_as_musl_reads_them() {
        let dns = [Ipv4Addr::new(192, 0, 2, 1)];
        let server = "nameserver 192.0.2.1\n";
        assert_eq!(text(&dns, &[]), format!("{RESOLVER_OPTIONS}{server}"));
        let long = "a".repeat(252);
        let search = ["lab".to_owned(), long, "lan".to_owned()];
        assert_eq!(
            text(&dns, &search),
            format!("{RESOLVER_OPTIONS}search lab lan\n{server}")
        );
    }
}
