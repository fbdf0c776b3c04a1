//! Choosing the target. The sysfs and proc here are plain files, laid out as Linux 6.12 lays them out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use gild_disk::Clock;
use gild_disk::select::{Candidate, SelectError, System, Wanted, choose, in_use};
use gild_faults::{Fault, HasFault};

/// A clock that is moved by sleeping on it.
#[derive(Default)]
struct FakeClock(Mutex<Duration>);

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("no test thread panicked")
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().expect("no test thread panicked") += time;
    }
}

const SIZE: u64 = 8 << 30;

/// A machine made of files.
struct Machine {
    directory: tempfile::TempDir,
    disks: Mutex<u32>,
}

/// A disk to be.
#[derive(Clone, Copy)]
struct Nvme {
    serial: &'static str,
    size: u64,
    sector_size: u32,
}

const DISK: Nvme = Nvme {
    serial: "S1",
    size: SIZE,
    sector_size: 512,
};

impl Machine {
    fn new() -> Self {
        let machine = Self {
            directory: tempfile::tempdir().expect("the temporary directory is writable"),
            disks: Mutex::new(0),
        };
        machine.put(
            "proc/self/mountinfo",
            "21 1 0:20 / /proc rw - proc proc rw\n",
        );
        for directory in [
            "sys/block",
            "sys/class/block",
            "sys/class/nvme",
            "sys/bus/pci/devices",
        ] {
            fs::create_dir_all(machine.path(directory))
                .expect("the temporary directory is writable");
        }
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        let parent = path.parent().expect("it has a parent");
        fs::create_dir_all(parent).expect("the temporary directory is writable");
        fs::write(path, text).expect("the temporary directory is writable");
    }

    fn link(&self, from: &str, to: &str) {
        symlink(self.path(to), self.path(from)).expect("the temporary directory is writable");
    }

    /// A controller, without namespaces yet. Gives its directory.
    fn controller(&self) -> (u32, String) {
        let mut count = self.disks.lock().expect("no test thread panicked");
        let number = *count;
        *count += 1;
        let pci = format!("sys/devices/pci/0000:0{number}:00.0");
        let controller = format!("{pci}/nvme/nvme{number}");
        self.put(&format!("{pci}/class"), "0x010802\n");
        self.put(&format!("{controller}/state"), "live\n");
        self.link(&format!("sys/bus/pci/devices/0000:0{number}:00.0"), &pci);
        self.link(&format!("sys/class/nvme/nvme{number}"), &controller);
        (number, controller)
    }

    fn namespace(&self, number: u32, controller: &str, namespace: u32, disk: Nvme) -> String {
        let name = format!("nvme{number}n{namespace}");
        let path = format!("{controller}/{name}");
        self.put(&format!("{path}/size"), &format!("{}\n", disk.size / 512));
        self.put(&format!("{path}/dev"), &format!("259:{}\n", number * 16));
        self.put(&format!("{path}/removable"), "0\n");
        self.put(&format!("{path}/ro"), "0\n");
        self.put(
            &format!("{path}/queue/logical_block_size"),
            &format!("{}\n", disk.sector_size),
        );
        self.put(
            &format!("{controller}/model"),
            "QEMU NVMe Ctrl                          \n",
        );
        self.put(
            &format!("{controller}/serial"),
            &format!("{}          \n", disk.serial),
        );
        self.put(&format!("{path}/{name}p1/partition"), "1\n");
        self.put(
            &format!("{path}/{name}p1/dev"),
            &format!("259:{}\n", number * 16 + 1),
        );
        fs::create_dir_all(self.path(&format!("{path}/{name}p1/holders"))).expect("writable");
        fs::create_dir_all(self.path(&format!("{path}/holders"))).expect("writable");
        self.link(&format!("{path}/device"), controller);
        self.link(&format!("sys/block/{name}"), &path);
        self.link(&format!("sys/class/block/{name}"), &path);
        self.link(
            &format!("sys/class/block/{name}p1"),
            &format!("{path}/{name}p1"),
        );
        path
    }

    fn disk(&self, disk: Nvme) -> String {
        let (number, controller) = self.controller();
        self.namespace(number, &controller, 1, disk)
    }

    fn system(&self) -> System {
        System {
            sys: self.path("sys"),
            proc: self.path("proc"),
            dev: "/dev".into(),
        }
    }

    fn choose(&self, wanted: &Wanted) -> Result<Candidate, SelectError> {
        choose(
            &self.system(),
            wanted,
            &FakeClock::default(),
            Duration::from_secs(30),
        )
    }
}

fn wanted() -> Wanted {
    Wanted {
        size: 4 << 30,
        sector_size: Some(512),
        serial: None,
        boot_medium: None,
    }
}

