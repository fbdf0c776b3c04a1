//! The rules: one table. Each row says what it asks, why, and how it is checked.

mod accounts;
mod apt_conf;
mod behaviour;
mod boot;
mod cloud_init;
mod first_boot;
mod held;
mod identity;
pub(crate) mod join;
mod k3s_files;
mod layout;
mod ssh;
mod table;
mod trial;
mod unattended;
mod updates;

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

pub use table::RULES;

use crate::canary::Origin;
use crate::content::Hit;
use crate::image::Image;
use crate::report::Finding;
use crate::root::Kind;
use crate::secrets::Secret;

/// One thing that every golden image has to satisfy.
pub struct Rule {
    /// Its name, which stays.
    pub id: &'static str,
    /// What is asked.
    pub what: &'static str,
    /// What happens otherwise.
    pub why: &'static str,
    pub(crate) check: Check,
}

/// How a rule is checked.
pub(crate) enum Check {
    /// These paths may only be folders. A path after `!` is an exception and is allowed.
    Forbidden(&'static [&'static str]),
    /// As above, but an empty file may be there.
    Empty(&'static [&'static str]),
    /// No file, no name and no table may contain this.
    Secret(Secret),
    /// Anything else.
    Image(fn(&Image) -> Vec<Finding>),
}

/// A place where something that looks like a secret is none.
pub struct Known {
    secret: Secret,
    /// For the build host's texts: only the texts of this origin.
    origins: &'static [Origin],
    /// Where.
    pub paths: &'static [&'static str],
    /// Why it is none.
    pub why: &'static str,
}

/// All such places.
pub const KNOWN: &[Known] = &[
    Known {
        secret: Secret::PrivateKey,
        origins: &[],
        paths: &["usr/share/doc/cloud-init/examples/**"],
        why: "the package's examples have keys that everybody knows",
    },
    Known {
        secret: Secret::PrivateKey,
        origins: &[],
        paths: &[
            "usr/lib/*/libgnutls.so.30*",
            "boot:initrd.img:usr/lib/*/libgnutls.so.30*",
        ],
        why: "the package's library tests itself with keys that everybody knows",
    },
    Known {
        secret: Secret::BuildHost,
        origins: &[Origin::HostName, Origin::UserName, Origin::Resolver],
        paths: &[
            "usr/lib/python3*/**/__pycache__/*",
            "usr/lib/udev/hwdb.bin",
            "boot:initrd.img:usr/lib/udev/hwdb.bin",
            "usr/lib/modules/*/modules.*",
            "boot:initrd.img:usr/lib/modules/*/modules.*",
            "var/cache/debconf/templates.dat",
            "var/lib/dpkg/available",
            "var/lib/dpkg/info/*",
            "var/lib/dpkg/status",
            "boot/config-*",
        ],
        why: "made of packages' files alone, which have names and addresses as examples",
    },
    Known {
        secret: Secret::BuildHost,
        origins: &[Origin::HostName, Origin::UserName],
        paths: &["etc/cloud/cloud.cfg.d/60-gild-site.cfg"],
        why: "the operator's public keys have user and host in their comments, and are meant to be there",
    },
    Known {
        secret: Secret::BuildHost,
        origins: &[Origin::HostName, Origin::Resolver],
        paths: &["etc/gild/first-boot.toml"],
        why: "Matchbox or the cluster may be on the build host or on the site's name server; the operator named it",
    },
    Known {
        secret: Secret::BuildHost,
        origins: &[Origin::HostName, Origin::Resolver],
        paths: &["etc/apt/sources.list", "etc/apt/sources.list.d/*"],
        why: "the operator's mirror may be the build host, or on the site's router",
    },
    Known {
        secret: Secret::BuildHost,
        origins: &[Origin::HostName, Origin::Resolver],
        paths: &[
            "etc/systemd/timesyncd.conf",
            "etc/systemd/timesyncd.conf.d/*",
            "etc/systemd/resolved.conf.d/*",
            "etc/systemd/network/*",
            "etc/chrony/**",
            "etc/rancher/k3s/registries.yaml",
        ],
        why: "the site's router is often its name server and its time server, and a registry may be on the build host",
    },
];

