//! What must be true of a node.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gild_golden::recipe::{Recipe, Setting};
use gild_tests::board_dtb::Product;
use gild_tests::command::{command, run};
use gild_tests::scene::Scene;
use gild_tests::workspace;
use serde_json::{Value, json};

use crate::Site;
use crate::cluster::{self, NAME, NODE_PASSWORD, PASSWORD};
use crate::node::{self, Report};
use gild_tests::real_image::AUTHORIZED_KEY;

/// The end of the disk that the copy of the partition table takes, and the loss by alignment.
const LOST_AT_THE_END: u64 = 2 << 20;
/// What the Rock 5B's card says about the network, for the agent and for the node.
pub const STATIC_NETWORK: &str =
    "[network]\naddress = \"10.0.2.99/24\"\ngateway = \"10.0.2.2\"\ndns = [\"10.0.2.3\"]\n";

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<()> {
    ensure!(
        found == wanted,
        "{what} is {found:?}, and should be {wanted:?}"
    );
    Ok(())
}

/// The first boot finished with everything in its place.
pub fn a_node_of_this_image(report: &Report, site: &Site, disk: &Path) -> Result<()> {
    let product = site.product;
    equal("systemd's state", &report.one("state")?, &"running")?;
    equal("the list of failed units", &report.all("failed"), &vec![])?;
    equal("the list of ordering cycles", &report.all("cycle"), &vec![])?;
    equal(
        "cloud-init",
        report
            .all("cloud-init")
            .first()
            .context("cloud-init says nothing")?,
        &"status: done",
    )?;
    equal("the name", &report.one("hostname")?, &NAME)?;
    let instance = format!("{}-{}", product.mac12(), site.image_id);
    equal("the instance", &report.one("instance")?, &&*instance)?;
    ensure!(
        report.all("authorized-key").contains(&AUTHORIZED_KEY),
        "the site's key opens nothing"
    );
    system(report, product)?;
    network(report, product)?;
    grown_to_the_disk(report, disk)?;
    configuration(report, site)?;
    equal(
        "the token's place in the journal",
        &report.one("token-in-journal")?,
        &"0",
    )?;
    equal(
        "the list of files with the token that all may read",
        &report.all("token-for-all"),
        &vec![],
    )?;
    for line in report.all("listening") {
        let address = line
            .split_whitespace()
            .nth(4)
            .context("a socket without an address")?;
        let is_of_the_node = address.starts_with("127.") || address.starts_with("[::1]");
        let is_wanted = [":22", ":68", ":546"]
            .iter()
            .any(|port| address.ends_with(port));
        ensure!(
            is_of_the_node || is_wanted,
            "beside ssh and DHCP, the node listens at {line}"
        );
    }
    Ok(())
}

/// The node has the address from its card, or one by DHCP if the card gives none. Its kernel supports VLANs.
fn network(report: &Report, product: Product) -> Result<()> {
    let address = report.one("address")?;
    let (wanted, is_lasting) = match product {
        Product::Rpi5 => ("inet 10.0.2.15/24 ", false),
        Product::Rock5b | Product::Unknown => ("inet 10.0.2.99/24 ", true),
    };
    ensure!(
        address.contains(wanted) && address.contains("valid_lft forever") == is_lasting,
        "the node's address is {address}, and should be {wanted}, forever: {is_lasting}"
    );
    equal(
        "a network device in a VLAN",
        &report.all("vlan"),
        &vec!["made"],
    )
}

/// Kernel, modules, settings: as the recipe says.
fn system(report: &Report, product: Product) -> Result<()> {
    let recipe = workspace::root().join(format!("boards/{}/image.toml", product.name()));
    let recipe = Recipe::read(&recipe)?;
    equal("the size of a page", &report.one("page-size")?, &"4096")?;
    ensure!(
        report.all("controller").contains(&"memory"),
        "there is no memory cgroup"
    );
    let modules = report.all("module");
    for module in &recipe.modules {
        ensure!(
            modules.contains(&&**module),
            "module {module} is not loaded"
        );
    }
    for (key, value) in &recipe.sysctls {
        equal(key, &report.one(&format!("sysctl {key}"))?, &&*text(value))?;
    }
    equal(
        "the boot partition",
        &report.one("boot-partition")?,
        &"/dev/nvme0n1p1 vfat",
    )?;
    let log = report.one("log-directory")?;
    ensure!(
        log.starts_with("drwxr-sr-x+"),
        "group adm may not read the journal: {log}"
    );
    Ok(())
}

fn text(setting: &Setting) -> String {
    match setting {
        Setting::Number(number) => number.to_string(),
        Setting::Text(text) => text.clone(),
    }
}

