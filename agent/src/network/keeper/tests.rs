//! Facts about a lease that is kept, on a real interface in a network namespace of the test's own.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gild_boards::mac::Mac;
use gild_card_format::Networks;
use gild_dhcp::{Lease, News, Route};
use gild_format::network::Settings;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use nix::unistd::{Pid, gettid};

use super::super::asked::Asked;
use super::super::testing::{asked, search};
use super::*;
use crate::led::Led;
use crate::machine::Machine;

const LOOK: Duration = Duration::from_millis(100);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is installed by `make setup`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for something. Only a test that fails waits to the end.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        thread::sleep(LOOK);
    }
    panic!("it has not happened");
}

/// Puts this thread into a network of its own, where /etc is its own too.
fn leave_the_machine() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("namespaces: run this as root, as `make test` does");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of its own");
    let kind = Some("tmpfs");
    mount(kind, "/etc", kind, MsFlags::empty(), None::<&str>).expect("an /etc of its own");
}

/// A server at the other end of the cable, in a network of its own. Leases are to be renewed after two seconds. Renewals move
/// the router, have no route to 10.20.0.0/16 any more, and are refused once the test says so.
fn serve(refuses: Arc<AtomicBool>) -> Pid {
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        tell.send(gettid()).expect("the test waits");
        let devices = || fs::read_to_string("/proc/thread-self/net/dev").expect("the devices");
        while !devices().contains("server:") {
            thread::sleep(LOOK);
        }
        ip(&format!("address add {SERVER}/24 dev server"));
        ip("link set server up");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).expect("the port of servers");
        setsockopt(&socket.as_fd(), BindToDevice, &"server".into()).expect("one interface");
        socket.set_broadcast(true).expect("answers to all");
        loop {
            let mut bytes = [0; 1500];
            let (length, _) = socket.recv_from(&mut bytes).expect("a request");
            let request = &bytes[..length];
            let is_renewal = request[12] != 0;
            let kind = match request[242] {
                1 => 2,
                _ if refuses.load(Ordering::Relaxed) => 6,
                _ => 5,
            };
            let mut answer = request[..240].to_vec();
            answer[0] = 2;
            answer[16..20].copy_from_slice(&ADDRESS.octets());
            let router = if is_renewal { 2 } else { 1 };
            let mut classless = vec![121, 5, 0, 192, 0, 2, router];
            if !is_renewal {
                classless[1] += 7;
                classless.extend([16, 10, 20, 192, 0, 2, 3]);
            }
            answer.extend([53, 1, kind, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 0, 90]);
            answer.extend([58, 4, 0, 0, 0, 2, 59, 4, 0, 0, 0, 60]);
            answer.extend([1, 4, 255, 255, 255, 0]);
            answer.extend(classless);
            answer.push(255);
            let to = if is_renewal {
                ADDRESS
            } else {
                Ipv4Addr::BROADCAST
            };
            socket.send_to(&answer, (to, 68)).expect("an answer");
        }
    });
    heard.recv().expect("the server's thread")
}

/// Puts the interface's MTU into its description, as the kernel would.
fn tell_mtu(root: &Path) {
    let line = ip("-oneline link show board");
    let mut words = line.split(' ').skip_while(|word| *word != "mtu");
    let mtu = words.nth(1).expect("its MTU");
    fs::write(root.join("sys/class/net/board/mtu"), mtu).expect("a file");
}

