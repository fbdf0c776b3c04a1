//! The pods that run on this node, as its processes show them: each has a containerd-shim, whose children are its containers.
//! They run on when k3s is stopped.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SHIM: &str = "containerd-shim";
/// As long as Kubernetes gives a pod, if the pod does not say otherwise.
const GRACE: Duration = Duration::from_secs(30);
/// What has been killed goes at once, unless it waits for a disk.
const AFTER_KILL: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    program: String,
}

/// The pods of this node.
pub struct Pods<'a> {
    root: &'a Path,
    /// How the path of a shim's program begins.
    data: &'a str,
    grace: Duration,
}

impl<'a> Pods<'a> {
    /// Those of the machine with this root directory.
    pub fn of(root: &'a Path) -> Self {
        Self {
            root,
            data: "/",
            grace: GRACE,
        }
    }

    /// How many run.
    pub fn count(&self) -> io::Result<usize> {
        Ok(self.shims(&processes(self.root)?).len())
    }

    /// Ends all of them: first as a shutdown does, then by force. Returns once they are gone.
    pub fn end(&self) -> Result<()> {
        signal(&self.containers(&processes(self.root)?), Signal::SIGTERM)?;
        if !self.are_gone(self.grace, Self::containers)? {
            println!(
                "some pods did not end within {} seconds, and are killed",
                self.grace.as_secs()
            );
        }
        signal(&self.all(&processes(self.root)?), Signal::SIGKILL)?;
        if !self.are_gone(AFTER_KILL, Self::all)? {
            bail!(
                "processes of pods cannot be killed: they wait for a disk or a server that does not answer"
            );
        }
        Ok(())
    }

    fn are_gone(
        &self,
        patience: Duration,
        which: impl Fn(&Self, &[Process]) -> Vec<i32>,
    ) -> Result<bool> {
        let start = Instant::now();
        loop {
            if which(self, &processes(self.root)?).is_empty() {
                return Ok(true);
            }
            if start.elapsed() > patience {
                return Ok(false);
            }
            sleep(LOOK);
        }
    }

    /// k3s has its programs in `<its folder>/data/<hash>/bin`. The shims of another containerd are not its own.
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

    /// The shims, the containers and all that these have started.
    fn all(&self, all: &[Process]) -> Vec<i32> {
        descendants(all, &self.shims(all))
    }
}

fn signal(ids: &[i32], signal: Signal) -> Result<()> {
    for id in ids {
        match kill(Pid::from_raw(*id), signal) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("ending process {id}")),
        }
    }
    Ok(())
}

/// These and all that they have started.
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
        // One that has ended meanwhile can be read no more.
        let stat = fs::read_to_string(path.join("stat"));
        let command = fs::read(path.join("cmdline"));
        if let (Ok(stat), Ok(command)) = (stat, command) {
            found.extend(process(&stat, &command));
        }
    }
    Ok(found)
}

/// One of `/proc`: its `stat`, in which a program's name may have anything between its brackets, and its `cmdline`.
fn process(stat: &str, command: &[u8]) -> Option<Process> {
    let id = stat.split(' ').next()?.parse().ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    // A zombie has ended.
    if words.next()? == "Z" {
        return None;
    }
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Process {
        id,
        parent: words.next()?.parse().ok()?,
        program: String::from_utf8_lossy(program).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    const DATA: &str = "/var/lib/rancher/k3s/data/0a1b/bin";

    fn tree() -> Vec<Process> {
        let row = |id: i32, parent: i32, program: &str| {
            let stat = format!("{id} (a) b ({id}) S {parent} {parent} 0 -1");
            let command = format!("{program}\0-id\0x\0");
            process(&stat, command.as_bytes()).expect("a process")
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
        assert_eq!(pods.all(&all), [20, 21, 22, 23]);
    }

    #[test]
    fn a_process_that_has_ended_or_is_not_one_does_not_count() {
        assert_eq!(process("7 (x) Z 20 20 0", b""), None);
        assert_eq!(process("version 6.12\n", b""), None);
    }

    #[test]
    fn pods_end_whether_they_want_to_or_not() {
        // A shell of this name with two children, of which one ignores the signal. Nothing else on this machine has the name.
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
        let own = || pods.all(&processes(pods.root).expect("processes"));
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
