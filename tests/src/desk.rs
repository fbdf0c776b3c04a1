//! A desk as an operator runs it: the real `gild`, with its folder, its ports and its page's data.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use gild_http::Access;
use serde_json::Value;

use crate::cargo::host_program;
use crate::command::{command, run};
use crate::ports::free_port;

/// The last thing that `gild serve` says before it serves.
const SERVES: &str = "the page: https://";

/// The folder of a desk, and how it is reached.
pub struct Desk {
    folder: PathBuf,
    https_port: u16,
}

/// `gild serve`. It is killed when dropped.
pub struct Serving(Child);

impl Desk {
    /// `gild init`, for boards that reach this machine at `host`.
    pub fn init(
        folder: &Path,
        host: &str,
        k3s_url: &str,
        token: &Path,
        ssh_keys: &Path,
    ) -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let [https, http, nfs] = ports.map(|port| port.to_string());
        run(gild()?
            .arg("init")
            .arg(folder)
            .args([
                "--address",
                host,
                "--address",
                "127.0.0.1",
                "--k3s-url",
                k3s_url,
            ])
            .arg("--k3s-token-file")
            .arg(token)
            .arg("--ssh-keys")
            .arg(ssh_keys)
            .args([
                "--https-port",
                &https,
                "--http-port",
                &http,
                "--nfs-port",
                &nfs,
            ]))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            https_port: ports[0],
        })
    }

    /// `gild node add`.
    pub fn add_node(&self, mac: &str, name: &str) -> Result<()> {
        run(gild()?
            .args(["node", "add"])
            .arg(&self.folder)
            .args(["--mac", mac, "--name", name]))?;
        Ok(())
    }

    /// A file of the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `gild serve`, on loopback.
    pub fn serve(&self) -> Result<Serving> {
        let mut child = gild()?
            .arg("serve")
            .arg(&self.folder)
            .args(["--listen", "127.0.0.1"])
            .stderr(Stdio::piped())
            .spawn()
            .context("starting gild serve")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let serving = Serving(child);
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        while !said.contains(SERVES) {
            said = lines.next().context("gild serve has ended")??;
        }
        // Nobody reads the rest, and a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(serving)
    }

    /// What the page shows of a board now.
    pub fn node(&self, mac: &str) -> Result<Value> {
        let rack: Value = serde_json::from_str(&self.get("/rack.json")?)?;
        let nodes = rack["nodes"].as_array().context("no nodes")?;
        let node = nodes.iter().find(|node| node["mac"] == mac);
        Ok(node
            .with_context(|| format!("the desk does not know {mac}: {rack}"))?
            .clone())
    }

    /// What a pod would be answered that asks with this address.
    pub fn metadata(&self, mac: &str) -> Result<String> {
        self.get(&format!("/metadata?mac={mac}"))
    }

    fn get(&self, path: &str) -> Result<String> {
        let authority = fs::read_to_string(self.path("tls/ca.pem"))?;
        let url = format!("https://127.0.0.1:{}{path}", self.https_port);
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let client = Access::new(Some(&authority), None)?.client().build()?;
                let answer = client.get(url).send().await?;
                ensure!(
                    answer.status().is_success(),
                    "the desk answers {}",
                    answer.status()
                );
                Ok(answer.text().await?)
            })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn gild() -> Result<std::process::Command> {
    Ok(command(&host_program("gild")?.to_string_lossy()))
}
