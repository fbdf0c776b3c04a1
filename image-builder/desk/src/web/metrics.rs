//! The rack for Prometheus, in its text format 0.0.4.

use std::fmt::Write;

use crate::metadata::Groups;
use crate::rack::{Node, Rack};
use crate::view::{State as NodeState, count, name as name_of};

/// One metric: its name, what it is, and its value for a node that has one.
type Metric = (&'static str, &'static str, fn(&Node) -> Option<u64>);

const OF_NODES: [Metric; 5] = [
    (
        "gild_node_heard_seconds",
        "When the board reported last, seconds since 1970.",
        |node| Some(node.heard),
    ),
    (
        "gild_node_fault",
        "The number of the fault that the board's LED shows, or 0.",
        |node| Some(node.fault.map_or(0, u64::from)),
    ),
    (
        "gild_node_stage_percent",
        "How much of the present stage is done.",
        |node| node.percent.map(u64::from),
    ),
    (
        "gild_node_bytes_per_second",
        "How fast the disk is written or read back.",
        |node| node.bytes_per_second,
    ),
    (
        "gild_node_hardware_findings",
        "How many findings about its hardware the board reports.",
        |node| Some(node.hardware.len() as u64),
    ),
];

/// All metrics.
pub fn text(rack: &Rack, groups: &Groups, now: u64) -> String {
    let mut text = String::new();
    head(&mut text, "gild_nodes", "Boards in each state.");
    for (state, number) in count(rack, now) {
        add(
            &mut text,
            format_args!("gild_nodes{{state=\"{}\"}} {number}", state.name()),
        );
    }
    for (name, help, value) in OF_NODES {
        head(&mut text, name, help);
        for node in rack.nodes().filter(|node| !node.is_stranger()) {
            if let Some(value) = value(node) {
                let labels = labels(node, groups);
                add(&mut text, format_args!("{name}{{{labels}}} {value}"));
            }
        }
    }
    head(&mut text, "gild_node_state", "The state of each board.");
    for node in rack.nodes().filter(|node| !node.is_stranger()) {
        let state = NodeState::of(node, now).name();
        let labels = labels(node, groups);
        add(
            &mut text,
            format_args!("gild_node_state{{{labels},state=\"{state}\"}} 1"),
        );
    }
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    add(text, format_args!("# HELP {name} {help}"));
    add(text, format_args!("# TYPE {name} gauge"));
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn labels(node: &Node, groups: &Groups) -> String {
    let board = node.board.as_deref().unwrap_or_default();
    format!(
        "mac=\"{}\",name=\"{}\",board=\"{}\"",
        escaped(&node.mac),
        escaped(&name_of(node, groups)),
        escaped(board)
    )
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rack::{Happened, Trust};
    use gild_report::Report;

    #[test]
    fn a_name_cannot_forge_a_line() {
        let mut rack = Rack::default();
        rack.apply(&Happened::Reported {
            at: 1,
            trust: Trust::Card,
            report: Box::new(Report {
                mac: Some("d8:3a:dd:01:02:03".to_owned()),
                hostname: Some("a\"} 1\nevil{x=\"\\".to_owned()),
                fault: Some(4),
                boot: "a".to_owned(),
                ..Report::default()
            }),
        });
        let text = text(&rack, &Groups::default(), 1);
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
        assert!(
            text.contains("gild_node_fault{mac=\"d8:3a:dd:01:02:03\",name=\"a\\\"} 1evil{x=\\\"\\\\\",board=\"\"} 4\n"),
            "{text}"
        );
        assert!(text.contains("gild_nodes{state=\"fault\"} 1\n"), "{text}");
    }
}