/// The choice fails with fault 5 and says all of this.
fn assert_refused(machine: &Machine, wanted: &Wanted, words: &[&str]) {
    let error = machine.choose(wanted).expect_err("there is no target");
    assert_eq!(error.fault(), Fault::NoTarget);
    for word in words {
        assert!(
            error.message.contains(word),
            "{word:?} is not in: {}",
            error.message
        );
    }
}

#[test]
fn the_only_disk_is_chosen_and_described() {
    let machine = Machine::new();
    machine.disk(DISK);
    let candidate = machine.choose(&wanted()).expect("it is free");
    let expected = Candidate {
        path: "/dev/nvme0n1".into(),
        model: "QEMU NVMe Ctrl".to_owned(),
        serial: "S1".to_owned(),
        size: SIZE,
        sector_size: 512,
    };
    assert_eq!(candidate, expected);
}

#[test]
fn without_a_disk_the_error_says_so_after_the_wait() {
    let machine = Machine::new();
    assert_refused(&machine, &wanted(), &["no NVMe disk", "30 s"]);
}

#[test]
fn two_disks_are_refused_unless_one_is_named() {
    let machine = Machine::new();
    machine.disk(DISK);
    machine.disk(Nvme {
        serial: "S2",
        ..DISK
    });
    assert_refused(
        &machine,
        &wanted(),
        &["2 NVMe disks", "nvme0n1", "nvme1n1", "S1", "S2"],
    );
    let named = Wanted {
        serial: Some("S2".to_owned()),
        ..wanted()
    };
    let candidate = machine.choose(&named).expect("it is named");
    assert_eq!(candidate.path, PathBuf::from("/dev/nvme1n1"));
}

#[test]
fn a_disk_that_does_not_fit_is_refused_with_the_reason() {
    for (disk, word) in [
        (
            Nvme {
                size: 1 << 30,
                ..DISK
            },
            "too small",
        ),
        (
            Nvme {
                sector_size: 4096,
                ..DISK
            },
            "wrong sector size",
        ),
    ] {
        let machine = Machine::new();
        machine.disk(disk);
        assert_refused(&machine, &wanted(), &["nvme0n1", word]);
    }
    for (file, word) in [("removable", "removable"), ("ro", "write-protected")] {
        let machine = Machine::new();
        let path = machine.disk(DISK);
        machine.put(&format!("{path}/{file}"), "1\n");
        assert_refused(&machine, &wanted(), &["nvme0n1", word]);
    }
}

#[test]
fn a_disk_in_use_is_refused_with_the_use() {
    let uses = [
        (
            "proc/self/mountinfo",
            "30 1 259:1 / /data rw - ext4 /dev/root rw\n",
            "/data",
        ),
        (
            "proc/self/mountinfo",
            "30 1 0:44 / /data rw shared:1 - btrfs /dev/nvme0n1p1 rw\n",
            "/data",
        ),
        (
            "proc/self/mountinfo",
            "30 1 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n",
            "/data",
        ),
        (
            "proc/swaps",
            "Filename Type Size\n/dev/nvme0n1p1 partition 8\n",
            "swap",
        ),
    ];
    for (file, text, word) in uses {
        let machine = Machine::new();
        machine.disk(DISK);
        machine.put(file, text);
        assert_refused(&machine, &wanted(), &["nvme0n1", word]);
    }
    for holder in ["holders/md0", "nvme0n1p1/holders/dm-0"] {
        let machine = Machine::new();
        let path = machine.disk(DISK);
        machine.put(&format!("{path}/{holder}"), "");
        assert_refused(
            &machine,
            &wanted(),
            &["nvme0n1", holder.rsplit('/').next().expect("it has a name")],
        );
    }
}

#[test]
fn the_boot_medium_and_its_neighbours_are_refused() {
    for boot in ["nvme0n1", "nvme0n1p1"] {
        let machine = Machine::new();
        let (number, controller) = machine.controller();
        machine.namespace(number, &controller, 1, DISK);
        machine.namespace(number, &controller, 2, DISK);
        let booted = Wanted {
            boot_medium: Some(boot.to_owned()),
            ..wanted()
        };
        assert_refused(&machine, &booted, &["nvme0n1", "nvme0n2", "booted from it"]);
        machine.disk(DISK);
        let candidate = machine
            .choose(&booted)
            .expect("another controller's disk is free");
        assert_eq!(candidate.path, PathBuf::from("/dev/nvme1n1"));
    }
}

#[test]
fn a_controller_without_a_namespace_is_scanned_again() {
    let machine = Machine::new();
    let (_, controller) = machine.controller();
    assert_refused(&machine, &wanted(), &["no NVMe disk"]);
    let rescan = machine.path(&format!("{controller}/rescan_controller"));
    assert_eq!(fs::read_to_string(rescan).expect("it was written"), "1");
}

