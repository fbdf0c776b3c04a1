//! A rack of machines with their Matchbox, as an operator would set it up.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::image::Image;
use super::machine::Machine;
use super::site::{CLUSTER_PORT, Cable, GATEWAY, Site};
use crate::cluster::Cluster;
use crate::matchbox::Matchbox;
use crate::matchbox::tls::{Authority, Validity};

/// The machine of most tests: an address of Raspberry Pi's.
pub const MAC: &str = "2c:cf:67:0a:0b:0c";

/// Its name without an identity.
pub const FALLBACK_NAME: &str = "k3s-0a0b0c";

/// The cluster's address in every group of the rack.
pub const SERVER: &str = "https://10.77.0.1:6443";

/// A site, the golden image that its machines are flashed with, and what its Matchbox says.
pub struct Rack {
    /// The network.
    pub site: Site,
    /// The authority that signs for the site's servers.
    pub authority: Authority,
    /// The cluster. It lets in every node that knows its password. Until one is set, every password is right.
    pub cluster: Cluster,
    image: Image,
    data: TempDir,
}

impl Rack {
    /// A rack with DHCP, and without a Matchbox yet.
    pub fn new() -> Result<Self> {
        let rack = Self::without_dhcp()?;
        rack.site.start_dhcp()?;
        Ok(rack)
    }

    /// A rack whose DHCP server is still off.
    pub fn without_dhcp() -> Result<Self> {
        let data = tempfile::Builder::new()
            .prefix("gild-matchbox-")
            .tempdir()?;
        fs::create_dir(data.path().join("groups"))?;
        let site = Site::new()?;
        Ok(Self {
            cluster: site.cluster(CLUSTER_PORT)?,
            site,
            authority: Authority::new()?,
            image: Image::golden()?,
            data,
        })
    }

