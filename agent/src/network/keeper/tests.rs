//! Facts about a lease that is kept, on a real interface in a network namespace of the test's own.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gild_dhcp::{Lease, News, Route};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use nix::unistd::{Pid, gettid};

use super::super::testing::cable::{ADDRESS, MAC, SERVER, board, ip, leave_the_machine};
use super::*;

const LOOK: Duration = Duration::from_millis(100);

/// Waits for a condition. Only a failing test waits until the end.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        thread::sleep(LOOK);
    }
    panic!("it has not happened");
}

/// A server at the other end of the cable, in its own network. It asks for a renewal after two seconds. A renewed lease has another router
/// and no route to 10.20.0.0/16. The server refuses renewals once the test says so.
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

/// An interface that is set up with a lease, and the client that got it. Renewals are refused once the test says so.
fn leased(root: &Path, refuses: Arc<AtomicBool>) -> (Netlink, Interface, Client, Configuration) {
    leave_the_machine();
    let server = serve(refuses);
    ip(&format!(
        "link add board address {MAC} type veth peer name server netns {server}"
    ));
    ip("link set board up");
    let interface = board(root);
    let client = Client::start("board", MAC);
    let Ok(News::Event(Event::Bound(Lease { configuration, .. }))) = client.next_news() else {
        panic!("a lease comes first");
    };
    let netlink = Netlink::open().expect("a netlink socket");
    setup::begin(&netlink, &interface, &configuration).expect("an address");
    (netlink, interface, client, configuration)
}

#[test]
#[ignore = "needs root; `make test` runs it"]
fn a_lease_is_kept_and_an_address_that_is_refused_is_taken_off() {
    let refuses = Arc::new(AtomicBool::new(false));
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (_, interface, client, configuration) = leased(root.path(), refuses.clone());
    assert_eq!(configuration.address, ADDRESS);
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
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let (netlink, interface, client, configuration) = leased(root.path(), Arc::default());
    let keeper = Keeper::start(client, interface.clone(), configuration);
    keeper.give_up(&netlink, &interface);
    assert!(!ip("address show board").contains("192.0.2.50"));
    assert!(!keeper.is_lost());
}
