//! Nodes that read at once.

use std::io::Write;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use gild_tests::rack;

use crate::node::Outcome;

/// Lets so many nodes read so many bytes each.
pub fn run(nodes: usize, url: &str, bytes: u64) -> Result<Vec<Outcome>> {
    let mut started: Vec<Child> = (0..nodes)
        .map(|node| {
            rack::node(node)?
                .args(["node", url, &bytes.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("starting a node")
        })
        .collect::<Result<_>>()?;
    for node in &mut started {
        node.stdin
            .as_mut()
            .context("a node's input")?
            .write_all(b"\n")?;
    }
    started
        .into_iter()
        .map(|node| {
            let output = node.wait_with_output()?;
            if !output.status.success() {
                bail!("a node ended with {}", output.status);
            }
            Ok(serde_json::from_slice(&output.stdout)?)
        })
        .collect()
}
