//! Kea.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use gild_dhcp::{Event, Loss, Route};
use tempfile::TempDir;

use crate::lan::{Lan, SERVER};
use crate::program::Program;

const CONFIGURATION: &str = r#"{ "Dhcp4": {
    "interfaces-config": { "interfaces": [ "server" ] },
    "lease-database": { "type": "memfile", "persist": false },
    "valid-lifetime": 24, "renew-timer": 3, "rebind-timer": 12,
    "subnet4": [ {
        "id": 1,
        "subnet": "192.0.2.0/24",
        "pools": [ { "pool": "192.0.2.50 - 192.0.2.50" } ],
        "option-data": [
            { "name": "routers", "data": "192.0.2.1" },
            { "name": "domain-name-servers", "data": "192.0.2.3" },
            { "name": "domain-name", "data": "lan" },
            { "name": "domain-search", "data": "eng.example.com, example.com" },
            { "name": "interface-mtu", "data": "1400" }
        ]
    } ],
    "loggers": [ {
        "name": "kea-dhcp4", "severity": "INFO", "output_options": [ { "output": "stdout" } ]
    } ]
} }"#;

struct Kea {
    _files: TempDir,
    _program: Program,
}

fn kea(lan: &Lan) -> Kea {
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("kea.conf");
    fs::write(&path, CONFIGURATION).expect("its configuration");
    let mut command = Command::new("kea-dhcp4");
    command
        .arg("-c")
        .arg(path)
        .env("KEA_PIDFILE_DIR", files.path())
        .env("KEA_LOCKFILE_DIR", files.path());
    let program = Program::start(&lan.server, "kea-dhcp4", command, "DHCP4_STARTED");
    Kea {
        _files: files,
        _program: program,
    }
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn all_that_it_gives_is_taken_and_kept_until_it_is_gone() {
    let lan = Lan::new();
    let server = kea(&lan);
    let client = lan.client();
    let lease = client.lease();
    let given = &lease.configuration;
    assert_eq!(lease.server, SERVER);
    assert_eq!(given.address, Ipv4Addr::new(192, 0, 2, 50));
    assert_eq!(given.routes, [Route::to_all_by(SERVER)]);
    assert_eq!(given.dns, [Ipv4Addr::new(192, 0, 2, 3)]);
    assert_eq!(given.search, ["eng.example.com", "example.com", "lan"]);
    assert_eq!(given.mtu, Some(1400));
    let times = lease.times.expect("it has an end");
    let seconds = [times.renew, times.rebind, times.end].map(|time| time.as_secs());
    assert_eq!(seconds, [3, 12, 24]);
    for _ in 0..2 {
        assert_eq!(client.renewal().configuration, lease.configuration);
    }
    drop(server);
    assert_eq!(client.after_renewals(), Event::Lost(Loss::Expired));
}