    /// Writes a group of Matchbox.
    pub fn group(&self, name: &str, selector: &Value, metadata: &Value) -> Result<()> {
        let group = json!({"profile": "rpi5", "selector": selector, "metadata": metadata});
        let path = self.data.path().join(format!("groups/{name}.json"));
        fs::write(&path, group.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    /// Adds a node with the group that the documentation asks an operator to write.
    pub fn add_node(&self, mac: &str, hostname: &str, token: &str) -> Result<()> {
        let metadata = json!({"hostname": hostname, "k3s_url": SERVER, "k3s_token": token});
        self.group(hostname, &json!({"mac": mac}), &metadata)
    }

    /// Takes a node's group away.
    pub fn remove_node(&self, hostname: &str) -> Result<()> {
        fs::remove_file(self.data.path().join(format!("groups/{hostname}.json")))
            .with_context(|| format!("removing the group of {hostname}"))
    }

    /// Starts the stand-in for Matchbox, over TLS.
    pub fn matchbox(&self) -> Result<Matchbox> {
        self.matchbox_with(self.authority.server(GATEWAY.into(), Validity::Now)?)
    }

    /// The same with another certificate.
    pub fn matchbox_with(&self, tls: Arc<ServerConfig>) -> Result<Matchbox> {
        self.site.matchbox(self.data.path(), Some(tls))
    }

    /// The address of Matchbox, where there is no server of k3s.
    #[must_use]
    pub fn matchbox_address() -> String {
        Site::matchbox_url("https")
    }

    /// A machine that was just flashed, with one cable.
    pub fn machine(&self, mac: &'static str) -> Result<Machine<'_>> {
        self.machine_with(&[Cable {
            name: "end0",
            mac,
            plugged: true,
        }])
    }

    /// A machine that was just flashed. Its image asks the rack's Matchbox, but gives up sooner than a real one.
    pub fn machine_with(&self, cables: &[Cable]) -> Result<Machine<'_>> {
        let machine = Machine::new(&self.site, &self.image, cables)?;
        let url = Site::matchbox_url("https");
        machine.write(
            "etc/gild/first-boot.toml",
            &format!(
                "matchbox = \"{url}\"\nca = \"/etc/gild/matchbox-ca.pem\"\ndeadline_seconds = 5\n"
            ),
        )?;
        machine.write("etc/gild/matchbox-ca.pem", &self.authority.pem())?;
        Ok(machine)
    }
}

/// Whether the machine answers on its ssh port, as seen from the site.
pub fn ssh_answers(rack: &Rack, machine: &Machine<'_>) -> Result<bool> {
    let addresses = machine.output("hostname", &["--all-ip-addresses"])?;
    let address = addresses
        .split_whitespace()
        .find(|address| address.starts_with("10.77."))
        .with_context(|| format!("the machine has no address of the site: {addresses:?}"))?;
    let output = rack
        .site
        .command("ssh-keyscan")
        .args(["-T", "5", "-t", "ed25519", address])
        .output()
        .context("running ssh-keyscan")?;
    Ok(String::from_utf8_lossy(&output.stdout).contains(" ssh-ed25519 "))
}

/// Checks that the machine is a member of its cluster under this name, and that every step of its entry is done.
pub fn assert_joined(machine: &Machine<'_>, hostname: &str) -> Result<()> {
    let name = machine.output("hostname", &[])?;
    ensure!(name == hostname, "its name is {name}, not {hostname}");
    for (unit, property, expected) in [
        ("k3s-agent.service", "ActiveState", "active"),
        ("k3s-agent.service", "UnitFileState", "enabled"),
        ("k3s-init.service", "UnitFileState", "disabled"),
        // The server of k3s must not be on a node.
        ("k3s.service", "LoadState", "not-found"),
    ] {
        let found = machine.unit(unit, property)?;
        ensure!(
            found == expected,
            "{property} of {unit} is {found}, not {expected}; {}",
            machine.journal()?
        );
    }
    // How k3s' stub was started, and how often in this boot.
    let starts = starts(machine)?;
    let [start] = &starts[..] else {
        bail!("k3s was started {} times in this boot", starts.len());
    };
    ensure!(
        start["arguments"] == json!(["agent"]),
        "k3s was started with {}",
        start["arguments"]
    );
    ensure!(
        start["config"]["server"] == SERVER,
        "k3s was not sent to {SERVER}"
    );
    Ok(())
}

/// What k3s' stub recorded at each of its starts in this boot.
pub fn starts(machine: &Machine<'_>) -> Result<Vec<Value>> {
    let boot = machine.output("cat", &["/proc/sys/kernel/random/boot_id"])?;
    let lines = machine.read("var/lib/k3s-stub/starts")?;
    let starts: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    Ok(starts
        .into_iter()
        .filter(|start| start["boot"] == *boot)
        .collect())
}

/// Checks that none of these words is in a file that other users than root can read, nor in the journal or on the console.
pub fn assert_secret(machine: &Machine<'_>, words: &[&str]) -> Result<()> {
    for (name, text) in [
        ("journal", machine.journal()?),
        ("console", machine.console()),
    ] {
        for word in words {
            ensure!(!text.contains(word), "the {name} shows {word:?}");
        }
    }
    for place in [machine.changes(), machine.path("run"), machine.path("tmp")] {
        search(&place, words, true)?;
    }
    Ok(())
}

/// If only root may enter a directory, its files are hidden whatever their own mode.
fn search(directory: &Path, words: &[&str], open: bool) -> Result<()> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let for_others = metadata.permissions().mode() & 0o077;
        let kind = metadata.file_type();
        if kind.is_dir() {
            search(&path, words, open && for_others & 0o011 != 0)?;
        } else if kind.is_file()
            && !kind.is_fifo()
            && (is_log(&path) || open && for_others & 0o044 != 0)
        {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            for word in words {
                ensure!(!text.contains(word), "{} holds {word:?}", path.display());
            }
        }
    }
    Ok(())
}

fn is_log(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "log")
}
