//! `gild node add`: says who boards are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gild_boards::mac::Mac;
use gild_desk::folder::{Folder, FolderError};
use gild_desk::metadata::{Group, Question, Scope};
use gild_matchbox::Answer;
use gild_node::node::labels::{self, LabelProblem};
use gild_node::node::{Known as KnownToNode, Node, NodeError};
use serde_json::{Map, Value, json};

use super::groups::Known;
use super::mac;
use super::table::{self, Row};
use crate::input::{must_be_regular, text_of};
use crate::key::create;

const SECRET: u32 = 0o600;

/// Arguments of `gild node add`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// MAC address of the board: it is on its box, on the flasher's console and on the desk's page
    #[arg(long, value_name = "MAC", required_unless_present = "from")]
    mac: Option<String>,
    /// Name of the node in its cluster
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    name: Option<String>,
    /// Label of the node: name=value; several times for several
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// File with many nodes, one on a line: mac,name and any number of label columns, named by its first line (mac,name,label). Nothing
    /// is written unless every line is right; a node that is there already as the line says is left as it is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mac", "name", "label"])]
    from: Option<PathBuf>,
}

/// A group that is to be written.
struct New {
    path: PathBuf,
    group: Value,
}

/// Runs `gild node add`.
pub fn run(args: &Args) -> Result<()> {
    let folder = Folder::open(&args.folder)?;
    let cluster = read(&folder.cluster())?;
    let desk = Desk {
        known: Known::read(&folder.groups())?,
        folder: folder.groups(),
        cluster,
    };
    let new = match (&args.from, &args.mac, &args.name) {
        (Some(file), _, _) => desk.all(file)?,
        (None, Some(mac), Some(name)) => {
            let row = Row {
                mac: mac.clone(),
                name: name.clone(),
                labels: args.label.clone(),
            };
            let new = desk.one(&row)?;
            if new.is_none() {
                log::info!("{name} is there already, as given");
            }
            new.into_iter().collect()
        }
        // The command line has been read with this rule.
        _ => bail!("--mac and --name are missing; next: give them, or --from"),
    };
    for New { path, group } in &new {
        let text = serde_json::to_string_pretty(group)?;
        create(path, SECRET, &format!("{text}\n"))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// What new nodes are compared with, and made of.
struct Desk {
    folder: PathBuf,
    cluster: Map<String, Value>,
    known: Known,
}

impl Desk {
    /// The groups of all lines that are not there yet. Every line that is wrong is named.
    fn all(&self, file: &Path) -> Result<Vec<New>> {
        must_be_regular(file, "the file of nodes", "give the file that has it")?;
        let text = text_of(file, "the file of nodes")?;
        let shown = file.display();
        let lines = table::read(&text).with_context(|| format!("{shown} cannot be used"))?;
        let mut seen = Seen::default();
        let (mut new, mut wrong) = (Vec::new(), 0);
        let total = lines.len();
        for (number, row) in lines {
            let found = row.and_then(|row| {
                seen.first(number, &row)?;
                self.one(&row)
            });
            match found {
                Ok(found) => new.extend(found),
                Err(error) => {
                    log::error!(
                        "{shown}, line {number}: {}",
                        gild_faults::message(error.as_ref())
                    );
                    wrong += 1;
                }
            }
        }
        ensure!(
            wrong == 0,
            "{wrong} of {total} nodes in {shown} cannot be added, so nothing was written; next: correct these lines"
        );
        let there = total - new.len();
        if there > 0 {
            log::info!("{there} of {total} nodes are there already");
        }
        Ok(new)
    }

    /// The group of one node, if it is not there yet.
    fn one(&self, row: &Row) -> Result<Option<New>> {
        let mac = mac(&row.mac)?;
        let name = &row.name;
        row.labels.iter().try_for_each(|label| check_label(label))?;
        let group = group(&self.cluster, mac, name, &row.labels);
        check(&group, mac).map_err(|error| refused(&error, mac, name))?;
        let path = self.folder.join(format!("{name}.json"));
        if self.known.has(&path, &group) {
            return Ok(None);
        }
        if let Some(other) = self.known.with(mac, name) {
            return Err(anyhow!(
                "{} has this MAC address or this name already; next: change or remove that file, or give another name",
                other.display()
            ));
        }
        ensure!(
            !path.exists(),
            "{} is there already, and is not a group; next: look at that file, or give another name",
            path.display()
        );
        Ok(Some(New { path, group }))
    }
}

/// The lines so far that have an address or a name.
#[derive(Default)]
struct Seen {
    macs: BTreeMap<Mac, usize>,
    names: BTreeMap<String, usize>,
}

impl Seen {
    /// Refuses a line whose address or name another one has.
    fn first(&mut self, number: usize, row: &Row) -> Result<()> {
        let by_mac = Mac::of_person(&row.mac).and_then(|mac| self.macs.insert(mac, number));
        let by_name = self.names.insert(row.name.clone(), number);
        for (what, before) in [("MAC address", by_mac), ("name", by_name)] {
            if let Some(before) = before {
                bail!("line {before} has this {what} too; next: take one of them out");
            }
        }
        Ok(())
    }
}

/// What every group of this site has.
fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path).map_err(|error| FolderError::Read {
        path: path.to_owned(),
        error,
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

/// Names a wrong label as it was given: the group has a key of its own for each.
fn check_label(label: &str) -> Result<()> {
    labels::parse(label).map(drop).map_err(|problem| {
        let next = match problem {
            LabelProblem::NoValue => "; next: write it as name=value",
            LabelProblem::Wrong(_) => "; next: give another label",
        };
        anyhow!("`{label}` {problem}{next}")
    })
}

/// What a node would refuse, with what to change here.
fn refused(error: &anyhow::Error, mac: Mac, name: &str) -> anyhow::Error {
    let said = gild_faults::message(error.as_ref());
    let next = match error.downcast_ref() {
        _ if said.contains("; next: ") => "",
        Some(NodeError::Name(_)) => "; next: give another name",
        _ => "; next: correct what was given, or cluster.json of the desk",
    };
    anyhow!("{mac} would not become {name}: {said}{next}")
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
    Node::read(mac, &answer, KnownToNode::default())?;
    Ok(())
}
