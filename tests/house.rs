//! Facts about the folders: the arrows between them point one way only, and ARCHITECTURE.md draws the arrows that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gild_tests::workspace::{self, FLOORS};
use toml::{Table, Value};

const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// A crate of the workspace.
struct House {
    /// Its folder, from the root of the project.
    folder: PathBuf,
    manifest: Table,
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// All crates by name, and the folder of each name that a dependency may use.
fn crates() -> Result<(BTreeMap<String, House>, BTreeMap<String, PathBuf>)> {
    let root = workspace::root();
    let workspace: Table = read(&root.join("Cargo.toml"))?.parse()?;
    let members = workspace["workspace"]["members"].as_array();
    let mut crates = BTreeMap::new();
    for member in members.context("the workspace has members")? {
        let folder = PathBuf::from(member.as_str().context("a member is a path")?);
        let manifest: Table = read(&root.join(&folder).join("Cargo.toml"))?.parse()?;
        let name = manifest["package"]["name"]
            .as_str()
            .context("a name")?
            .to_owned();
        crates.insert(name, House { folder, manifest });
    }
    let folders = crates
        .iter()
        .map(|(name, house)| (name.clone(), house.folder.clone()))
        .collect();
    Ok((crates, folders))
}

/// The names in the tables of dependencies, including those for a single platform.
fn dependencies(manifest: &Table, kinds: &[&str]) -> BTreeSet<String> {
    let platforms = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    platforms
        .filter_map(Value::as_table)
        .chain([manifest])
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flat_map(Table::keys)
        .cloned()
        .collect()
}

/// Which floor a path from the root is on.
fn floor(path: &Path) -> Result<usize> {
    let first = path.components().next().context("a path")?.as_os_str();
    FLOORS
        .iter()
        .position(|floor| first == *floor)
        .with_context(|| format!("{} is in none of the folders {FLOORS:?}", path.display()))
}

#[test]
fn no_crate_depends_on_one_in_a_folder_above_its_own() -> Result<()> {
    let (crates, folders) = crates()?;
    let mut arrows = 0;
    for (name, house) in &crates {
        for used in dependencies(&house.manifest, &DEPENDENCIES) {
            let Some(folder) = folders.get(&used) else {
                continue;
            };
            ensure!(
                floor(folder)? <= floor(&house.folder)?,
                "{name} in {} uses {used} in {}; next: move what both need to the lower folder",
                house.folder.display(),
                folder.display()
            );
            arrows += 1;
        }
    }
    assert!(arrows > 30, "{arrows} arrows were looked at");
    Ok(())
}

/// If tests of several crates share something, it is in a crate for tests. A module included by its path would be compiled in each of them
/// and would belong to none.
#[test]
fn no_module_is_taken_from_another_crate() -> Result<()> {
    const START: &str = "#[path = \"";
    let files = workspace::sources()?;
    assert!(files.len() > 300, "{} files were looked at", files.len());
    for file in files {
        let text = read(&file)?;
        for line in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(START))
        {
            let path = line.split('"').next().context("a path")?;
            let from = file.with_file_name(path).canonicalize()?;
            ensure!(
                workspace::crate_of(&from) == workspace::crate_of(&file.canonicalize()?),
                "{} takes {path} from another crate; next: make a crate for tests of it, as boards/testkit is",
                file.display()
            );
        }
    }
    Ok(())
}

/// The lines `name ──> names` of the drawing.
fn drawn(page: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut drawn = BTreeMap::new();
    for line in page.lines() {
        let Some((name, used)) = line.split_once("──>") else {
            continue;
        };
        let used = used.split_whitespace().map(str::to_owned).collect();
        let name = name.trim().to_owned();
        ensure!(
            drawn.insert(name.clone(), used).is_none(),
            "{name} is drawn twice"
        );
    }
    Ok(drawn)
}

#[test]
fn the_drawing_of_the_arrows_is_what_the_manifests_say() -> Result<()> {
    let (crates, _) = crates()?;
    let mut real = BTreeMap::new();
    for (name, house) in &crates {
        let mut used = dependencies(&house.manifest, &["dependencies"]);
        used.retain(|used| crates.contains_key(used));
        if !used.is_empty() {
            real.insert(name.clone(), used);
        }
    }
    let drawn = drawn(&read(&workspace::root().join("ARCHITECTURE.md"))?)?;
    for (name, used) in &real {
        let line = used.iter().cloned().collect::<Vec<_>>().join(" ");
        ensure!(
            drawn.get(name) == Some(used),
            "ARCHITECTURE.md needs the line: {name} ──> {line}"
        );
    }
    let gone: Vec<_> = drawn
        .keys()
        .filter(|name| !real.contains_key(*name))
        .collect();
    ensure!(
        gone.is_empty(),
        "ARCHITECTURE.md draws {gone:?}, which use nothing of ours"
    );
    Ok(())
}
