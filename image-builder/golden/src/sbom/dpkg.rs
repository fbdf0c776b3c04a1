//! dpkg's database of installed packages.

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// Who keeps it.
    pub maintainer: Option<String>,
    /// The source package, with its version where that differs.
    pub source: Option<String>,
}

/// The packages that `/var/lib/dpkg/status` has as installed, in the order of their names.
pub fn installed(status: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = status.split("\n\n").filter_map(package).collect();
    packages.sort();
    packages
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.trim().to_owned())
        })
    };
    // "install ok installed", and "hold ok installed" for the kernel.
    field("Status").filter(|status| status.ends_with(" ok installed"))?;
    Some(Package {
        name: field("Package")?,
        architecture: field("Architecture")?,
        version: field("Version")?,
        maintainer: field("Maintainer"),
        source: field("Source"),
    })
}
