//! What a sound image lacks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::image::Image;

/// What a sound image lacks: whoever built it said so, and whoever publishes it should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Its nodes join no cluster.
    K3s,
    /// The holes of the day of the build stay.
    SecurityUpdates,
}

impl Lack {
    /// What this image lacks.
    pub(crate) fn of(image: &Image) -> Vec<Self> {
        let lacks = [
            (Self::K3s, image.is_without_k3s()),
            (Self::SecurityUpdates, image.is_without_security_updates()),
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
            Self::SecurityUpdates => {
                "built without security updates: its nodes' apt does not fetch them either"
            }
        })
    }
}
