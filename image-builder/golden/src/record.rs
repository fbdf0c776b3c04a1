//! The build record: what went into an image. Nothing in it says where it was built, so equal builds have equal records.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::cache::About;
use crate::seal::Change;

/// What went into an image.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The image.
    pub image_id: String,
    /// The board that it is for.
    pub board: String,
    /// Its date, seconds since 1970.
    pub source_date: u64,
    /// Bytes of a sector of the disks that it is for.
    pub sector_size: u32,
    /// The kernel's version.
    pub kernel: String,
    /// The root file system that it began with.
    pub base: About,
    /// The recipe.
    pub recipe: Value,
    /// What the site added.
    pub site: Value,
    /// Digests of what is laid into every image: the programs of first boot, gild's own files, the site's.
    pub files: BTreeMap<String, String>,
    /// k3s, or null.
    pub k3s: Value,
    /// Packages beyond the recipe's.
    pub packages: Vec<String>,
    /// Versions of the programs that its bytes depend on.
    pub tools: BTreeMap<String, String>,
    /// What the seal found to change.
    pub sealed: Vec<Change>,
}

impl Record {
    /// As JSON, with the version of gild.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            record_version: u32,
            gild: &'static str,
            #[serde(flatten)]
            record: &'a Record,
        }
        let document = Document {
            record_version: 1,
            gild: env!("CARGO_PKG_VERSION"),
            record: self,
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }
}
