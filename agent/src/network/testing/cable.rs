//! A real interface with a cable, in a network namespace of the test's own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use gild_boards::mac::Mac;
use gild_dhcp::{Configuration, Route};
use gild_identity::Interface;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::netlink::Netlink;

/// Of the server at the other end.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Of the interface, when it has one.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// Of the interface.
pub const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

/// Runs a program of iproute2, and gives what it says.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is installed by `make setup`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Puts this thread into its own network, where /etc is its own too.
pub fn leave_the_machine() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("namespaces: run this as root, as `make test` does");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of its own");
    let kind = Some("tmpfs");
    mount(kind, "/etc", kind, MsFlags::empty(), None::<&str>).expect("an /etc of its own");
}

/// Puts the interface's MTU into its description, as the kernel would.
pub fn tell_mtu(root: &Path) {
    let line = ip("-oneline link show board");
    let mut words = line.split(' ').skip_while(|word| *word != "mtu");
    let mtu = words.nth(1).expect("its MTU");
    fs::write(root.join("sys/class/net/board/mtu"), mtu).expect("a file");
}

/// A cable with nobody at its other end, and a lease for the interface.
pub fn cable(root: &Path) -> (Netlink, Interface, Configuration) {
    leave_the_machine();
    ip("link add board type veth peer name server");
    ip("link set server up");
    ip("link set board up");
    let configuration = Configuration {
        address: ADDRESS,
        prefix: 24,
        routes: vec![Route::to_all_by(SERVER)],
        dns: Vec::new(),
        search: Vec::new(),
        ntp: Vec::new(),
        mtu: Some(1400),
    };
    let netlink = Netlink::open().expect("a netlink socket");
    (netlink, board(root), configuration)
}

/// The interface, as its description in sysfs says it.
pub fn board(root: &Path) -> Interface {
    let path = root.join("sys/class/net/board");
    fs::create_dir_all(&path).expect("an interface");
    let line = ip("-oneline link show board");
    let (index, _) = line.split_once(':').expect("its number");
    fs::write(path.join("ifindex"), index).expect("a file");
    tell_mtu(root);
    Interface::named(root, "board").expect("an interface")
}
