//! One machine: a disk that lasts, and boots from it.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::image::Image;
use super::site::{Cable, Site, child_of};
use crate::command::run;
use crate::workspace;

/// A boot takes some seconds, or longer on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// The exit code of systemd-nspawn when the machine wants to restart.
const REBOOT: i32 = 133;

/// How a run of the machine came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was switched off.
    PowerOff,
    /// It wants to start again.
    Reboot,
}

/// A machine whose disk is a separate layer over the golden image.
pub struct Machine<'a> {
    site: &'a Site,
    cables: Vec<Cable>,
    disk: TempDir,
    boots: usize,
    running: Option<Running>,
}

struct Running {
    process: Child,
    /// PID 1 of the machine.
    init: u32,
    /// Only one machine at a time runs, across all test processes. With more, none would finish in time.
    _turn: File,
}

impl<'a> Machine<'a> {
    /// A machine whose disk was just flashed with this image.
    pub fn new(site: &'a Site, image: &Image, cables: &[Cable]) -> Result<Self> {
        let disk = tempfile::Builder::new().prefix("gild-machine-").tempdir()?;
        for name in ["changes", "work", "root"] {
            fs::create_dir(disk.path().join(name))?;
        }
        let machine = Self {
            site,
            cables: cables.to_vec(),
            disk,
            boots: 0,
            running: None,
        };
        let at = |name| machine.disk.path().join(name).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            image.root().display(),
            at("changes"),
            at("work")
        );
        run(site
            .command("mount")
            .args(["-t", "overlay", "overlay", "-o", &options, &at("root")]))?;
        Ok(machine)
    }

    /// A file of the machine. While the machine is off, it is that of its disk; while it runs, it is as the machine sees it. Absolute links
    /// lead to the wrong place.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        match &self.running {
            Some(running) => PathBuf::from(format!("/proc/{}/root/{path}", running.init)),
            None => self.site.path(&self.root().join(path)),
        }
    }

    /// The text of a file of the machine.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("reading the machine's {path}"))
    }

    /// Puts a file on the machine.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let place = self.path(path);
        let parent = place.parent().context("a file in a directory")?;
        fs::create_dir_all(parent)?;
        fs::write(&place, text).with_context(|| format!("writing the machine's {path}"))
    }

    /// The files that this machine has changed or made since it was flashed, as paths of this process.
    #[must_use]
    pub fn changes(&self) -> PathBuf {
        self.disk.path().join("changes")
    }

    /// A program of the machine's disk, run while the machine is off.
    #[must_use]
    pub fn in_its_root(&self, program: &str) -> Command {
        let script = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
        let mut command = self.site.command("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(self.root())
            .arg(program);
        command
    }

    fn root(&self) -> PathBuf {
        self.disk.path().join("root")
    }

    /// Switches it on.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the machine runs already");
        let turn = workspace::lock("nspawn")?;
        for (number, cable) in self.cables.iter().enumerate() {
            self.site.lay(cable, number)?;
        }
        self.boots += 1;
        let console = File::create(self.console_file())?;
        let errors = console.try_clone()?;
        let mut command = self.site.command("systemd-nspawn");
        command
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--console=read-only",
                "--machine=node",
            ])
            .arg(format!("--directory={}", self.root().display()));
        for cable in &self.cables {
            command.arg(format!("--network-interface={}", cable.name));
        }
        let process = command
            .args(["--boot", "--", "systemd.firstboot=off"])
            // The golden image's kernel has only this hierarchy, but the host may also have the old ones.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .spawn()
            .context("starting systemd-nspawn: `make setup` installs it")?;
        let mut running = Running {
            process,
            init: 0,
            _turn: turn,
        };
        let deadline = Instant::now() + PATIENCE;
        while running.init == 0 {
            if let Some(init) = init_of(running.process.id()) {
                running.init = init;
            }
            if let Some(status) = running.process.try_wait()? {
                bail!("systemd-nspawn ended with {status}: {}", self.console());
            }
            ensure!(
                Instant::now() < deadline,
                "the machine does not start: {}",
                self.console()
            );
            thread::sleep(POLL);
        }
        self.running = Some(running);
        Ok(())
    }

    /// Switches it on and waits until it has come up.
    pub fn boot(&mut self) -> Result<()> {
        self.start()?;
        self.wait_until_up()
    }

    /// Waits until every job that the boot queued is done.
    pub fn wait_until_up(&mut self) -> Result<()> {
        self.wait_until("it has come up", |machine| {
            let state = machine.run("systemctl", &["is-system-running"])?;
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            Ok(state == "running" || state == "degraded")
        })
    }

    /// Runs a program on the running machine.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.run_under(&[], program, arguments)
    }

    /// Runs a program that is killed when it begins one of these system calls, at the given count.
    pub fn killed_at(
        &self,
        calls: &str,
        count: usize,
        program: &str,
        arguments: &[&str],
    ) -> Result<()> {
        let inject = format!("inject={calls}:signal=KILL:when={count}");
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &inject,
        ];
        let output = self.run_under(&strace, program, arguments)?;
        ensure!(
            !output.status.success(),
            "{program} made fewer than {count} calls of {calls}"
        );
        Ok(())
    }

    /// A tool of the host enters the machine with the program that it runs.
    fn run_under(&self, tool: &[&str], program: &str, arguments: &[&str]) -> Result<Output> {
        let running = self.running.as_ref().context("the machine is off")?;
        let init = format!("--target={}", running.init);
        let nsenter = [
            "nsenter", &init, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
        ];
        // A program that hangs must not hang the test.
        let words = [&["timeout", "60"], tool, &nsenter, &[program], arguments].concat();
        Command::new("/usr/bin/env")
            .args(words)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {program} on the machine"))
    }

    /// The output of a program that must succeed.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.run(program, arguments)?;
        ensure!(
            output.status.success(),
            "`{program} {}` on the machine ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// One property of a unit, as systemd shows it.
    pub fn unit(&self, unit: &str, property: &str) -> Result<String> {
        self.output(
            "systemctl",
            &["show", "--value", "--property", property, unit],
        )
    }

    /// Waits until a condition is true on the running machine. Another program on it may not be ready to answer yet.
    pub fn wait_until(
        &mut self,
        what: &str,
        mut so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !matches!(so(self), Ok(true)) {
            let running = self.running.as_mut().context("the machine is off")?;
            if let Some(status) = running.process.try_wait()? {
                bail!(
                    "the machine ended with {status} before {what}: {}",
                    self.console()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "in {PATIENCE:?} it never came to be that {what}; {}",
                self.troubles()
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until the machine goes down by itself.
    pub fn wait_for_end(&mut self) -> Result<End> {
        let deadline = Instant::now() + PATIENCE;
        let mut running = self.running.take().context("the machine is off")?;
        loop {
            if let Some(status) = running.process.try_wait()? {
                return match status.code() {
                    Some(REBOOT) => Ok(End::Reboot),
                    Some(0) => Ok(End::PowerOff),
                    _ => bail!("the machine ended with {status}: {}", self.console()),
                };
            }
            if Instant::now() > deadline {
                self.running = Some(running);
                bail!("the machine does not go down; {}", self.troubles());
            }
            thread::sleep(POLL);
        }
    }

    /// Switches it off in an orderly way.
    pub fn power_off(&mut self) -> Result<()> {
        self.output("systemctl", &["poweroff", "--no-block"])?;
        let end = self.wait_for_end()?;
        ensure!(
            end == End::PowerOff,
            "the machine starts again instead of going off"
        );
        Ok(())
    }

    /// Cuts the power. All earlier writes are on the disk. On a real disk a write could be lost or torn, but not here.
    pub fn cut_power(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the machine is off")?;
        running.kill()
    }

    /// All that the machine's console has shown in its last boot.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(self.console_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The journal of the running machine, all boots.
    pub fn journal(&self) -> Result<String> {
        self.output("journalctl", &["--no-pager", "--quiet"])
    }

    fn console_file(&self) -> PathBuf {
        self.disk.path().join(format!("console-{}", self.boots))
    }

    /// What a person would look at in case of trouble.
    fn troubles(&self) -> String {
        let jobs = self.output("systemctl", &["list-jobs", "--no-pager"]);
        let journal = self.journal().unwrap_or_default();
        let lines: Vec<_> = journal.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        format!("jobs: {jobs:?}\njournal:\n{}", last.join("\n"))
    }
}

impl Running {
    /// Everything on the machine ends with PID 1.
    fn kill(&mut self) -> Result<()> {
        let init = i32::try_from(self.init)?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(init),
            nix::sys::signal::Signal::SIGKILL,
        )
        .context("killing the machine")?;
        let status = self.process.wait()?;
        ensure!(
            status.code().is_some() || status.signal().is_some(),
            "the machine ended with {status}"
        );
        Ok(())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
        }
        let root = self.root().display().to_string();
        let _ = run(self.site.command("umount").arg(root));
    }
}

/// PID 1 of the machine that a systemd-nspawn below this nsenter runs, once there is one.
fn init_of(nsenter: u32) -> Option<u32> {
    let nspawn = child_of(nsenter).ok()?;
    let init = child_of(nspawn).ok()?;
    let name = fs::read_to_string(Path::new("/proc").join(init.to_string()).join("comm")).ok()?;
    (name.trim() == "systemd").then_some(init)
}
