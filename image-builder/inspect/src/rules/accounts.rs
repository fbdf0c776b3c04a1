//! Passwords, and who is root.

use crate::image::Image;
use crate::report::Finding;

/// Fields that no password opens.
const LOCKED: [&str; 5] = ["*", "!", "!!", "!*", "x"];

pub fn passwords(image: &Image) -> Vec<Finding> {
    let files = ["etc/shadow", "etc/gshadow", "etc/passwd"];
    files
        .into_iter()
        .filter_map(|path| Some((path, image.root_text(path)?)))
        .flat_map(|(path, text)| open_accounts(path, &text))
        .collect()
}

fn open_accounts(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, password) = (fields.next()?, fields.next().unwrap_or_default());
            let what = match password {
                // `x` in passwd points to shadow; in shadow it would be a hash that nothing matches.
                locked if LOCKED.contains(&locked) => return None,
                // A group without a password is the normal one.
                "" if path == "etc/gshadow" => return None,
                "" => "has an empty password",
                _ => "has a password",
            };
            Some(Finding::new(path, format!("{name} {what}")))
        })
        .collect()
}

pub fn root_alone(image: &Image) -> Vec<Finding> {
    let path = "etc/passwd";
    let text = image.root_text(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            (id.trim().parse() == Ok(0) && name != "root")
                .then(|| Finding::new(path, format!("{name} is root too")))
        })
        .collect()
}
