//! AppArmor's profiles of programs that the image does not have.
//!
//! Debian's package brings about a hundred, of browsers and chat programs, and each node would compile them all at its first start.
//! They cannot be compiled here: what the parser makes depends on what the node's kernel can do.

use crate::tree::{Tree, TreeError};

/// The parser and k3s stay: containerd makes the profile of its containers itself.
const PROFILES: &str = "etc/apparmor.d/*";

/// Removes the profiles that confine nothing in this image, except those of the site's overlays. A profile without a program stays:
/// others may name it, or the kernel does.
pub fn leave_out(tree: &mut Tree, of_the_site: &[String]) -> Result<(), TreeError> {
    for path in tree.glob(PROFILES)? {
        // Folders hold what profiles include.
        let Ok(text) = tree.read_text(&path) else {
            continue;
        };
        if !of_the_site.contains(&path) && confines_nothing(tree, &text)? {
            tree.remove(&path)?;
        }
    }
    Ok(())
}

fn confines_nothing(tree: &Tree, text: &str) -> Result<bool, TreeError> {
    let variables: Vec<(&str, &str)> = text.lines().filter_map(variable).collect();
    let mut is_about_programs = false;
    for header in text.lines().filter(|line| is_header(line)) {
        let Some(program) = program(header) else {
            return Ok(false);
        };
        is_about_programs = true;
        let pattern = pattern(program, &variables);
        // Also by its name from before /bin became a link.
        for pattern in [format!("usr/{pattern}"), pattern] {
            // What is a pattern for AppArmor alone may be there.
            match tree.glob(&pattern) {
                Ok(found) if found.is_empty() => {}
                Ok(_) | Err(TreeError::BadPattern { .. }) => return Ok(false),
                Err(other) => return Err(other),
            }
        }
    }
    Ok(is_about_programs)
}

/// The first line of a profile. Profiles within others are indented.
fn is_header(line: &str) -> bool {
    ["profile ", "/", "\"/"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The program that a profile is for: the last word before its flags. `None` if it has none, or has more than is understood here.
fn program(header: &str) -> Option<&str> {
    let words = header.trim_end().strip_suffix('{')?;
    let words = words.split(" flags=").next()?.trim_end();
    let last = match words.strip_suffix('"') {
        Some(quoted) => quoted.rsplit('"').next()?,
        None => words.rsplit(' ').next()?,
    };
    (last.starts_with('/') || last.starts_with("@{")).then_some(last)
}

/// A variable that the file itself sets.
fn variable(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    (name.starts_with("@{") && name.ends_with('}')).then_some((name, value.trim()))
}

/// As [`Tree::glob`] takes it. A variable of another file may be anything.
fn pattern(program: &str, variables: &[(&str, &str)]) -> String {
    let mut pattern = program.trim_start_matches('/').to_owned();
    for (name, value) in variables {
        pattern = pattern.replace(name, value);
    }
    while let Some((before, rest)) = pattern.split_once("@{") {
        let (_, after) = rest.split_once('}').unwrap_or_default();
        pattern = format!("{before}**{after}");
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stays of a profile in a root with these programs.
    fn stays(profile: &str, programs: &[&str]) -> bool {
        let mut tree = Tree::default();
        for program in programs {
            tree.insert_file(program, 0o755, "").expect("a file");
        }
        let path = "etc/apparmor.d/one";
        tree.insert_file(path, 0o644, profile).expect("a file");
        leave_out(&mut tree, &[]).expect("a tree");
        tree.contains(path)
    }

    #[test]
    fn a_profile_goes_if_the_image_has_none_of_its_programs() {
        for (profile, program) in [
            (
                "profile brave /opt/brave/brave flags=(unconfined) {\n}\n",
                "opt/brave/brave",
            ),
            (
                "profile pwd /{,usr/}{,s}bin/pwd flags=(complain) {\n}\n",
                "usr/bin/pwd",
            ),
            (
                "profile \"A B\" \"/usr/lib/a/A B\" flags=(unconfined) {\n}\n",
                "usr/lib/a/A B",
            ),
            ("/bin/ping {\n  capability net_raw,\n}\n", "usr/bin/ping"),
            (
                "profile one /usr/bin/one {\n}\nprofile two /usr/bin/two {\n}\n",
                "usr/bin/two",
            ),
            (
                "@{x} = {,un}chrome\nprofile x /usr/lib/@{x}/@{x} {\n}\n",
                "usr/lib/unchrome/unchrome",
            ),
            (
                "profile q /usr/lib/@{multiarch}/q flags=(unconfined) {\n}\n",
                "usr/lib/aarch64-linux-gnu/q",
            ),
        ] {
            assert!(stays(profile, &[program]), "{profile}");
            assert!(
                !stays(profile, &["usr/bin/other", "usr/lib/other/one"]),
                "{profile}"
            );
        }
    }

    #[test]
    fn what_is_for_no_program_or_is_not_understood_stays() {
        for text in [
            "profile unprivileged_userns flags=(complain) {\n}\n",
            "# a note\n@{HOME} = /home/\n",
            "profile one /usr/bin/one { # a note\n}\n",
            "profile one /usr/bin/one{ flags=(complain) {\n}\n",
        ] {
            assert!(stays(text, &[]), "{text}");
        }
    }

    #[test]
    fn the_site_s_own_profiles_stay() {
        let mut tree = Tree::default();
        let path = "etc/apparmor.d/pod";
        tree.insert_file(path, 0o644, "profile pod /srv/pod {\n}\n")
            .expect("a file");
        leave_out(&mut tree, &[path.to_owned()]).expect("a tree");
        assert!(tree.contains(path));
    }
}