/// A cable with nobody at its other end, and a lease for the interface.
fn cable(root: &Path) -> (Netlink, Interface, Configuration) {
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

#[test]
#[ignore = "needs root; `make test` runs it"]
fn what_cannot_be_set_up_whole_leaves_nothing_behind() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, configuration) = cable(root.path());
    fs::create_dir("/etc/resolv.conf").expect("a folder that cannot be written as a file");
    setup::begin(&netlink, &interface, &configuration).expect_err("no name servers");
    assert!(!ip("address show board").contains("192.0.2.50"));
    assert_eq!(ip("route show"), "");
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn the_mtu_of_a_former_lease_does_not_stay() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, mut configuration) = cable(root.path());
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    assert!(ip("link show board").contains("mtu 1400"));
    setup::end(&netlink, &interface, &configuration);
    configuration.mtu = None;
    tell_mtu(root.path());
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    assert!(ip("link show board").contains("mtu 1500"));
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn name_servers_and_domains_go_with_the_address() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, mut configuration) = cable(root.path());
    configuration.dns = vec![SERVER];
    configuration.search = vec!["lab".to_owned()];
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    let names = || fs::read_to_string("/etc/resolv.conf").expect("a file");
    assert!(names().contains("search lab\nnameserver 192.0.2.1\n"));
    setup::end(&netlink, &interface, &configuration);
    let left = names();
    assert!(
        !left.contains("lab") && !left.contains("192.0.2.1"),
        "{left}"
    );
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn where_one_interface_cannot_be_set_up_the_next_one_is_used() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, configuration) = cable(root.path());
    let describe = |name: &str, file: &str, text: &str| {
        let path = root.path().join("sys/class/net").join(name);
        fs::create_dir_all(&path).expect("an interface");
        fs::write(path.join(file), text).expect("a file");
    };
    describe("board", "address", &MAC.to_string());
    describe("gone", "address", &MAC.to_string());
    describe("gone", "ifindex", "4000");
    let gone = Interface::named(root.path(), "gone").expect("an interface");
    let asked = |interface: &Interface| Asked {
        given: Some(configuration.clone()),
        ..asked(interface, None)
    };
    let machine = Machine::new(Led::start(), Duration::from_secs(1));
    let networks = Networks::default();
    let mut search = search(
        &netlink,
        &machine,
        &networks,
        vec![asked(&gone), asked(&interface)],
    );
    let network = search.settle(Duration::ZERO, &Settings::default());
    assert_eq!(network.map(|network| network.interface), Some(interface));
    assert!(ip("address show board").contains("192.0.2.50/24"));

    search.asked = vec![asked(&gone)];
    assert!(
        search
            .settle(Duration::ZERO, &Settings::default())
            .is_none()
    );
    assert!(search.has_no_hope());
}

/// The interface, as its description in sysfs says it.
fn board(root: &Path) -> Interface {
    let path = root.join("sys/class/net/board");
    fs::create_dir_all(&path).expect("an interface");
    let line = ip("-oneline link show board");
    let (index, _) = line.split_once(':').expect("its number");
    fs::write(path.join("ifindex"), index).expect("a file");
    tell_mtu(root);
    Interface::named(root, "board").expect("an interface")
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_lease_is_kept_and_an_address_that_is_refused_is_taken_off() {
    leave_the_machine();
    let refuses = Arc::new(AtomicBool::new(false));
    let server = serve(refuses.clone());
    ip(&format!(
        "link add board address {MAC} type veth peer name server netns {server}"
    ));
    ip("link set board up");
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let interface = board(root.path());

    let client = Client::start("board", MAC);
    let Ok(News::Event(Event::Bound(Lease { configuration, .. }))) = client.next_news() else {
        panic!("a lease comes first");
    };
    assert_eq!(configuration.address, ADDRESS);
    let netlink = Netlink::open().expect("a netlink socket");
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    assert_eq!(configuration.routes[0], Route::to_all_by(SERVER));
    assert!(ip("route show default").contains("via 192.0.2.1"));
    assert!(ip("route show 10.20.0.0/16").contains("via 192.0.2.3"));

    let keeper = Keeper::start(client, interface, configuration);
    wait_until(|| ip("route show default").contains("via 192.0.2.2"));
    wait_until(|| ip("route show 10.20.0.0/16").is_empty());
    assert!(!keeper.is_lost(), "renewals are granted");
    assert!(ip("address show board").contains("192.0.2.50/24"));
    refuses.store(true, Ordering::Relaxed);
    wait_until(|| keeper.is_lost());
    assert!(!ip("address show board").contains("192.0.2.50"));
    assert_eq!(ip("route show default"), "");
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn what_is_given_up_is_taken_off_and_is_not_a_loss() {
    leave_the_machine();
    let server = serve(Arc::default());
    ip(&format!(
        "link add board address {MAC} type veth peer name server netns {server}"
    ));
    ip("link set board up");
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let interface = board(root.path());
    let client = Client::start("board", MAC);
    let Ok(News::Event(Event::Bound(Lease { configuration, .. }))) = client.next_news() else {
        panic!("a lease comes first");
    };
    let netlink = Netlink::open().expect("a netlink socket");
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    let keeper = Keeper::start(client, interface.clone(), configuration);
    keeper.give_up(&netlink, &interface);
    assert!(!ip("address show board").contains("192.0.2.50"));
    assert!(!keeper.is_lost());
}
