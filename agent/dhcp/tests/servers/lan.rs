//! Two network namespaces with a cable between them. They are not visible outside, and they end with the test.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gild_dhcp::{Event, Lease, News};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
/// The server's end of the cable.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The interface at the server's end.
pub const PORT: &str = "server";
/// The interface of the board.
pub const BOARD: &str = "board";
/// Far longer than anything here takes: only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_mins(2);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in its own network namespace. What it starts is in there too.
pub struct Place {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    fn new() -> Self {
        let (jobs, received) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace: run this as root, as `make test` does");
            for job in received {
                job();
            }
        });
        Self {
            jobs: Some(jobs),
            thread: Some(thread),
        }
    }

    /// Runs something there, and gives what it gives.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        let jobs = self.jobs.as_ref().expect("the place is open");
        jobs.send(job).expect("the place is open");
        result.recv().expect("the job ends without a panic")
    }

    /// Runs a program of iproute2 there.
    pub fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("iproute2 is installed by `make setup`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// A board and its server.
pub struct Lan {
    pub board: Place,
    pub server: Place,
}

impl Lan {
    /// A cable whose server's end has its address.
    pub fn new() -> Self {
        let (board, server) = (Place::new(), Place::new());
        let other = server.run(gettid);
        board.ip(&format!(
            "link add {BOARD} address {} type veth peer name {PORT} netns {other}",
            MAC.map(|byte| format!("{byte:02x}")).join(":")
        ));
        server.ip(&format!("address add {SERVER}/24 dev {PORT}"));
        server.ip(&format!("link set {PORT} up"));
        board.ip(&format!("link set {BOARD} up"));
        Self { board, server }
    }

    /// Starts a client on the board. It is given the address of its lease, as an agent would.
    pub fn client(&self) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (said, received) = mpsc::channel();
        let thread = self.board.run(move || {
            thread::spawn(move || {
                gild_dhcp::run(BOARD, MAC, &stopped, |news| {
                    match &news {
                        News::Event(Event::Bound(lease)) => {
                            let lease = &lease.configuration;
                            let (address, prefix) = (lease.address, lease.prefix);
                            ip(&format!("address add {address}/{prefix} dev {BOARD}"));
                        }
                        News::Event(Event::Lost(_)) => ip(&format!("address flush dev {BOARD}")),
                        News::Event(Event::Renewed(_) | Event::Refused(_))
                        | News::Mute(_)
                        | News::Asks => (),
                    }
                    let _ = said.send(news);
                });
            })
        });
        Client {
            news: received,
            stop,
            thread: Some(thread),
        }
    }
}

/// A client at work.
pub struct Client {
    news: Receiver<News>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// What it says next.
    pub fn news(&self) -> News {
        let news = self.news.recv_timeout(PATIENCE);
        news.expect("something happens within two minutes")
    }

    /// What happens next.
    pub fn event(&self) -> Event {
        match self.news() {
            News::Event(event) => event,
            other => panic!("something happens next, not {other:?}"),
        }
    }

    /// The lease that comes next, after any number of refusals.
    pub fn lease(&self) -> Lease {
        loop {
            match self.event() {
                Event::Bound(lease) => return lease,
                Event::Refused(_) => (),
                other => panic!("a lease comes first, not {other:?}"),
            }
        }
    }

    /// The renewal that comes next.
    pub fn renewal(&self) -> Lease {
        match self.event() {
            Event::Renewed(lease) => lease,
            other => panic!("a renewal comes next, not {other:?}"),
        }
    }

    /// What happens next that is not a renewal.
    pub fn after_renewals(&self) -> Event {
        loop {
            match self.event() {
                Event::Renewed(_) => (),
                other => return other,
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
