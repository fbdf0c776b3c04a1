//! Who may log in over the network: only people whose keys are in the places that gild knows.

use std::collections::BTreeMap;

use crate::image::Image;
use crate::report::Finding;

use super::has_ending;

const MAIN: &str = "etc/ssh/sshd_config";
const DROP_INS: &str = "etc/ssh/sshd_config.d";

/// What sshd would do with a keyword of its configuration.
fn objection(keyword: &str, value: &str) -> Option<&'static str> {
    let own_files = ["none", ".ssh/authorized_keys", "%h/.ssh/authorized_keys"];
    let is_own = |path: &str| own_files.contains(&path.trim_end_matches('2'));
    let is_yes = value.eq_ignore_ascii_case("yes");
    let is_none = value.eq_ignore_ascii_case("none");
    match keyword {
        "authorizedkeysfile" if !value.split_whitespace().all(is_own) => {
            Some("takes keys from another place than the users' own files")
        }
        "trustedusercakeys" if !is_none => Some("lets in anyone with a certificate"),
        "authorizedkeyscommand" if !is_none => Some("takes keys from a program"),
        "permitrootlogin" if is_yes => Some("lets root log in"),
        "passwordauthentication" | "kbdinteractiveauthentication" if is_yes => {
            Some("lets in with a password")
        }
        "permitemptypasswords" if is_yes => Some("lets in without a password"),
        "include" if value.trim_start_matches('/') != format!("{DROP_INS}/*.conf") => {
            Some("reads a file that gild does not check")
        }
        _ => None,
    }
}

/// Keywords that have to be said, because sshd's own defaults let in a password.
const SAID: [(&str, &[&str]); 3] = [
    ("passwordauthentication", &["no"]),
    ("kbdinteractiveauthentication", &["no"]),
    ("permitrootlogin", &["no", "prohibit-password"]),
];

/// The first value of a keyword counts, except after `Match`.
pub fn daemon(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first = BTreeMap::new();
    // A block of `Match` goes on to the end of its file.
    let mut matching = None;
    for (path, line) in lines(image) {
        let Some((keyword, value)) = setting(&line) else {
            continue;
        };
        if keyword == "match" {
            matching = Some(path.clone());
        }
        let counts = if keyword == "include" || matching.as_ref() == Some(&path) {
            true
        } else if first.contains_key(&keyword) {
            false
        } else {
            first.insert(keyword.clone(), value.to_lowercase());
            true
        };
        if counts && let Some(objection) = objection(&keyword, &value) {
            findings.push(Finding::new(path, objection));
        }
    }
    for (keyword, good) in SAID {
        let value = first.get(keyword).map_or("", String::as_str);
        if !good.contains(&value) && objection(keyword, value).is_none() {
            let what = format!("does not say `{keyword} {}`", good[0]);
            findings.push(Finding::new(MAIN, what));
        }
    }
    findings
}

/// Keyword and value of a line.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, value) = line
        .split_once(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or((line, ""));
    let keyword = match keyword.to_lowercase().as_str() {
        "challengeresponseauthentication" => "kbdinteractiveauthentication".to_owned(),
        keyword => keyword.to_owned(),
    };
    let value = value
        .trim_matches(|c: char| c.is_whitespace() || c == '=')
        .replace('"', "");
    Some((keyword, value))
}

/// All lines in the order in which sshd reads them: the drop-ins where the main file includes them.
fn lines(image: &Image) -> Vec<(String, String)> {
    let lines_of = |path: &str| -> Vec<(String, String)> {
        let text = image.root_text(path).unwrap_or_default();
        text.lines()
            .map(|line| (path.to_owned(), line.to_owned()))
            .collect()
    };
    let mut lines = Vec::new();
    for (path, line) in lines_of(MAIN) {
        let is_include = setting(&line).is_some_and(|(keyword, _)| keyword == "include");
        lines.push((path, line));
        if is_include {
            let drop_ins = image.root.in_folder(DROP_INS);
            let drop_ins = drop_ins.filter(|(path, _)| has_ending(path, "conf"));
            lines.extend(drop_ins.flat_map(|(path, _)| lines_of(path)));
        }
    }
    lines
}
