//! Who may log in over the network: those whose keys are in the places that gild knows, and nobody else.

use std::collections::BTreeSet;

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
        "trustedusercakeys" if !is_none => Some("lets in whoever a certificate is made for"),
        "authorizedkeyscommand" if !is_none => Some("takes keys from a program"),
        "permitrootlogin" if is_yes => Some("lets root log in"),
        "passwordauthentication" | "kbdinteractiveauthentication" if is_yes => {
            Some("lets in with a password")
        }
        "permitemptypasswords" if is_yes => Some("lets in without a password"),
        "include" if value.trim_start_matches('/') != format!("{DROP_INS}/*.conf") => {
            Some("reads a file that is not looked at")
        }
        _ => None,
    }
}

/// The first value of a keyword counts, but for what follows `Match`.
pub fn daemon(image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    // A block of `Match` goes on to the end of its file.
    let mut matching = None;
    for (path, line) in lines(image) {
        let line = line.trim();
        let (keyword, value) = line
            .split_once(|c: char| c.is_whitespace() || c == '=')
            .unwrap_or((line, ""));
        let keyword = keyword.to_lowercase();
        let value = value
            .trim_matches(|c: char| c.is_whitespace() || c == '=')
            .replace('"', "");
        if keyword == "match" {
            matching = Some(path.clone());
        }
        let counts = keyword == "include"
            || matching.as_ref() == Some(&path)
            || seen.insert(keyword.clone());
        if counts && let Some(objection) = objection(&keyword, &value) {
            findings.push(Finding::new(path, objection));
        }
    }
    findings
}

/// All lines in the order in which sshd reads them: Debian's file begins with the drop-ins.
fn lines(image: &Image) -> Vec<(String, String)> {
    let drop_ins = image.root.in_folder(DROP_INS);
    let drop_ins = drop_ins.filter(|(path, _)| has_ending(path, "conf"));
    drop_ins
        .map(|(path, _)| path)
        .chain([MAIN])
        .filter_map(|path| Some((path, image.root_text(path)?)))
        .flat_map(|(path, text)| {
            let lines: Vec<_> = text
                .lines()
                .map(|line| (path.to_owned(), line.to_owned()))
                .collect();
            lines
        })
        .collect()
}
