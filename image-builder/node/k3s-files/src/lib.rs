//! k3s' configuration files that a golden image may have. They are the same on all nodes and everybody can read them, so they hold
//! no secret, and nothing that is one node's or that Matchbox says. No I/O.
//!
//! `gild image build` asks this of an overlay, and the inspection of a finished image.

mod drop_in;
mod registries;

use serde_json::{Map, Value};

pub use drop_in::{DROP_INS, check as check_drop_in, long_name};
pub use registries::{REGISTRIES, check as check_registries};

/// Why a file cannot be in an image. It never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// k3s passes over it without a word.
    #[error("k3s does not read a file of this name; next: let it end in .yaml")]
    Name,
    /// k3s does not start with it.
    #[error("it is not YAML, or has a key twice; next: correct it")]
    Syntax,
    /// k3s does not start with it, or takes it for something else.
    #[error(
        "it is not a mapping of keys to values; next: a line such as `kubelet-arg: [\"max-pods=50\"]`"
    )]
    Form,
    /// A table where k3s takes a value or a list of values.
    #[error("`{key}` is neither a value nor a list of values; next: correct it")]
    Value {
        /// The key.
        key: String,
    },
    /// A secret that anyone with the image would have.
    #[error("`{key}` is a secret, and anyone who has the image would have it; next: {instead}")]
    Secret {
        /// The key.
        key: String,
        /// Where it belongs.
        instead: &'static str,
    },
    /// Another place says this.
    #[error("`{key}` does not belong in an image: {why}")]
    Elsewhere {
        /// The key.
        key: String,
        /// Why not, and where it belongs.
        why: &'static str,
    },
}

fn mapping(text: &str) -> Result<Map<String, Value>, Problem> {
    match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(mapping)) => Ok(mapping),
        // A file of comments.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Problem::Form),
        // The parser's message would quote the line.
        Err(_) => Err(Problem::Syntax),
    }
}
