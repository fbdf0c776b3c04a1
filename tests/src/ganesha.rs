//! nfs-ganesha, an NFS server that no one here wrote, serving a directory on an address of this machine.
//!
//! Ganesha insists on registering with rpcbind, through rpcbind's local socket in `/run`. It gets
//! its own rpcbind: both see their own `/run` (a mount namespace), and the rpcbind sits
//! in its own network namespace, so that it opens no port of the machine. Ganesha itself stays
//! in the machine's network, where this process and virtual boards reach it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gild_http_testkit::free_port;
use tempfile::TempDir;

/// The path at which the directory is exported.
pub const EXPORT: &str = "/gild";

const START_TIMEOUT: Duration = Duration::from_secs(30);
const LOG_TAIL_LINES: usize = 15;

/// Runs as the first process of its own namespaces, so everything in them dies with it. Its input ends when the process that started it has
/// gone, however that happened. Then it ends ganesha too.
const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
$3 rpcbind -f -w &
rpcbind=$!
while [ ! -S /run/rpcbind.sock ]; do
    kill -0 "$rpcbind" || { echo 'rpcbind ended before it was ready'; exit 1; }
    sleep 0.02
done
exec 3<&0
{ cat <&3 >/dev/null; kill -TERM 1; } &
exec ganesha.nfsd -F -f "$1" -L "$2" -p /run/ganesha.pid -N NIV_EVENT
"#;

/// How the directory is exported.
#[derive(Clone, Debug)]
pub struct Export {
    /// The address of this machine at which it is served.
    pub address: Ipv4Addr,
    /// Its name for clients if `by_pseudo` is set. Otherwise they mount it by the directory's own path.
    pub pseudo: String,
    /// Whether clients know it by its pseudo path.
    pub by_pseudo: bool,
    /// Whether root on another machine counts as nobody.
    pub squashes_root: bool,
    /// The most that one READ brings.
    pub max_read: Option<u32>,
    /// Whether only callers with a port below 1024 are served.
    pub privileged_ports: bool,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST,
            pseudo: EXPORT.to_owned(),
            by_pseudo: true,
            squashes_root: false,
            max_read: None,
            privileged_ports: false,
        }
    }
}

/// A running nfs-ganesha. Dropping it kills it.
pub struct Ganesha {
    files: TempDir,
    address: Ipv4Addr,
    nfs_port: u16,
    mount_port: u16,
    path: String,
    rpcbind_launcher: &'static str,
    process: Option<Child>,
}

