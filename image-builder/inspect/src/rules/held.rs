//! The kernel's packages are on hold: the boot partition would not get a new kernel from a package.

use std::collections::HashMap;

use crate::image::Image;
use crate::report::Finding;

pub(super) const STATUS: &str = "var/lib/dpkg/status";
const HELD: &str = "hold ok installed";

pub fn kernel(image: &Image) -> Vec<Finding> {
    let Some(version) = image.kernel().and_then(|kernel| kernel.version.as_deref()) else {
        // The rule about the kernel's modules says so.
        return Vec::new();
    };
    let text = image.root_text(STATUS).unwrap_or_default();
    let states = states(&text);
    let owners = owners(image, &format!("lib/modules/{version}/kernel"));
    if owners.is_empty() {
        let what = format!("no package has the modules of the kernel {version}");
        return vec![Finding::new(STATUS, what)];
    }
    // Those that only depend on the newest kernel would bring the next one.
    let images = states
        .keys()
        .copied()
        .filter(|name| name.starts_with("linux-image-"));
    let installed = |name: &&str| !states[name].ends_with("not-installed");
    let mut names: Vec<&str> = owners
        .iter()
        .map(String::as_str)
        .chain(images.filter(installed))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| states.get(name).copied() != Some(HELD))
        .map(|name| Finding::new(STATUS, format!("{name} is not on hold")))
        .collect()
}

/// The state of each package.
pub(super) fn states(text: &str) -> HashMap<&str, &str> {
    let mut states = HashMap::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            package = name.trim();
        } else if let Some(state) = line.strip_prefix("Status: ") {
            states.insert(package, state.trim());
        }
    }
    states
}

/// The packages that have this folder, in the merged /usr or before it.
fn owners(image: &Image, folder: &str) -> Vec<String> {
    let lines = [format!("/{folder}"), format!("/usr/{folder}")];
    let lists = image.root.in_folder("var/lib/dpkg/info");
    lists
        .filter_map(|(path, _)| {
            let name = path.strip_suffix(".list")?.rsplit('/').next()?;
            let text = image.root_text(path)?;
            let owns = text.lines().any(|line| lines.iter().any(|own| own == line));
            // name:architecture
            owns.then(|| name.split(':').next().unwrap_or(name).to_owned())
        })
        .collect()
}
