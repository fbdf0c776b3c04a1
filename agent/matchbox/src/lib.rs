//! What Matchbox is asked and what it answers: the agent shows the name that a node is going to have, and the node takes
//! it. Both read the answer with this code, so that they agree. No I/O.

mod address;
mod answer;
mod name;

pub use address::{metadata_address, report_address};
pub use answer::{Answer, MetadataError, Values};
pub use name::{NameError, fallback_name, host_name};