impl Ganesha {
    /// Serves `directory`, read only, on ports that the system chooses. Needs root, and Debian's
    /// packages nfs-ganesha, nfs-ganesha-vfs and rpcbind.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::start_as(directory, Export::default())
    }

    /// The same, exported in another way.
    pub fn start_as(directory: &Path, export: Export) -> Result<Self> {
        Self::start_with(directory, export, "unshare --net")
    }

    /// The same with its rpcbind at port 111, as on most NFS servers. Callers must be in a network namespace of their own, where that port
    /// is free.
    pub fn start_with_portmapper(directory: &Path) -> Result<Self> {
        Self::start_with(directory, Export::default(), "")
    }

    fn start_with(
        directory: &Path,
        export: Export,
        rpcbind_launcher: &'static str,
    ) -> Result<Self> {
        let directory = directory
            .canonicalize()
            .with_context(|| format!("exporting {}", directory.display()))?;
        let files = tempfile::Builder::new()
            .prefix("gild-ganesha-")
            .tempdir()
            .context("making a directory for the configuration of nfs-ganesha")?;
        let (nfs_port, mount_port) = (free_port()?, free_port()?);
        fs::write(
            files.path().join("ganesha.conf"),
            configuration(&directory, &export, nfs_port, mount_port)?,
        )
        .context("writing the configuration of nfs-ganesha")?;
        let mut server = Self {
            files,
            address: export.address,
            nfs_port,
            mount_port,
            path: if export.by_pseudo {
                export.pseudo
            } else {
                directory.display().to_string()
            },
            rpcbind_launcher,
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// The port of the NFS service.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.nfs_port
    }

    /// The port of the MOUNT service.
    #[must_use]
    pub fn mount_port(&self) -> u16 {
        self.mount_port
    }

    /// The share's address as this machine sees it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.address.to_string())
    }

    /// The share's address for a reader that reaches this machine by another address, such as 10.0.2.2 in QEMU's user-mode network.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!(
            "nfs://{host}:{}{}?mountport={}",
            self.nfs_port, self.path, self.mount_port
        )
    }

    /// The number of its first process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Kills it as a crash would: nothing is closed in order.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The process may have ended by itself; either way it is gone after the wait.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it, after killing it if it runs, on the same ports; waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.wait_for_ports_to_close()?;
        let output = File::create(self.output()).context("making nfs-ganesha's output file")?;
        let errors = output.try_clone().context("sharing the output file")?;
        let process = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", SCRIPT, "ganesha"])
            .arg(self.files.path().join("ganesha.conf"))
            .arg(self.log())
            .arg(self.rpcbind_launcher)
            .env("PATH", search_path())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .context("starting nfs-ganesha through unshare")?;
        self.process = Some(process);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.is_open(self.nfs_port) && self.is_open(self.mount_port) {
                return Ok(());
            }
            let process = self
                .process
                .as_mut()
                .context("nfs-ganesha is not running")?;
            if let Some(status) = process.try_wait().context("watching nfs-ganesha")? {
                bail!(
                    "nfs-ganesha ended with {status} before it answered. It needs root and the \
                     packages nfs-ganesha, nfs-ganesha-vfs and rpcbind.\n{}",
                    self.log_tail()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "nfs-ganesha did not answer on ports {} and {} within {START_TIMEOUT:?}\n{}",
                self.nfs_port,
                self.mount_port,
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits, because the processes of a killed server end one after the other.
    fn wait_for_ports_to_close(&self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.is_open(self.nfs_port) || self.is_open(self.mount_port) {
            ensure!(
                Instant::now() < deadline,
                "ports {} and {} are still open; something else uses them",
                self.nfs_port,
                self.mount_port
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_open(&self, port: u16) -> bool {
        TcpStream::connect((self.address, port)).is_ok()
    }

    fn log(&self) -> PathBuf {
        self.files.path().join("ganesha.log")
    }

    fn output(&self) -> PathBuf {
        self.files.path().join("output")
    }

    fn log_tail(&self) -> String {
        let mut tail = String::new();
        for file in [self.output(), self.log()] {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let start = lines.len().saturating_sub(LOG_TAIL_LINES);
            tail.push_str(&lines[start..].join("\n"));
            tail.push('\n');
        }
        tail
    }
}

impl Drop for Ganesha {
    fn drop(&mut self) {
        self.kill();
    }
}

/// System programs are not on the path of every user.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn configuration(
    directory: &Path,
    export: &Export,
    nfs_port: u16,
    mount_port: u16,
) -> Result<String> {
    let directory = directory
        .to_str()
        .context("the exported directory has a name that is not UTF-8")?;
    let plugins = format!("/usr/lib/{}-linux-gnu/ganesha", std::env::consts::ARCH);
    let Export {
        address,
        pseudo,
        by_pseudo,
        privileged_ports,
        ..
    } = export;
    let squash = if export.squashes_root {
        "Root_Squash"
    } else {
        "No_Root_Squash"
    };
    let max_read = export
        .max_read
        .map_or_else(String::new, |bytes| format!("MaxRead = {bytes};"));
    // Ganesha 6 asks the kernel for CAP_SYS_RESOURCE, which containers do not have, and ends without it. Ganesha 4 does not know this
    // option and ignores it.
    Ok(format!(
        r#"NFS_CORE_PARAM {{
    NFS_Protocols = 3;
    NFS_Port = {nfs_port};
    MNT_Port = {mount_port};
    Bind_addr = {address};
    Mount_Path_Pseudo = {by_pseudo};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
    Allow_Set_Io_Flusher_Fail = true;
    Plugins_Dir = "{plugins}";
}}
EXPORT {{
    Export_Id = 1;
    Path = "{directory}";
    Pseudo = "{pseudo}";
    Access_Type = RO;
    Squash = {squash};
    PrivilegedPort = {privileged_ports};
    {max_read}
    SecType = sys;
    Protocols = 3;
    Transports = TCP;
    FSAL {{ Name = VFS; }}
}}
"#
    ))
}
