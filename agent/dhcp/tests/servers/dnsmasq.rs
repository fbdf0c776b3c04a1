//! dnsmasq.

use std::net::Ipv4Addr;
use std::process::Command;

use gild_dhcp::{Event, Loss, Route};

use crate::lan::{Lan, PORT, SERVER};
use crate::program::Program;

/// Starts it with a range of one address and these options.
fn dnsmasq(lan: &Lan, address: &str, options: &[&str]) -> Program {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
        .args(["--user=root", "--bind-interfaces", "--dhcp-authoritative"])
        .args([
            "--no-ping",
            "--log-facility=-",
            "--pid-file=",
            "--leasefile-ro",
        ])
        .arg(format!("--interface={PORT}"))
        .arg(format!("--dhcp-range={address},{address},10m"))
        .args(options);
    Program::start(&lan.server, "dnsmasq", command, "DHCP, IP range")
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn all_that_it_gives_is_taken() {
    let lan = Lan::new();
    let _server = dnsmasq(
        &lan,
        "192.0.2.50",
        &[
            "--dhcp-option=option:router,192.0.2.9",
            "--dhcp-option=option:dns-server,192.0.2.3,192.0.2.4",
            "--dhcp-option=option:ntp-server,192.0.2.5",
            "--dhcp-option=option:mtu,1400",
            "--dhcp-option=121,10.20.0.0/16,192.0.2.2,0.0.0.0/0,192.0.2.1",
            "--dhcp-option=option:domain-search,eng.example.com,example.com",
            "--domain=lan",
        ],
    );
    let lease = lan.client().lease();
    let given = lease.configuration;
    assert_eq!(lease.server, SERVER);
    assert_eq!(given.address, Ipv4Addr::new(192, 0, 2, 50));
    assert_eq!(given.prefix, 24);
    let network = Route {
        router: Some(Ipv4Addr::new(192, 0, 2, 2)),
        ..Route::on_link(Ipv4Addr::new(10, 20, 0, 0), 16)
    };
    assert_eq!(given.routes, [network, Route::to_all_by(SERVER)]);
    assert_eq!(given.dns, [3, 4].map(|last| Ipv4Addr::new(192, 0, 2, last)));
    assert_eq!(given.ntp, [Ipv4Addr::new(192, 0, 2, 5)]);
    assert_eq!(given.mtu, Some(1400));
    assert_eq!(given.search, ["eng.example.com", "example.com", "lan"]);
    let times = lease.times.expect("it has an end");
    assert_eq!(times.end.as_secs(), 600);
    assert!(times.renew < times.rebind && times.rebind < times.end);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn the_routes_of_option_249_are_taken() {
    let lan = Lan::new();
    let routes = "--dhcp-option-force=249,0a:0a:00:c0:00:02:02";
    let _server = dnsmasq(&lan, "192.0.2.50", &[routes]);
    let given = lan.client().lease().configuration;
    let network = Route {
        router: Some(Ipv4Addr::new(192, 0, 2, 2)),
        ..Route::on_link(Ipv4Addr::new(10, 0, 0, 0), 10)
    };
    assert_eq!(given.routes, [network]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn it_renews_a_lease_again_and_again() {
    let lan = Lan::new();
    let _server = dnsmasq(&lan, "192.0.2.50", &["--dhcp-option=option:T1,3"]);
    let client = lan.client();
    let lease = client.lease();
    for _ in 0..3 {
        assert_eq!(client.renewal().configuration, lease.configuration);
    }
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_renewal_that_it_refuses_is_a_loss_and_the_next_address_is_its_new_one() {
    let lan = Lan::new();
    let t1 = ["--dhcp-option=option:T1,3"];
    let server = dnsmasq(&lan, "192.0.2.50", &t1);
    let client = lan.client();
    client.lease();
    drop(server);
    let _other = dnsmasq(&lan, "192.0.2.60", &t1);
    assert_eq!(client.after_renewals(), Event::Lost(Loss::Refused(SERVER)));
    let address = client.lease().configuration.address;
    assert_eq!(address, Ipv4Addr::new(192, 0, 2, 60));
}
