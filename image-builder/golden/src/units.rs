//! Units of systemd, enabled, disabled and masked without systemd: as links in the tree.

use crate::recipe::Units;
use crate::tree::{Tree, TreeError};

const FOLDERS: [&str; 3] = [
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];

/// Why a unit cannot be enabled.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// No package and no overlay brings it.
    #[error(
        "the recipe enables {unit}, and the image has no such unit; next: add the package that brings it"
    )]
    Missing {
        /// The unit.
        unit: String,
    },
    /// Nothing would start it.
    #[error(
        "the recipe enables {unit}, and its [Install] section says nothing that would start it"
    )]
    NotInstallable {
        /// The unit.
        unit: String,
    },
    /// The tree refused it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Does what `systemctl disable`, `enable` and `mask` do, in this order: what a board's recipe enables stays enabled.
pub fn apply(tree: &mut Tree, units: &Units) -> Result<(), UnitError> {
    for unit in &units.disable {
        disable(tree, unit)?;
    }
    for unit in &units.enable {
        enable(tree, unit)?;
    }
    for unit in &units.mask {
        tree.insert_symlink(&format!("etc/systemd/system/{unit}"), "/dev/null")?;
    }
    Ok(())
}

/// No unit wants this one any more, but a unit that requires it still starts it.
fn disable(tree: &mut Tree, unit: &str) -> Result<(), UnitError> {
    for kind in ["wants", "requires"] {
        for link in tree.glob(&format!("etc/systemd/system/*.{kind}/{unit}"))? {
            tree.remove(&link)?;
        }
    }
    Ok(())
}

fn enable(tree: &mut Tree, unit: &str) -> Result<(), UnitError> {
    // name@instance.service is a file called name@.service.
    let file = match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((name, _)), Some((_, kind))) => format!("{name}@.{kind}"),
        _ => unit.to_owned(),
    };
    let path = FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{file}"))
        .find(|path| tree.open(path).is_ok())
        .ok_or_else(|| UnitError::Missing {
            unit: unit.to_owned(),
        })?;
    let links = links(&tree.read_text(&path)?, unit);
    if links.is_empty() {
        return Err(UnitError::NotInstallable {
            unit: unit.to_owned(),
        });
    }
    for link in links {
        tree.insert_symlink(&format!("etc/systemd/system/{link}"), &format!("/{path}"))?;
    }
    Ok(())
}

/// The links that a unit's [Install] section asks for.
fn links(text: &str, unit: &str) -> Vec<String> {
    let install = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[Install]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let mut links = Vec::new();
    for (key, value) in install.filter_map(|line| line.split_once('=')) {
        let names = value.split_whitespace();
        match key.trim() {
            "WantedBy" => links.extend(names.map(|name| format!("{name}.wants/{unit}"))),
            "RequiredBy" => links.extend(names.map(|name| format!("{name}.requires/{unit}"))),
            "Alias" => links.extend(names.map(str::to_owned)),
            _ => {}
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (unit, text) in [
            (
                "one.service",
                "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=other.service\n",
            ),
            ("two@.timer", "[Install]\nRequiredBy=timers.target\n"),
            ("static.service", "[Service]\nExecStart=/bin/true\n"),
        ] {
            let path = format!("usr/lib/systemd/system/{unit}");
            tree.insert_file(&path, 0o644, text.as_bytes().to_vec())
                .expect("an empty tree");
        }
        tree
    }

    fn target_of(tree: &Tree, link: &str) -> Option<String> {
        match &tree.get(link)?.kind {
            Kind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }

    #[test]
    fn units_are_linked_where_their_install_section_says() {
        let mut tree = tree();
        let units = Units {
            enable: vec!["one.service".to_owned(), "two@x.timer".to_owned()],
            disable: Vec::new(),
            mask: vec!["static.service".to_owned()],
        };
        apply(&mut tree, &units).expect("units that are there");
        for (link, target) in [
            (
                "multi-user.target.wants/one.service",
                "/usr/lib/systemd/system/one.service",
            ),
            ("other.service", "/usr/lib/systemd/system/one.service"),
            (
                "timers.target.requires/two@x.timer",
                "/usr/lib/systemd/system/two@.timer",
            ),
            ("static.service", "/dev/null"),
        ] {
            let found = target_of(&tree, &format!("etc/systemd/system/{link}"));
            assert_eq!(found.as_deref(), Some(target), "{link}");
        }
    }

    #[test]
    fn what_a_package_enabled_is_disabled_unless_the_recipe_enables_it() {
        let mut tree = tree();
        let links = [
            "multi-user.target.wants/one.service",
            "timers.target.requires/two@x.timer",
        ];
        for link in links {
            tree.insert_symlink(&format!("etc/systemd/system/{link}"), "/somewhere")
                .expect("a link");
        }
        let units = Units {
            disable: vec!["one.service".to_owned(), "two@x.timer".to_owned()],
            enable: vec!["two@x.timer".to_owned()],
            mask: Vec::new(),
        };
        apply(&mut tree, &units).expect("units that are there");
        let found = links.map(|link| target_of(&tree, &format!("etc/systemd/system/{link}")));
        assert_eq!(
            found,
            [None, Some("/usr/lib/systemd/system/two@.timer".to_owned())]
        );
    }

    #[test]
    fn a_unit_that_is_not_there_or_never_starts_is_refused() {
        for (unit, complaint) in [
            ("none.service", "no such unit"),
            ("static.service", "nothing that would start it"),
        ] {
            let units = Units {
                enable: vec![unit.to_owned()],
                ..Units::default()
            };
            let error = apply(&mut tree(), &units).expect_err(unit).to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
