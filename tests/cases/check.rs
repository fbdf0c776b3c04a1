//! `gild check` against a rack's servers: NFS, Matchbox' rules, and the first two pages of a cluster.
//!
//! Real: the program, the images, NFS (a server in this process). Simulated: Matchbox and the cluster (the stand-ins of this crate).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use gild_tests::cargo::host_program;
use gild_tests::cluster::Cluster;
use gild_tests::command::{command, run, run_with_text};
use gild_tests::disk;
use gild_tests::matchbox::Matchbox;
use gild_tests::nfs_server::NfsServer;
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "s3cret-of-the-rack";
const BOARD: &str = "rpi5";

/// A rack's servers, with nothing wrong, and the folder that they serve.
struct Rack {
    folder: TempDir,
    nfs: NfsServer,
    matchbox: Matchbox,
    cluster: Cluster,
    /// The address by which a node reaches the cluster. Nodes refuse a cluster at an address of their own.
    k3s_url: String,
}

/// What `gild check` says.
struct Said {
    findings: Vec<Value>,
    code: Option<i32>,
    text: String,
}

impl Rack {
    fn new() -> Result<Self> {
        let folder = TempDir::new()?;
        publish(folder.path())?;
        fs::create_dir(folder.path().join("groups"))?;
        let cluster = Cluster::serve(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?)?;
        cluster.accept(PASSWORD);
        let rack = Self {
            nfs: NfsServer::start(&folder.path().join("share"), 0)?,
            matchbox: Matchbox::start(folder.path())?,
            k3s_url: format!("https://{}:{}", own_address()?, cluster.port()),
            cluster,
            folder,
        };
        let lines = format!(
            "server = \"{}\"\nmatchbox = \"{}\"\n",
            rack.nfs.url(),
            rack.matchbox.url()
        );
        fs::write(rack.folder.path().join("gild.toml"), lines)?;
        rack.group("node-1", 1, &rack.cluster.token(PASSWORD))?;
        rack.group("node-2", 2, &rack.cluster.token(PASSWORD))?;
        Ok(rack)
    }

    /// A group for the node with this number, by this name and with this token.
    fn group(&self, name: &str, number: u8, token: &str) -> Result<()> {
        let group = json!({
            "id": name, "profile": "gild", "selector": {"mac": mac(number)},
            "metadata": {"hostname": name, "k3s_url": self.k3s_url, "k3s_token": token},
        });
        let path = format!("groups/{number}.json");
        Ok(fs::write(self.folder.path().join(path), group.to_string())?)
    }

    fn check(&self) -> Result<Said> {
        let gild = host_program("gild")?;
        let mut gild = command(&gild.to_string_lossy());
        gild.current_dir(self.folder.path())
            .args(["check", "gild.toml", "--public-key", "site.pub"])
            .args(["--board", BOARD, "--groups", ".", "--json"]);
        let output = gild.output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(!text.contains(PASSWORD), "{text}");
        Ok(Said {
            findings: serde_json::from_str(&text).context(text.clone())?,
            code: output.status.code(),
            text,
        })
    }
}

impl Said {
    fn of(&self, level: &str) -> Vec<&Value> {
        let findings = self.findings.iter();
        findings.filter(|line| line["level"] == level).collect()
    }

    /// There must be exactly one error. It is about this part and has these words in its message or advice, and the program ends with 1.
    #[track_caller]
    fn has_one_error(&self, check: &str, words: &str) {
        let errors = self.of("error");
        assert_eq!((errors.len(), self.code), (1, Some(1)), "{}", self.text);
        assert_eq!(errors[0]["check"], check, "{}", self.text);
        let said = ["message", "next"].map(|key| errors[0][key].as_str().unwrap_or_default());
        assert!(
            said.iter().any(|said| said.contains(words)),
            "{words:?}: {said:?}"
        );
    }
}

fn mac(number: u8) -> String {
    format!("2c:cf:67:00:00:{number:02x}")
}

/// An address of this machine that is not loopback. Nothing is sent.
fn own_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket
        .connect((Ipv4Addr::new(192, 0, 2, 1), 9))
        .context("this machine has no route; next: give it an address besides loopback")?;
    Ok(socket.local_addr()?.ip())
}

