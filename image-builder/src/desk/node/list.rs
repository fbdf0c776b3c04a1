//! `gild node list`: what the running desk knows of each node.

use std::path::PathBuf;

use anyhow::{Context, Result};
use gild_desk::folder::Folder;
use gild_desk::rack::Door;
use serde::Deserialize;
use serde_json::{Value, json};

use super::groups::Known;
use crate::desk::running::Desk;

/// Arguments of `gild node list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that `gild init` made, of a desk that runs
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print JSON: an object with `nodes`, `orders` and what else the desk has at /rack.json, and `unheard`, the nodes that have a group and have not reported
    #[arg(long)]
    json: bool,
}

/// What the table has of the desk's answer.
#[derive(Deserialize)]
struct Rack {
    now: u64,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    mac: String,
    other_macs: Vec<String>,
    state: String,
    door: Door,
    heard: u64,
    stage: Option<String>,
    percent: Option<u8>,
    fault: Option<u8>,
    message: Option<String>,
    next_step: Option<String>,
}

impl Node {
    fn is(&self, mac: &String) -> bool {
        self.mac == *mac || self.other_macs.contains(mac)
    }
}

/// One line of the table.
type Line = [String; 6];

/// Runs `gild node list`.
pub fn run(args: &Args) -> Result<()> {
    let folder = Folder::open(&args.folder)?;
    let mut answer = Desk::of(&folder)?.get("/rack.json")?;
    let rack: Rack = serde_json::from_value(answer.clone())
        .context("the desk is of another version; next: start it again with this program")?;
    let unheard = unheard(&Known::read(&folder.groups())?, &rack);
    if args.json {
        let unheard = unheard
            .iter()
            .map(|[name, mac]| json!({"name": name, "mac": mac}));
        answer["unheard"] = unheard.collect::<Vec<Value>>().into();
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    print!("{}", table(&rack, &unheard));
    Ok(())
}

/// The names and addresses of the nodes that have a group, and that nobody has heard.
fn unheard(known: &Known, rack: &Rack) -> Vec<[String; 2]> {
    let is_heard = |mac: &String| {
        let mut heard = rack.nodes.iter().filter(|node| node.heard > 0);
        heard.any(|node| node.is(mac))
    };
    let nodes = known.nodes();
    let mut unheard: Vec<_> = nodes
        .filter(|(_, macs)| !macs.is_empty() && !macs.iter().any(|mac| is_heard(&mac.to_string())))
        .map(|(name, macs)| [name.to_owned(), macs[0].to_string()])
        .collect();
    unheard.sort();
    unheard
}

fn table(rack: &Rack, unheard: &[[String; 2]]) -> String {
    let titles = ["NAME", "MAC", "STATE", "DOOR", "HEARD", ""].map(str::to_owned);
    let heard = rack.nodes.iter().map(|node| line(node, rack.now));
    // Those that a group names by its `mac` are nodes of the desk already.
    let is_there = |mac| rack.nodes.iter().any(|node| node.is(mac));
    let unheard = unheard.iter().filter(|[_, mac]| !is_there(mac));
    let unheard = unheard.map(|[name, mac]| {
        let [state, door, when] = ["expected", "closed", "never"].map(str::to_owned);
        [name.clone(), mac.clone(), state, door, when, String::new()]
    });
    let mut lines: Vec<Line> = heard.chain(unheard).collect();
    lines.sort();
    lines.insert(0, titles);
    let width = |column: usize| {
        let widths = lines.iter().map(|line: &Line| line[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}  "));
        let row: String = cells.chain([line[5].clone()]).collect();
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn line(node: &Node, now: u64) -> Line {
    let door = if node.door.reason(now).is_none() {
        "open"
    } else {
        "closed"
    };
    let heard = if node.heard == 0 {
        "never".to_owned()
    } else {
        ago(now.saturating_sub(node.heard))
    };
    [
        visible(&node.name),
        node.mac.clone(),
        visible(&node.state),
        door.to_owned(),
        heard,
        visible(&about(node)),
    ]
}

/// What is wrong and what to do, or how far it is.
fn about(node: &Node) -> String {
    let message = node.message.as_deref().unwrap_or_default();
    let next = node.next_step.as_deref();
    let next = next.map_or_else(String::new, |next| format!("; next: {next}"));
    match (node.fault, &node.stage, node.percent) {
        (Some(fault), _, _) => format!("fault {fault}: {message}{next}"),
        _ if !message.is_empty() => format!("{message}{next}"),
        (None, Some(stage), Some(percent)) => format!("{stage} {percent} %"),
        _ => String::new(),
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Anybody can report, and a terminal does what control characters say.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack(nodes: &Value) -> Rack {
        serde_json::from_value(json!({"now": 1000, "nodes": nodes})).expect("a rack")
    }

    #[test]
    fn a_table_has_each_node_that_reported_and_each_that_has_not() {
        let rack = rack(&json!([
            {"name": "node-10", "mac": "d8:3a:dd:01:02:0a", "other_macs": [], "state": "flashing", "heard": 997,
             "door": {"state": "open", "since": 900, "by": "by-flasher"}, "stage": "flash", "percent": 40},
            {"name": "a\u{1b}[2Jb", "mac": "d8:3a:dd:01:02:03", "other_macs": [], "state": "fault", "heard": 100,
             "door": {"state": "joined", "since": 50}, "fault": 4, "message": "no signature", "next_step": "sign it"},
        ]));
        let unheard = [["node-2".to_owned(), "d8:3a:dd:01:02:02".to_owned()]];
        assert_eq!(
            table(&rack, &unheard),
            "NAME     MAC                STATE     DOOR    HEARD\n\
             a[2Jb    d8:3a:dd:01:02:03  fault     closed  15 min ago  fault 4: no signature; next: sign it\n\
             node-10  d8:3a:dd:01:02:0a  flashing  open    3 s ago     flash 40 %\n\
             node-2   d8:3a:dd:01:02:02  expected  closed  never\n"
        );
    }
}
