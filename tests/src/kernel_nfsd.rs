//! The kernel's own NFS server, with Debian's programs for it, in a virtual machine, because this machine's kernel may have none.
//!
//! Real: Debian's arm64 kernel (the virtual boards' own), its nfsd, mountd and exportfs. Simulated: the machine, and the network, which is
//! QEMU's user-mode one. It keeps a caller's port, so the server sees whether that is a privileged one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::board_dtb::MACHINE;
use crate::command::{command, run, run_into};
use crate::kernel::Kernel;
use crate::serial::SerialLog;
use crate::slot::Slot;
use crate::workspace;
use gild_http_testkit::free_port;

const SUITE: &str = "trixie";
/// The programs come first, then their libraries and the files that they read at their start.
const PACKAGES: [&str; 24] = [
    "nfs-kernel-server",
    "rpcbind",
    "busybox-static",
    "netbase",
    "libtirpc-common",
    "libtirpc3t64",
    "libc6",
    "libxml2",
    "libwrap0",
    "libblkid1",
    "libuuid1",
    "zlib1g",
    "liblzma5",
    "libgssapi-krb5-2",
    "libkrb5-3",
    "libk5crypto3",
    "libcom-err2",
    "libkrb5support0",
    "libkeyutils1",
    "libsystemd0",
    "libcap2",
    "libnl-3-200",
    "libnl-genl-3-200",
    "libreadline8t64",
];
const PROGRAMS: [&str; 4] = ["rpc.nfsd", "rpc.mountd", "exportfs", "rpcbind"];
const MODULES: [&str; 2] = ["virtio_net", "nfsd"];
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";
const INIT: &str = include_str!("kernel_nfsd/init");

const START_TIMEOUT: Duration = Duration::from_mins(4);

/// A running machine that serves NFS. Dropping it cuts its power.
pub struct KernelNfsd {
    files: TempDir,
    nfs_port: u16,
    mount_port: u16,
    starts: u32,
    machine: Option<(Child, Slot)>,
}

