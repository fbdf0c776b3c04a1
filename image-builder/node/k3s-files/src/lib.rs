//! The configuration files of k3s that a golden image may have. They are the same on all nodes and everybody can read them. So they hold no
//! secret, nothing that belongs to one node, and nothing that Matchbox says. No I/O.
//!
//! `gild image build` applies these rules to an overlay, and the inspection applies them to a finished image.

mod drop_in;
mod registries;

use serde_json::{Map, Value};

pub use drop_in::{DROP_INS, check as check_drop_in, long_name};
pub use registries::{REGISTRIES, check as check_registries};

/// Why a file cannot be in an image. It never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// k3s would ignore it without a message.
    #[error("k3s does not read a file of this name; next: let it end in .yaml")]
    Name,
    /// k3s would not start with it.
    #[error("it is not YAML, or has a key twice; next: correct it")]
    Syntax,
    /// k3s would not start with it, or would misunderstand it.
    #[error(
        "it is not a mapping of keys to values; next: a line such as `kubelet-arg: [\"max-pods=50\"]`"
    )]
    Form,
    /// There is a table where k3s expects a value or a list of values.
    #[error("`{key}` is neither a value nor a list of values; next: correct it")]
    Value {
        /// The key.
        key: String,
    },
    /// It has a secret, which anyone with the image could read.
    #[error("`{key}` is a secret, and anyone who has the image would have it; next: {instead}")]
    Secret {
        /// The key.
        key: String,
        /// Where it belongs.
        instead: &'static str,
    },
    /// Another place sets this key.
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
        // The file has only comments.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Problem::Form),
        // The parser's message would quote the line.
        Err(_) => Err(Problem::Syntax),
    }
}