fn grown_to_the_disk(report: &Report, disk: &Path) -> Result<()> {
    equal("the root", &report.one("root")?, &"/dev/nvme0n1p2 ext4")?;
    let json = run(command("sfdisk").arg("--json").arg(disk))?;
    let json: Value = serde_json::from_slice(&json)?;
    let table = &json["partitiontable"];
    let sectors =
        |value: &Value| Ok::<_, anyhow::Error>(value.as_u64().context("no number")? * 512);
    let root = &table["partitions"][1];
    let partition = sectors(&root["size"])?;
    let end = sectors(&root["start"])? + partition;
    let size = disk.metadata()?.len();
    ensure!(
        end + LOST_AT_THE_END >= size,
        "the root ends at {end} of {size}"
    );
    ensure!(
        node::size_of_root(disk)? + 4096 > partition,
        "ext4 has not grown to its partition"
    );
    let mut header = [0; 8];
    File::open(disk)?.read_exact_at(&mut header, size - 512)?;
    equal("the last sector's beginning", &header, b"EFI PART")
}

fn configuration(report: &Report, site: &Site) -> Result<()> {
    let config: Value = serde_json::from_str(report.one("config")?)?;
    let token = json!(site.cluster.token(PASSWORD));
    equal("the token", &config["token"], &token)?;
    let labels = json!([
        format!("gild/board={}", site.product.name()),
        format!("gild/image={}", site.image_id),
        "example.com/rack=a1"
    ]);
    equal("the labels", &config["node-label"], &labels)?;
    equal(
        "the node's password",
        &report.one("password")?,
        &NODE_PASSWORD,
    )?;
    for (path, mode) in [
        ("/etc/rancher/k3s/config.yaml", "600 root:root"),
        ("/etc/rancher/node/password", "600 root:root"),
        ("/var/lib/gild", "700 root:root"),
        ("/var/lib/cloud/seed/nocloud/user-data", "600 root:root"),
    ] {
        equal(path, &report.one(&format!("mode {path}"))?, &mode)?;
    }
    for (unit, state) in [
        ("k3s-agent.service", "enabled active"),
        ("k3s-init.service", "disabled active"),
        ("gild-mac.service", "enabled active"),
        ("ssh.service", "enabled active"),
        ("rpcbind.service", "disabled inactive"),
        ("rpcbind.socket", "disabled inactive"),
    ] {
        equal(unit, &report.one(&format!("unit {unit}"))?, &state)?;
    }
    Ok(())
}

/// The stub of k3s was started as an agent, once with each of these passwords. The stub server accepted only the right one. After that
/// nobody asked Matchbox.
pub fn joined(scene: &Scene, site: &Site, passwords: &[&str]) -> Result<()> {
    let starts = node::file_of_root(&scene.nvme(), "/var/lib/k3s-stub/starts")?;
    let starts: Vec<Value> = starts
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let tokens: Vec<_> = starts
        .iter()
        .map(|start| &start["config"]["token"])
        .collect();
    let wanted: Vec<_> = passwords
        .iter()
        .map(|password| json!(site.cluster.token(password)))
        .collect();
    equal(
        "the tokens of k3s' starts",
        &tokens,
        &wanted.iter().collect(),
    )?;
    for start in &starts {
        equal("k3s' arguments", &start["arguments"], &json!(["agent"]))?;
        equal(
            "k3s' server",
            &start["config"]["server"],
            &json!(cluster::url(site.cluster)),
        )?;
        let environment = start["environment"].to_string();
        ensure!(
            !environment.contains("s3cret"),
            "the token is in k3s' environment"
        );
    }
    let good = passwords.iter().filter(|word| **word == PASSWORD).count();
    equal(
        "the nodes that the stub server has let in",
        &site.cluster.joins(),
        &vec![NAME.to_owned(); good],
    )?;
    let question = format!("/metadata?mac={}", scene.hardware.product.mac());
    let asked = site.matchbox.requests();
    ensure!(
        asked.iter().all(|line| *line == question),
        "Matchbox was asked {asked:?}"
    );
    Ok(())
}

/// The second boot has not changed the node's identity.
pub fn same_node(product: Product, first: &Report, second: &Report) -> Result<()> {
    equal("systemd's state", &second.one("state")?, &"running")?;
    equal("the list of ordering cycles", &second.all("cycle"), &vec![])?;
    for key in [
        "hostname",
        "machine-id",
        "ssh-host-key",
        "initiator",
        "instance",
        "config",
        "password",
    ] {
        equal(key, &second.one(key)?, &first.one(key)?)?;
    }
    // The Pi was on trial and visited its card before the boot that is reported first.
    let journals = match product {
        Product::Rpi5 => "3",
        Product::Rock5b | Product::Unknown => "2",
    };
    equal(
        "the number of journals",
        &second.one("journals")?,
        &journals,
    )?;
    equal(
        "k3s-agent.service",
        &second.one("unit k3s-agent.service")?,
        &"enabled active",
    )?;
    // It has done its work and is not needed any more.
    equal(
        "k3s-init.service",
        &second.one("unit k3s-init.service")?,
        &"disabled inactive",
    )
}

/// After a second flash the node is the same for the cluster, but everything that an image may not carry is new.
pub fn same_place_other_identity(before: &Report, after: &Report) -> Result<()> {
    for key in ["hostname", "instance", "config", "password"] {
        equal(key, &after.one(key)?, &before.one(key)?)?;
    }
    for key in ["machine-id", "ssh-host-key", "initiator"] {
        ensure!(
            after.one(key)? != before.one(key)?,
            "{key} is as before the flash"
        );
    }
    Ok(())
}
