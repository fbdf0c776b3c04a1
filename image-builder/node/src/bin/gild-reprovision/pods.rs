//! The pods of this node, found by their processes. Each pod has a containerd-shim, and its containers are children of the shim. They keep
//! running when k3s stops.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::say::say;

const SHIM: &str = "containerd-shim";
/// The time that Kubernetes gives a pod to end, unless the pod asks for another.
const GRACE: Duration = Duration::from_secs(30);
/// A killed process ends at once, unless it waits for a disk.
const AFTER_KILL: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    /// When it started, in clock ticks. It tells this process from a later one with the same id.
    start: u64,
    program: String,
}

/// The pods of this node.
pub struct Pods<'a> {
    root: &'a Path,
    /// The beginning of the path of a shim's program.
    data: &'a str,
    grace: Duration,
    after_kill: Duration,
}

impl<'a> Pods<'a> {
    /// The pods of the machine with this root directory.
    pub fn of(root: &'a Path) -> Self {
        Self {
            root,
            data: "/",
            grace: GRACE,
            after_kill: AFTER_KILL,
        }
    }

    /// How many run.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.shims(&processes(self.root)?).len())
    }

    /// Ends all of them, first with the signal of a normal shutdown, then by force. Returns when they are gone.
    pub fn end(&self) -> Result<()> {
        let mut known = Known::default();
        self.look(&mut known)?;
        signal(&self.containers(&processes(self.root)?), Signal::SIGTERM)?;
        let start = Instant::now();
        while !self.containers(&self.look(&mut known)?).is_empty() {
            if start.elapsed() > self.grace {
                say(&format!(
                    "some pods did not end within {} seconds, and are killed",
                    self.grace.as_secs()
                ));
                break;
            }
            sleep(LOOK);
        }
        // A shim dies at once, but the processes that it started may live on.
        let start = Instant::now();
        loop {
            let all = self.look(&mut known)?;
            let left = known.left(&all);
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() > self.after_kill {
                bail!(
                    "processes of pods cannot be killed ({left:?}): they wait for a disk or a server that does not answer; next: bring that back, or restart this node"
                );
            }
            signal(&left, Signal::SIGKILL)?;
            sleep(LOOK);
        }
    }

    /// The present processes. Adds those of pods to `known`.
    fn look(&self, known: &mut Known) -> Result<Vec<Process>> {
        let all = processes(self.root)?;
        let first = [self.shims(&all), known.left(&all)].concat();
        known.add(&all, &descendants(&all, &first));
        Ok(all)
    }

    /// k3s has its programs in `<its folder>/data/<hash>/bin`. The shims of another containerd are elsewhere, and do not count.
    fn shims(&self, all: &[Process]) -> Vec<i32> {
        let is_shim = |process: &&Process| {
            let parts: Vec<&str> = process.program.rsplit('/').take(4).collect();
            process.program.starts_with(self.data)
                && matches!(parts[..], [name, "bin", _, "data"] if name.starts_with(SHIM))
        };
        let shims = all.iter().filter(is_shim);
        shims.map(|process| process.id).collect()
    }

    fn containers(&self, all: &[Process]) -> Vec<i32> {
        let shims = self.shims(all);
        let containers = all.iter().filter(|process| shims.contains(&process.parent));
        containers.map(|process| process.id).collect()
    }
}

/// Processes of pods, each by its id and its start.
#[derive(Default)]
struct Known(BTreeSet<(i32, u64)>);

impl Known {
    fn add(&mut self, all: &[Process], ids: &[i32]) {
        let found = all.iter().filter(|process| ids.contains(&process.id));
        self.0
            .extend(found.map(|process| (process.id, process.start)));
    }

    /// Those that still exist.
    fn left(&self, all: &[Process]) -> Vec<i32> {
        let is_known = |process: &&Process| self.0.contains(&(process.id, process.start));
        let left = all.iter().filter(is_known);
        left.map(|process| process.id).collect()
    }
}

fn signal(ids: &[i32], signal: Signal) -> Result<()> {
    for id in ids {
        match kill(Pid::from_raw(*id), signal) {
            // It ended in the meantime.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("ending process {id}")),
        }
    }
    Ok(())
}

/// These processes and everything that they started.
fn descendants(all: &[Process], first: &[i32]) -> Vec<i32> {
    let mut found = first.to_vec();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for process in all.iter().filter(|process| process.parent == parent) {
            if !found.contains(&process.id) {
                found.push(process.id);
            }
        }
    }
    found
}

fn processes(root: &Path) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("proc"))? {
        let path = entry?.path();
        // A process that ended in the meantime cannot be read.
        let stat = fs::read_to_string(path.join("stat"));
        let command = fs::read(path.join("cmdline"));
        if let (Ok(stat), Ok(command)) = (stat, command) {
            found.extend(process(&stat, &command));
        }
    }
    Ok(found)
}

