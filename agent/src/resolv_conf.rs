//! `/etc/resolv.conf`: the name servers that libc asks.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;

/// musl asks each name server for five seconds by default, longer than a step may be silent.
const RESOLVER_OPTIONS: &[u8] = b"options timeout:2 attempts:2\n";

/// Writes the name servers there.
pub fn write(dns: &[Ipv4Addr]) -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    let mut file = File::create("/etc/resolv.conf")?;
    file.write_all(RESOLVER_OPTIONS)?;
    dns.iter()
        .try_for_each(|server| writeln!(file, "nameserver {server}"))
}
