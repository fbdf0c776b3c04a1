//! What a sound image lacks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::rules::join;

/// What a sound image lacks: its builder left it out on purpose, and its publisher should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Its nodes join no cluster.
    K3s,
    /// Its nodes ask nobody who they are.
    Matchbox,
    /// Only Matchbox can say who may log in.
    SshKeys,
    /// Nobody can say who may log in.
    Login,
    /// The holes of the day of the build stay.
    SecurityUpdates,
    /// A person must install them on each node.
    UnattendedUpgrades,
}

impl Lack {
    /// What this image lacks.
    pub(crate) fn of(image: &Image) -> Vec<Self> {
        let is_without_matchbox = join::is_without_matchbox(image);
        let is_without_updates = image.is_without_security_updates();
        let has_ssh_key = join::has_ssh_key(image);
        let lacks = [
            (Self::K3s, image.is_without_k3s()),
            (Self::Matchbox, is_without_matchbox),
            (Self::SshKeys, !has_ssh_key && !is_without_matchbox),
            (Self::Login, !has_ssh_key && is_without_matchbox),
            (Self::SecurityUpdates, is_without_updates),
            (
                Self::UnattendedUpgrades,
                image.is_without_unattended_upgrades() && !is_without_updates,
            ),
        ];
        let lacking = lacks.into_iter().filter(|(_, lacks)| *lacks);
        lacking.map(|(lack, _)| lack).collect()
    }
}

/// As the end of "the image is".
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::K3s => "built without k3s: its nodes join no cluster",
            Self::Matchbox => "built without Matchbox: its nodes ask nobody who they are, and join no cluster",
            Self::SshKeys => {
                "without an SSH key: only people with a key in `ssh_keys` of a node's group in Matchbox can log in to it"
            }
            Self::Login => "without an SSH key and without Matchbox: nobody can ever log in to its nodes",
            Self::SecurityUpdates => {
                "built without security updates: its nodes' apt does not fetch them either"
            }
            Self::UnattendedUpgrades => {
                "built without unattended upgrades: somebody must install security updates on each node"
            }
        })
    }
}