impl Rule {
    /// What breaks this rule in this image.
    pub(crate) fn findings(&self, image: &Image) -> Vec<Finding> {
        match &self.check {
            Check::Forbidden(globs) => forbidden(image, globs, false),
            Check::Empty(globs) => forbidden(image, globs, true),
            Check::Secret(secret) => secrets(image, *secret),
            Check::Image(check) => check(image),
        }
    }

    /// The patterns of paths that it is about, if it is about paths alone.
    #[must_use]
    pub fn paths(&self) -> &'static [&'static str] {
        match self.check {
            Check::Forbidden(globs) | Check::Empty(globs) => globs,
            _ => &[],
        }
    }
}

/// A set of patterns in which `*` does not cross a slash and `**` does.
pub(crate) fn globs<'a>(
    patterns: impl IntoIterator<Item = &'a str>,
) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Has the name of a file this ending?
fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == ending)
}

fn constant<'a>(patterns: impl IntoIterator<Item = &'a str>) -> GlobSet {
    globs(patterns).expect("constant patterns")
}

fn forbidden(image: &Image, patterns: &[&str], empty_may_be: bool) -> Vec<Finding> {
    let (allowed, denied): (Vec<&str>, Vec<&str>) = patterns
        .iter()
        .partition(|pattern| pattern.starts_with('!'));
    let allowed = constant(allowed.into_iter().map(|pattern| &pattern[1..]));
    let denied = constant(denied);
    let root = image.root.nodes.iter().filter_map(|(path, node)| {
        let what = match &node.kind {
            Kind::Folder => return None,
            Kind::File(0) | Kind::Symlink(_) if empty_may_be => return None,
            Kind::File(0) => "must not exist".to_owned(),
            Kind::File(length) => format!("must not exist, {length} bytes"),
            Kind::Symlink(_) => "must not exist, a link".to_owned(),
            Kind::Special(what) => format!("must not exist, a {what}"),
        };
        Some((path.clone(), what))
    });
    let boot = image
        .boot
        .files
        .keys()
        .map(|path| (format!("boot:{path}"), "must not exist".to_owned()));
    let is_denied = |path: &str| denied.is_match(path) && !allowed.is_match(path);
    // A link instead of a folder: its content would have other names, and is there anyway.
    let leads_away = |path: &str| {
        let is_link = matches!(image.root.kind(path), Some(Kind::Symlink(_)));
        is_link
            && is_denied(&format!("{path}/x"))
            && image.root.resolve(path).is_some_and(|folder| {
                image.root.kind(&folder) == Some(&Kind::Folder)
                    && !is_denied(&format!("{folder}/x"))
            })
    };
    root.chain(boot)
        .filter(|(path, _)| is_denied(path) || leads_away(path))
        .map(|(path, what)| Finding { path, what })
        .collect()
}

fn secrets(image: &Image, secret: Secret) -> Vec<Finding> {
    let known: Vec<_> = KNOWN
        .iter()
        .filter(|known| known.secret == secret)
        .map(|known| (known, constant(known.paths.iter().copied())))
        .collect();
    let is_known = |hit: &Hit| {
        known.iter().any(|(known, paths)| {
            paths.is_match(&hit.path)
                && hit
                    .secret
                    .origin
                    .is_none_or(|origin| known.origins.contains(&origin))
        })
    };
    // What cannot be read again does not count as a package's.
    let is_shipped = |hit: &Hit| image.packages.ship(&image.root, hit).unwrap_or(false);
    let is_none = |hit: &Hit| match secret {
        Secret::BuildHost => is_known(hit) || is_shipped(hit),
        // A package may bring a key of its site: only the keys that are named here are public.
        _ => is_known(hit) && is_shipped(hit),
    };
    image
        .content
        .hits
        .iter()
        .filter(|hit| hit.secret.secret == secret && !is_none(hit))
        .map(|hit| {
            let found = &hit.secret;
            Finding::new(
                &hit.path,
                format!(
                    "{}, {} bytes at byte {}{}",
                    found.what,
                    found.length,
                    found.offset,
                    if hit.unpacked {
                        " of what it unpacks to"
                    } else {
                        ""
                    }
                ),
            )
        })
        .collect()
}
