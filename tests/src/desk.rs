//! A desk as an operator runs it: the real `gild`, with its folder, its ports and the data of its page.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use gild_http::Access;
use gild_report::{PROOF_HEADER, Proof, Report};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::cargo::host_program;
use crate::command::{command, run};
use gild_http_testkit::free_port;

/// The last line of `gild serve` before it serves.
const SERVES: &str = "the page: https://";

/// The folder of a desk, and how it is reached.
pub struct Desk {
    folder: PathBuf,
    https_port: u16,
}

/// `gild serve`. It is killed when dropped.
pub struct Serving(Child);

impl Desk {
    /// Runs `gild init` for boards that reach this machine at `host`.
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
        // The rest is read and dropped, because a full pipe would stop the program.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(serving)
    }

    /// `gild order` with these arguments, on this desk.
    pub fn order(&self, action: &str, arguments: &[&str]) -> Result<()> {
        let mut gild = gild()?;
        gild.args(["order", action]).arg(&self.folder);
        run(gild.args(arguments))?;
        Ok(())
    }

    /// What the page shows of the latest order.
    pub fn latest_order(&self) -> Result<Value> {
        Ok(self.rack()?["orders"][0].clone())
    }

    fn rack(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/rack.json")?)?)
    }

    /// What the page shows of a board now.
    pub fn node(&self, mac: &str) -> Result<Value> {
        let rack = self.rack()?;
        let nodes = rack["nodes"].as_array().context("no nodes")?;
        let node = nodes.iter().find(|node| node["mac"] == mac);
        Ok(node
            .with_context(|| format!("the desk does not know {mac}: {rack}"))?
            .clone())
    }

    /// The answer that a pod gets if it asks with this address.
    pub fn metadata(&self, mac: &str) -> Result<String> {
        self.get(&format!("/metadata?mac={mac}"))
    }

    /// Reports as the node with this secret.
    pub fn report(&self, secret: &Proof, report: &Report) -> Result<()> {
        let body = serde_json::to_vec(report)?;
        let answer = self.ask("/report", |client, url| {
            client
                .post(url)
                .header(PROOF_HEADER, secret.reveal())
                .body(body)
        })?;
        ensure!(answer.0.is_success(), "the desk answers {}", answer.0);
        Ok(())
    }

    fn get(&self, path: &str) -> Result<String> {
        let (status, text) = self.ask(path, Client::get)?;
        ensure!(status.is_success(), "the desk answers {status}");
        Ok(text)
    }

    fn ask(
        &self,
        path: &str,
        request: impl FnOnce(&Client, String) -> RequestBuilder,
    ) -> Result<(StatusCode, String)> {
        let authority = fs::read_to_string(self.path("tls/ca.pem"))?;
        let url = format!("https://127.0.0.1:{}{path}", self.https_port);
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let client = Access::new(Some(&authority), None)?.client().build()?;
                let answer = request(&client, url).send().await?;
                Ok((answer.status(), answer.text().await?))
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
