//! Facts about what an interface is set up with. Some need a real one.

use std::fs;

use super::super::testing::cable::{SERVER, cable, ip, tell_mtu};
use super::*;

fn configuration(prefix: u8, routes: Vec<Route>) -> Configuration {
    Configuration {
        address: Ipv4Addr::new(192, 0, 2, 7),
        prefix,
        routes,
        dns: Vec::new(),
        search: Vec::new(),
        ntp: Vec::new(),
        mtu: None,
    }
}

#[test]
fn a_route_is_gone_when_no_other_leads_to_the_same_network() {
    let router = |last| Ipv4Addr::new(192, 0, 2, last);
    let far = Ipv4Addr::new(198, 51, 100, 1);
    let to = |network: [u8; 4], prefix, by| Route {
        router: Some(by),
        ..Route::on_link(network.into(), prefix)
    };
    let former = configuration(
        24,
        vec![
            Route::to_all_by(router(1)),
            to([10, 20, 0, 0], 16, router(2)),
            to([10, 30, 0, 0], 16, far),
            Route::on_link(router(0), 24),
        ],
    );
    let present = configuration(
        24,
        vec![
            Route::to_all_by(router(9)),
            to([10, 20, 0, 0], 16, router(9)),
        ],
    );
    assert_eq!(
        gone(&former, &present),
        [to([10, 30, 0, 0], 16, far), Route::on_link(far, 32)]
    );
    assert_eq!(gone(&former, &former), []);
}

#[test]
fn a_router_that_is_not_near_gets_a_route_of_its_own_first() {
    let near = Route::to_all_by(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(in_order(&configuration(24, vec![near])), [near]);
    let own = Route::on_link(Ipv4Addr::new(192, 0, 2, 1), 32);
    assert_eq!(in_order(&configuration(32, vec![near])), [own, near]);
    let link = Route::on_link(Ipv4Addr::new(192, 0, 2, 0), 28);
    assert_eq!(in_order(&configuration(32, vec![near, link])), [link, near]);
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn what_cannot_be_set_up_whole_leaves_nothing_behind() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, configuration) = cable(root.path());
    fs::create_dir("/etc/resolv.conf").expect("a folder that cannot be written as a file");
    begin(&netlink, &interface, &configuration).expect_err("no name servers");
    assert!(!ip("address show board").contains("192.0.2.50"));
    assert_eq!(ip("route show"), "");
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn the_mtu_of_a_former_lease_does_not_stay() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, mut configuration) = cable(root.path());
    begin(&netlink, &interface, &configuration).expect("an address");
    assert!(ip("link show board").contains("mtu 1400"));
    end(&netlink, &interface, &configuration);
    configuration.mtu = None;
    tell_mtu(root.path());
    begin(&netlink, &interface, &configuration).expect("an address");
    assert!(ip("link show board").contains("mtu 1500"));
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn name_servers_and_domains_go_with_the_address() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, mut configuration) = cable(root.path());
    configuration.dns = vec![SERVER];
    configuration.search = vec!["lab".to_owned()];
    begin(&netlink, &interface, &configuration).expect("an address");
    let names = || fs::read_to_string("/etc/resolv.conf").expect("a file");
    assert!(names().contains("search lab\nnameserver 192.0.2.1\n"));
    end(&netlink, &interface, &configuration);
    let left = names();
    assert!(
        !left.contains("lab") && !left.contains("192.0.2.1"),
        "{left}"
    );
}