/// A clock on which a disk appears.
struct Surprise<'a> {
    clock: FakeClock,
    at: Duration,
    happen: Box<dyn Fn() + Send + Sync + 'a>,
}

impl Clock for Surprise<'_> {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, time: Duration) {
        let before = self.now();
        self.clock.sleep(time);
        if before < self.at && self.now() >= self.at {
            (self.happen)();
        }
    }
}

#[test]
fn a_disk_that_comes_late_is_waited_for() {
    let machine = Machine::new();
    let clock = Surprise {
        clock: FakeClock::default(),
        at: Duration::from_secs(5),
        happen: Box::new(|| drop(machine.disk(DISK))),
    };
    choose(
        &machine.system(),
        &wanted(),
        &clock,
        Duration::from_secs(30),
    )
    .expect("it came");
    assert!(
        clock.now() < Duration::from_secs(6),
        "it was not waited for any longer"
    );
}

#[test]
fn the_other_disk_is_not_taken_because_the_meant_one_does_not_fit() {
    let machine = Machine::new();
    machine.disk(Nvme {
        size: 1 << 30,
        ..DISK
    });
    machine.disk(Nvme {
        serial: "DATA",
        ..DISK
    });
    assert_refused(&machine, &wanted(), &["2 NVMe disks", "too small", "DATA"]);
    let named = Wanted {
        serial: Some("DATA".to_owned()),
        ..wanted()
    };
    machine.choose(&named).expect("it is named");
}

#[test]
fn the_other_disk_is_not_taken_because_the_meant_one_is_dead() {
    let machine = Machine::new();
    machine.disk(DISK);
    // A controller that the kernel sees on the bus and gave up.
    machine.put("sys/devices/pci/0000:09:00.0/class", "0x010802\n");
    machine.link(
        "sys/bus/pci/devices/0000:09:00.0",
        "sys/devices/pci/0000:09:00.0",
    );
    assert_refused(&machine, &wanted(), &["shows no disk", "serial"]);
    let named = Wanted {
        serial: Some(DISK.serial.to_owned()),
        ..wanted()
    };
    machine.choose(&named).expect("it is named");
}

#[test]
fn a_second_disk_that_is_slower_to_come_is_not_overlooked() {
    let machine = Machine::new();
    machine.disk(DISK);
    let (number, controller) = machine.controller();
    let clock = Surprise {
        clock: FakeClock::default(),
        at: Duration::from_secs(5),
        happen: Box::new(|| drop(machine.namespace(number, &controller, 1, DISK))),
    };
    choose(
        &machine.system(),
        &wanted(),
        &clock,
        Duration::from_secs(30),
    )
    .expect_err("there are two");
}

/// What the choice has written to this file of sysfs.
fn written(machine: &Machine, file: &str) -> String {
    fs::read_to_string(machine.path(file)).expect("the file is there")
}

/// A machine with the files that make the kernel look again, and a PCI Express host of the processor.
fn with_a_host(machine: &Machine, name: &str) -> String {
    let host = format!("sys/devices/platform/{name}");
    machine.put("sys/bus/pci/rescan", "");
    machine.put("sys/bus/pci/drivers_probe", "");
    machine.put("sys/bus/platform/drivers_probe", "");
    machine.put(&format!("{host}/of_node/device_type"), "pci\0");
    fs::create_dir_all(machine.path("sys/bus/platform/devices")).expect("writable");
    machine.link(&format!("sys/bus/platform/devices/{name}"), &host);
    host
}

/// A device on PCI below a host, of this class.
fn with_a_device(machine: &Machine, host: &str, address: &str, class: &str) -> String {
    let device = format!("{host}/pci0000:00/{address}");
    machine.put(&format!("{device}/class"), &format!("{class}\n"));
    machine.link(&format!("sys/bus/pci/devices/{address}"), &device);
    device
}

#[test]
fn a_missing_disk_has_the_kernel_look_again_and_start_the_empty_host() {
    let machine = Machine::new();
    let empty = with_a_host(&machine, "1000110000.pcie");
    let busy = with_a_host(&machine, "1000120000.pcie");
    machine.put(&format!("{empty}/driver/unbind"), "");
    machine.put(&format!("{busy}/driver/unbind"), "");
    with_a_device(&machine, &empty, "0000:00:00.0", "0x060400");
    with_a_device(&machine, &busy, "0002:00:00.0", "0x060400");
    with_a_device(&machine, &busy, "0002:01:00.0", "0x020000");
    let error = machine.choose(&wanted()).expect_err("no disk came");
    assert!(error.may_be_hidden, "a restart may bring it back");
    assert_eq!(written(&machine, "sys/bus/pci/rescan"), "1");
    assert_eq!(
        written(&machine, &format!("{empty}/driver/unbind")),
        "1000110000.pcie"
    );
    assert_eq!(
        written(&machine, "sys/bus/platform/drivers_probe"),
        "1000110000.pcie"
    );
    assert_eq!(
        written(&machine, &format!("{busy}/driver/unbind")),
        "",
        "the network hangs on that host"
    );
}

