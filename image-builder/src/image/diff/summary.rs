//! How many packages and files differ.

use gild_inspect::{Differences, Side};
use serde::Serialize;

use super::packages::Package;

/// How many packages differ, and how many files.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Nothing where packages were not compared.
    pub packages: Option<Packages>,
    /// Nothing where files were not compared.
    pub files: Option<Files>,
}

/// How many packages differ.
#[derive(Debug, Serialize)]
pub struct Packages {
    /// Only in the new image.
    pub added: u64,
    /// Only in the old image.
    pub removed: u64,
    /// Of another version.
    pub changed: u64,
}

/// How many files differ, those in folders that came or went too. Links and devices count.
#[derive(Debug, Default, Serialize)]
pub struct Files {
    /// Only in the new image.
    pub added: u64,
    /// Their bytes.
    pub added_bytes: u64,
    /// Only in the old image.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Files and folders that both images have, and that differ.
    pub changed: u64,
}

impl Packages {
    /// Of these differences.
    pub fn of(packages: &[Package]) -> Self {
        let count =
            |is: fn(&Package) -> bool| packages.iter().filter(|package| is(package)).count() as u64;
        Self {
            added: count(|package| package.old.is_none()),
            removed: count(|package| package.new.is_none()),
            changed: count(|package| package.old.is_some() && package.new.is_some()),
        }
    }
}

impl Files {
    /// Of these differences.
    pub fn of(partitions: &[Differences]) -> Self {
        let mut all = Self::default();
        for difference in partitions.iter().flat_map(|partition| &partition.files) {
            let files = |side: &Side| side.files.unwrap_or(1);
            match (&difference.old, &difference.new) {
                (None, Some(side)) => {
                    all.added += files(side);
                    all.added_bytes = all.added_bytes.saturating_add(side.size);
                }
                (Some(side), None) => {
                    all.removed += files(side);
                    all.removed_bytes = all.removed_bytes.saturating_add(side.size);
                }
                _ => all.changed += 1,
            }
        }
        all
    }
}
