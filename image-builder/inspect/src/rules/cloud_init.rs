//! Where cloud-init takes a node's identity from.

use crate::image::Image;
use crate::report::Finding;

use super::has_ending;

const FOLDER: &str = "etc/cloud/cloud.cfg.d";

/// Keys of the whole configuration and the line that has to be the last of each: ds-identify reads it without a YAML
/// parser.
const SETTINGS: [(&str, &str); 2] = [
    ("datasource_list", "datasource_list: [ NoCloud ]"),
    ("network", "network: {config: disabled}"),
];

/// Kernel arguments that overrule the files.
const ARGUMENTS: [&str; 5] = [
    "ds=",
    "ci.ds=",
    "ci.datasource=",
    "network-config=",
    "cloud-init=",
];

pub fn source(image: &Image) -> Vec<Finding> {
    let files = image.root.in_folder(FOLDER);
    let texts: Vec<_> = files
        .filter(|(path, _)| has_ending(path, "cfg"))
        .filter_map(|(path, _)| Some((path, image.root_text(path)?)))
        .collect();
    let mut findings = Vec::new();
    for (key, wanted) in SETTINGS {
        let mut lines = texts
            .iter()
            .flat_map(|(path, text)| text.lines().map(move |line| (*path, line)));
        match lines.rfind(|(_, line)| has_key(line, key)) {
            None => findings.push(Finding::new(FOLDER, format!("no line `{wanted}`"))),
            Some((path, line)) if line.trim_end() != wanted => {
                findings.push(Finding::new(
                    path,
                    format!("{key} is not exactly `{wanted}`"),
                ));
            }
            Some(_) => {}
        }
    }
    for (file, arguments) in image.kernel_arguments() {
        let words = arguments.split_whitespace();
        let overruling =
            words.filter_map(|word| ARGUMENTS.iter().find(|key| word.starts_with(**key)));
        findings.extend(overruling.map(|key| {
            let what = format!("the kernel argument {key} overrides what the image says");
            Finding::new(format!("boot:{file}"), what)
        }));
    }
    findings
}

/// Does a line of YAML give this key at the top level?
fn has_key(line: &str, key: &str) -> bool {
    let (found, _) = line.split_once(':').unwrap_or_default();
    found.trim_end().trim_matches(['"', '\'']) == key
}