/// Publishes an image in today's format. It has one partition with only a little text in it.
fn publish(folder: &Path) -> Result<()> {
    let gild = host_program("gild")?;
    let gild = || {
        let mut gild = command(&gild.to_string_lossy());
        gild.current_dir(folder);
        gild
    };
    run(gild().args(["key", "new", "--output", "site"]))?;
    let raw = folder.join("disk.img");
    disk::blank(&raw, 16 << 20)?;
    run_with_text(
        command("sfdisk").arg("-q").arg(&raw),
        "label: gpt\nfirst-lba: 4096\nstart=4096, size=8192\n",
    )?;
    let today = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    run(gild()
        .args(["image", "pack", "disk.img", "--board", BOARD])
        .args(["--key", "site.key", "--output", "share", "--id", "of-today"])
        .args(["--proves-itself", "--build-time", &today.to_string()]))?;
    Ok(())
}

#[test]
fn a_rack_that_is_in_order_is_found_in_order() -> Result<()> {
    let rack = Rack::new()?;
    let said = rack.check()?;
    assert_eq!(said.code, Some(0), "{}", said.text);
    let checks: Vec<_> = said
        .of("ok")
        .iter()
        .filter_map(|line| line["check"].as_str())
        .collect();
    let expected = [
        "configuration",
        "names",
        "server",
        "image",
        "matchbox",
        "node",
        "node",
        "node",
        "cluster",
    ];
    assert_eq!(checks, expected, "{}", said.text);
    // These warnings are that the servers have addresses of this machine, and that Matchbox has no TLS.
    assert_eq!(said.of("warning").len(), 3, "{}", said.text);
    let asked = rack.matchbox.requests();
    assert_eq!(
        asked.len(),
        4,
        "each node, a stranger, and the time: {asked:?}"
    );
    // The cluster was asked once, because both nodes have the same token, and nobody has joined it.
    assert!(rack.cluster.joins().is_empty() && rack.cluster.refused().is_empty());
    Ok(())
}

#[test]
fn each_fault_of_a_rack_is_found_before_anybody_walks_to_it() -> Result<()> {
    let rack = Rack::new()?;
    let token = rack.cluster.token(PASSWORD);

    rack.group("node-1", 2, &token)?;
    rack.check()?
        .has_one_error("node", "its name node-1 is that of 2c:cf:67:00:00:01 too");

    // It does not begin with K10, whatever hash this rack's authority has, so only the cluster can know that it is wrong.
    rack.group("node-2", 2, &token.replacen("K10", "K2", 1))?;
    let said = rack.check()?;
    said.has_one_error("cluster", "does not take the token");

    // The token has the hash of another cluster's authority, so this cluster must not be shown it.
    let other = format!("K10{}::node:{PASSWORD}", "0f".repeat(32));
    rack.group("node-2", 2, &other)?;
    let refused = rack.cluster.refused().len();
    let said = rack.check()?;
    said.has_one_error("cluster", "the token is one of another cluster");
    assert_eq!(rack.cluster.refused().len(), refused);

    rack.group("node-2", 2, "K10cut")?;
    rack.check()?.has_one_error("node", "copy the whole token");

    rack.group("node-2", 2, &token)?;
    let path = rack.folder.path().join("groups/3.json");
    fs::write(&path, "{\"selector\": {\"mac\": \"2c:cf:67:00:00:03\"},}")?;
    rack.check()?.has_one_error("node", "without a word");
    fs::remove_file(path)?;

    let stored = rack.folder.path().join("share/rpi5/of-today.img.zst");
    let whole = fs::read(&stored)?;
    fs::write(&stored, &whole[..whole.len() - 1])?;
    rack.check()?
        .has_one_error("image", "and the manifest says");
    fs::write(&stored, whole)?;
    ensure!(rack.check()?.code == Some(0), "all is in order again");

    fs::remove_file(rack.folder.path().join("share/rpi5/golden.json.minisig"))?;
    rack.check()?.has_one_error("image", "it is not there");

    fs::remove_dir_all(rack.folder.path().join("share/rpi5"))?;
    rack.check()?.has_one_error("image", "it is not there");

    rack.nfs.set_faults(|faults| faults.refuse_callers = true);
    rack.check()?.has_one_error("server", "");
    Ok(())
}