/// Reads a process from `/proc`: its `stat` and its `cmdline`. In `stat` the program's name may have any characters between its brackets.
fn process(stat: &str, command: &[u8]) -> Option<Process> {
    let id = stat.split(' ').next()?.parse().ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    // The numbers of proc(5). The first word here is its field 3.
    let number = |field: usize| words.get(field - 3)?.parse::<u64>().ok();
    // A zombie has ended, unless it is the main thread of a program whose other threads run.
    if words.first() == Some(&"Z") && number(20)? < 2 {
        return None;
    }
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Process {
        id,
        parent: number(4)?.try_into().ok()?,
        start: number(22)?,
        program: String::from_utf8_lossy(program).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    const DATA: &str = "/var/lib/rancher/k3s/data/0a1b/bin";

    /// A line of `/proc/<id>/stat`.
    fn stat(id: i32, state: char, parent: i32, threads: u32, start: u64) -> String {
        format!(
            "{id} (a) b ({id}) {state} {parent} {parent} 0 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 {threads} 0 {start} 0 0\n"
        )
    }

    fn tree() -> Vec<Process> {
        let row = |id: i32, parent: i32, program: &str| {
            let command = format!("{program}\0-id\0x\0");
            process(&stat(id, 'S', parent, 1, 77), command.as_bytes()).expect("a process")
        };
        vec![
            row(1, 0, "/usr/lib/systemd/systemd"),
            row(10, 1, "/usr/local/bin/k3s"),
            row(11, 10, "containerd"),
            row(20, 1, &format!("{DATA}/containerd-shim-runc-v2")),
            row(21, 20, "/pause"),
            row(22, 20, "nginx: master process"),
            row(23, 22, "nginx: worker process"),
            row(30, 1, "/usr/bin/containerd-shim-runc-v2"),
            row(32, 30, "docker's"),
            row(31, 1, "sh"),
        ]
    }

    #[test]
    fn a_pod_is_its_shim_and_all_below_it() {
        let (all, pods) = (tree(), Pods::of(Path::new("/")));
        assert_eq!(pods.shims(&all), [20]);
        assert_eq!(pods.containers(&all), [21, 22]);
        assert_eq!(descendants(&all, &[20]), [20, 21, 22, 23]);
    }

    #[test]
    fn a_process_that_has_ended_or_is_not_one_does_not_count() {
        assert_eq!(process(&stat(7, 'Z', 20, 1, 77), b""), None);
        assert_eq!(process("version 6.12\n", b""), None);
        // Its other threads still run.
        assert!(process(&stat(7, 'Z', 20, 2, 77), b"").is_some());
    }

    #[test]
    fn a_process_that_got_the_id_of_a_known_one_is_another() {
        let of = |start| process(&stat(7, 'S', 1, 1, start), b"x\0").expect("a process");
        let mut known = Known::default();
        known.add(&[of(77)], &[7]);
        assert_eq!(known.left(&[of(77)]), [7]);
        assert_eq!(known.left(&[of(78)]), [0; 0]);
    }

    #[test]
    fn a_container_that_outlives_its_shim_is_waited_for() {
        // No process of this machine can have these ids.
        let (shim, container) = (i32::MAX - 1, i32::MAX);
        let root = tempfile::tempdir().expect("a folder");
        let put = |id: i32, parent: i32, program: &str| {
            let folder = root.path().join(format!("proc/{id}"));
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("stat"), stat(id, 'D', parent, 1, 77)).expect("a file");
            fs::write(folder.join("cmdline"), format!("{program}\0")).expect("a file");
        };
        let gone = |id: i32| {
            fs::remove_dir_all(root.path().join(format!("proc/{id}"))).expect("it was there");
        };
        put(shim, 1, &format!("{DATA}/containerd-shim-runc-v2"));
        put(container, shim, "writes-to-nfs");
        let pods = Pods {
            grace: Duration::from_secs(1),
            after_kill: Duration::from_secs(4),
            ..Pods::of(root.path())
        };
        let error = std::thread::scope(|scope| {
            let end = scope.spawn(|| pods.end());
            sleep(Duration::from_secs(3));
            // The shim has been killed, and its container waits for a server.
            gone(shim);
            end.join().expect("no panic").expect_err("an end")
        });
        assert!(error.to_string().contains("cannot be killed"), "{error}");
        put(shim, 1, &format!("{DATA}/containerd-shim-runc-v2"));
        std::thread::scope(|scope| {
            let end = scope.spawn(|| pods.end());
            sleep(Duration::from_secs(3));
            gone(shim);
            gone(container);
            end.join().expect("no panic").expect("an end");
        });
    }

    #[test]
    fn pods_end_whether_they_want_to_or_not() {
        // A shell with this name and two children, one of which ignores the signal. Nothing else on this machine has the name.
        let data = format!("/gild-test-{}/", std::process::id());
        let script = "sh -c 'trap \"\" TERM; sleep 50; sleep 50' & sleep 50 & wait";
        let mut shim = Command::new("sh")
            .arg0(format!("{data}data/0a1b/bin/containerd-shim-runc-v2"))
            .args(["-c", script])
            .spawn()
            .expect("a shell");
        let pods = Pods {
            data: &data,
            grace: Duration::from_secs(1),
            ..Pods::of(Path::new("/"))
        };
        let own = || {
            let all = processes(pods.root).expect("processes");
            descendants(&all, &pods.shims(&all))
        };
        while own().len() < 4 {
            sleep(LOOK);
        }
        let before = own();
        assert_eq!(pods.count().expect("processes"), 1);
        pods.end().expect("an end");
        let left = processes(pods.root).expect("processes");
        assert!(!left.iter().any(|process| before.contains(&process.id)));
        shim.wait().expect("it ended");
    }
}