#[test]
fn a_disk_that_the_kernel_gave_up_is_taken_off_the_bus_only_if_there_is_no_other() {
    for others in [false, true] {
        let machine = Machine::new();
        let host = with_a_host(&machine, "1000110000.pcie");
        let device = with_a_device(&machine, &host, "0000:01:00.0", "0x010802");
        machine.put(&format!("{device}/remove"), "");
        if others {
            machine.disk(DISK);
        }
        let error = machine.choose(&wanted()).expect_err("it is dead");
        let removed = if others { "" } else { "1" };
        assert_eq!(written(&machine, &format!("{device}/remove")), removed);
        let probed = if others { "0000:01:00.0" } else { "" };
        assert_eq!(written(&machine, "sys/bus/pci/drivers_probe"), probed);
        assert_eq!(
            error.may_be_hidden, !others,
            "after a restart the other disk might be the only one"
        );
    }
}

#[test]
fn a_disk_at_work_is_left_alone() {
    for state in ["live", "resetting", "connecting", "new"] {
        let machine = Machine::new();
        with_a_host(&machine, "1000110000.pcie");
        let (_, controller) = machine.controller();
        machine.put(&format!("{controller}/state"), &format!("{state}\n"));
        machine.put("sys/devices/pci/0000:00:00.0/remove", "");
        machine.choose(&wanted()).expect_err("it shows no disk");
        assert_eq!(
            written(&machine, "sys/devices/pci/0000:00:00.0/remove"),
            "",
            "{state}"
        );
    }
}

#[test]
fn a_disk_that_drops_off_while_it_is_waited_for_is_not_replaced_by_the_other() {
    let machine = Machine::new();
    machine.disk(DISK);
    let (number, controller) = machine.controller();
    let clock = Surprise {
        clock: FakeClock::default(),
        at: Duration::from_secs(5),
        happen: Box::new(|| {
            for link in ["sys/bus/pci/devices/0000:01:00.0", "sys/class/nvme/nvme1"] {
                fs::remove_file(machine.path(link)).expect("it was there");
            }
        }),
    };
    assert_eq!((number, controller.is_empty()), (1, false));
    let wait = Duration::from_secs(30);
    let error = choose(&machine.system(), &wanted(), &clock, wait).expect_err("one is missing");
    assert!(!error.may_be_hidden, "a restart might leave the other one");
}

#[test]
fn a_host_whose_driver_does_not_let_go_is_left_alone() {
    let machine = Machine::new();
    let host = with_a_host(&machine, "a40000000.pcie");
    fs::create_dir_all(machine.path(&format!("{host}/driver"))).expect("writable");
    machine.choose(&wanted()).expect_err("no disk came");
    assert_eq!(written(&machine, "sys/bus/platform/drivers_probe"), "");
    assert_eq!(written(&machine, "sys/bus/pci/rescan"), "1");
}

#[test]
fn files_that_vanish_while_they_are_read_are_looked_for_again() {
    let machine = Machine::new();
    let path = machine.disk(DISK);
    let size = machine.path(&format!("{path}/size"));
    fs::remove_file(&size).expect("it was there");
    let clock = Surprise {
        clock: FakeClock::default(),
        at: Duration::from_secs(5),
        happen: Box::new(|| machine.put(&format!("{path}/size"), &format!("{}\n", SIZE / 512))),
    };
    let wait = Duration::from_secs(30);
    choose(&machine.system(), &wanted(), &clock, wait).expect("it came back");
    fs::remove_file(&size).expect("it was there");
    let error = machine.choose(&wanted()).expect_err("it stays away");
    assert!(error.message.contains("size"), "{}", error.message);
    assert!(error.may_be_hidden);
}

#[test]
fn any_disk_tells_what_it_is_in_use_for() {
    let machine = Machine::new();
    machine.disk(DISK);
    assert_eq!(
        in_use(&machine.system(), "nvme0n1").expect("it is there"),
        Vec::<String>::new()
    );
    machine.put(
        "proc/self/mountinfo",
        "30 1 259:1 / / rw - ext4 /dev/root rw\n",
    );
    let uses = in_use(&machine.system(), "nvme0n1").expect("it is there");
    assert_eq!(uses, ["nvme0n1p1 is mounted on /"]);
}
