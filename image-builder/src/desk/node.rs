//! `gild node`: who the boards are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Subcommand;
use gild_boards::mac::Mac;
use gild_desk::folder::Folder;
use gild_desk::metadata::{Group, Question, Scope};
use gild_matchbox::Answer;
use gild_node::node::{Known, Node};
use serde_json::{Map, Value, json};

use crate::key::create;

const SECRET: u32 = 0o600;

/// Add nodes to a desk
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say who the board with a MAC address is: write a group of Matchbox's form into the desk's folder
    Add(Add),
}

/// Arguments of `gild node add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// MAC address of the board: it is on its box, on the flasher's console and on the desk's page
    #[arg(long, value_name = "MAC")]
    mac: String,
    /// Name of the node in its cluster
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Label of the node: name=value; several times for several
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
}

/// Runs `gild node`.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Add(args) => add(&args),
    }
}

fn add(args: &Add) -> Result<()> {
    let folder = Folder::new(&args.folder);
    let mac = Mac::parse(&args.mac).with_context(|| {
        format!(
            "`{}` is not a MAC address; next: write it as d8:3a:dd:01:02:03",
            args.mac
        )
    })?;
    let cluster = read(&folder.cluster())?;
    let group = group(&cluster, mac, &args.name, &args.label);
    check(&group, mac).with_context(|| format!("{mac} would not become {}", args.name))?;
    if let Some(other) = known(&folder.groups(), mac, &args.name)? {
        return Err(anyhow!(
            "{} has this MAC address or this name already; next: change or remove that file, or give another name",
            other.display()
        ));
    }
    let path = folder.groups().join(format!("{}.json", args.name));
    let text = serde_json::to_string_pretty(&group)?;
    create(&path, SECRET, &format!("{text}\n"))?;
    println!("{}", path.display());
    Ok(())
}

/// What every group of this site has.
fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; next: give a folder that `gild init` made",
            path.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not a JSON object; next: correct it, or take it from a new `gild init`",
            path.display()
        )
    })
}

fn group(cluster: &Map<String, Value>, mac: Mac, name: &str, labels: &[String]) -> Value {
    let mut metadata = cluster.clone();
    metadata.insert("hostname".to_owned(), json!(name));
    if !labels.is_empty() {
        let labels: BTreeMap<_, _> = labels
            .iter()
            .enumerate()
            .map(|(number, label)| (format!("label{}", number + 1), label))
            .collect();
        metadata.insert("k3s_node_labels".to_owned(), json!(labels));
    }
    json!({
        "id": name,
        "name": name,
        "profile": "gild",
        "selector": {"mac": mac.to_string()},
        "metadata": metadata,
    })
}

/// Reads the group as the node will, so that what it would refuse is refused here.
fn check(group: &Value, mac: Mac) -> Result<()> {
    let group = Group::parse(&group.to_string()).context("this is not a group")?;
    let query = format!("mac={mac}");
    let body = Question::parse(&query).answer(&group, Scope::Whole);
    let answer = Answer::parse(&body, mac)?;
    ensure!(
        matches!(answer, Answer::Dedicated(_)),
        "the group does not select it"
    );
    Node::read(mac, &answer, Known::default())?;
    Ok(())
}

/// The file of a group that selects this address already, or gives this name.
fn known(groups: &Path, mac: Mac, name: &str) -> Result<Option<PathBuf>> {
    let entries =
        fs::read_dir(groups).with_context(|| format!("cannot read {}", groups.display()))?;
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Some(group) = Group::parse(&text) else {
            continue;
        };
        let selects = group
            .selector
            .iter()
            .any(|(_, value)| Mac::parse(value) == Some(mac));
        if selects || group.metadata.get("hostname").and_then(Value::as_str) == Some(name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