impl KernelNfsd {
    /// Serves a copy of `directory` as `/srv`, by these lines of `/etc/exports`.
    pub fn start(directory: &Path, exports: &str) -> Result<Self> {
        let files = tempfile::Builder::new()
            .prefix("gild-kernel-nfsd-")
            .tempdir()
            .context("making a directory for the machine's files")?;
        let own = files.path().join("own");
        fs::create_dir_all(own.join("etc"))?;
        fs::write(own.join("etc/exports"), exports)?;
        run(command("cp")
            .arg("-a")
            .arg(directory)
            .arg(own.join("share")))?;
        let mut initramfs = fs::read(system()?.join("initramfs"))?;
        let part = files.path().join("own.cpio");
        archive(&own, &part)?;
        // The kernel unpacks one archive after the other.
        initramfs.extend(fs::read(part)?);
        fs::write(files.path().join("initramfs"), initramfs)?;
        let (nfs_port, mount_port) = (free_port()?, free_port()?);
        let mut server = Self {
            files,
            nfs_port,
            mount_port,
            starts: 0,
            machine: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// The address of a directory below `/srv`.
    #[must_use]
    pub fn url(&self, directory: &str) -> String {
        format!(
            "nfs://127.0.0.1:{}/srv/{directory}?mountport={}",
            self.nfs_port, self.mount_port
        )
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        if let Some((mut qemu, _slot)) = self.machine.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }

    /// Applies power again and waits until it serves. Everything is as at the first start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let slot = Slot::take()?;
        self.starts += 1;
        let log = self
            .files
            .path()
            .join(format!("serial-{}.log", self.starts));
        let errors = fs::File::create(self.files.path().join("qemu.log"))?;
        // The kernel ends QEMU when the tests end, however they end.
        let mut qemu = command("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-aarch64",
            "-M",
            "virt,acpi=off",
        ])
        .args(MACHINE)
        .arg("-kernel")
        .arg(Kernel::fetched()?.image())
        .arg("-initrd")
        .arg(self.files.path().join("initramfs"))
        .args(["-append", "console=ttyAMA0 quiet panic=-1", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", log.display()))
        .arg("-netdev")
        .arg(format!(
            "user,id=net0,hostfwd=tcp:127.0.0.1:{}-:2049,hostfwd=tcp:127.0.0.1:{}-:20048",
            self.nfs_port, self.mount_port
        ))
        .args(["-device", "virtio-net-pci,netdev=net0,romfile="]);
        let machine =
            qemu.stdin(Stdio::null()).stderr(errors).spawn().context(
                "starting QEMU: is qemu-system-aarch64 installed? `make setup` installs it",
            )?;
        self.machine = Some((machine, slot));
        self.wait_until_it_serves(&log)
    }

    fn wait_until_it_serves(&mut self, log: &Path) -> Result<()> {
        let mut serial = SerialLog::at(log);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            while let Some(line) = serial.next_line() {
                if line.contains("kernel-nfsd: ready") {
                    return Ok(());
                }
            }
            let (qemu, _) = self.machine.as_mut().context("the machine is off")?;
            if let Some(status) = qemu.try_wait()? {
                let said = fs::read_to_string(self.files.path().join("qemu.log"));
                bail!(
                    "QEMU ended with {status}: {}\n{}",
                    said.unwrap_or_default().trim(),
                    serial.tail()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the machine does not serve after {START_TIMEOUT:?}:\n{}",
                serial.tail()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for KernelNfsd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The machine's initramfs without the served directory. It is fetched and built once.
fn system() -> Result<PathBuf> {
    let kernel = Kernel::fetched()?;
    let key = workspace::key(
        &[],
        &[include_str!("kernel_nfsd.rs"), INIT, &kernel.version()?],
    )?;
    workspace::cached("kernel-nfsd", &key, |directory| {
        let packages = directory.join("packages");
        let debian = directory.join("debian");
        for package in PACKAGES {
            let archive = workspace::root().join("toolchain/debian-archive");
            run(command(&archive.to_string_lossy())
                .args(["download", SUITE, "arm64", package])
                .arg(&packages))?;
        }
        for package in fs::read_dir(&packages)? {
            run(command("dpkg-deb")
                .arg("-x")
                .arg(package?.path())
                .arg(&debian))?;
        }
        let root = directory.join("root");
        for folder in ["bin", "etc", "lib", "modules", "usr/sbin"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy(debian.join("usr/bin/busybox"), root.join("bin/busybox"))?;
        for file in ["netconfig", "protocols", "rpc", "services"] {
            fs::copy(debian.join("etc").join(file), root.join("etc").join(file))?;
        }
        for program in PROGRAMS {
            let program = debian.join("usr/sbin").join(program);
            run(command("cp").arg(&program).arg(root.join("usr/sbin")))?;
            for library in libraries(&debian.join(LIBRARIES), &program)? {
                run(command("cp").arg("-L").arg(library).arg(root.join("lib")))?;
            }
        }
        for (index, (name, bytes)) in kernel.modules(&MODULES)?.into_iter().enumerate() {
            fs::write(root.join(format!("modules/{index:02}-{name}.ko")), bytes)?;
        }
        for (file, text, mode) in [
            ("init", INIT, "755"),
            ("etc/passwd", "root:x:0:0:::\n_rpc:x:1:1:::\n", "644"),
            ("etc/group", "root:x:0:\n_rpc:x:1:\n", "644"),
            ("etc/hosts", "127.0.0.1 localhost\n10.0.2.2 caller\n", "644"),
        ] {
            fs::write(root.join(file), text)?;
            run(command("chmod").arg(mode).arg(root.join(file)))?;
        }
        archive(&root, &directory.join("initramfs"))?;
        for folder in [packages, debian, root] {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    })
}

/// What an arm64 program loads, its loader included.
fn libraries(folder: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let loader = folder.join("ld-linux-aarch64.so.1");
    let run_arm64 = workspace::root().join("toolchain/run-arm64");
    let list = run(command(&run_arm64.to_string_lossy())
        .arg(&loader)
        .arg("--library-path")
        .arg(folder)
        .arg("--list")
        .arg(program))?;
    let list = String::from_utf8(list).context("the list of libraries")?;
    ensure!(
        !list.contains("not found"),
        "a package is missing for {}:\n{list}",
        program.display()
    );
    let names = list.lines().filter_map(|line| line.split_once(" => "));
    let paths = names.filter_map(|(_, path)| path.split(' ').next());
    Ok(paths.map(PathBuf::from).collect())
}

/// A directory as an archive for the kernel, in which everything is root's.
fn archive(directory: &Path, output: &Path) -> Result<()> {
    run_into(
        command("sh")
            .args(["-c", "find . | cpio --quiet -o -H newc -R 0:0"])
            .current_dir(directory),
        output,
    )
}
