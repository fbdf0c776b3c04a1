//! Defects beside those that follow from a rule's own list of paths.

mod accounts;
mod behaviour;
mod boot;
mod build_host;
mod configured;
mod disk;
mod first_boot;
mod identity;
mod k3s_settings;
mod logins;
mod packed;
mod secrets;
mod trial;
mod updates;

use std::path::Path;

pub use boot::vendors;

use crate::common::Golden;

/// The name of the machine that built the images.
pub const HOST: &str = "anvil-7x";
/// A package's file that has this name in it.
pub const README: &str = "usr/share/doc/forge/README";
/// A package's file that has a key in it.
pub const EXAMPLE: &str = "usr/share/doc/cloud-init/examples/keys.txt";
/// A line of the operator's list.
pub const GIVEN: &str = "the operator's own words";

/// The rule that has to find it, what it is, and how it is planted.
pub type Planted = (&'static str, &'static str, Defect);

/// What goes wrong: before the image is made, or in the finished image.
pub enum Defect {
    Before(fn(&Golden)),
    Changed(fn(&mut Golden)),
    After(fn(&Path)),
}

/// A token that opens nothing.
pub fn token() -> String {
    format!("K10{}::server:not-a-real-one", "0a1b".repeat(16))
}

/// A key that opens nothing.
pub fn key() -> String {
    let body = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2";
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
}

/// All of them.
pub fn defects() -> Vec<Planted> {
    [
        disk::defects(),
        boot::defects(),
        boot::overlays(),
        trial::defects(),
        identity::defects(),
        accounts::defects(),
        secrets::defects(),
        configured::defects(),
        logins::defects(),
        k3s_settings::defects(),
        packed::defects(),
        build_host::defects(),
        behaviour::defects(),
        first_boot::defects(),
        updates::defects(),
        updates::unattended(),
        updates::configured(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
