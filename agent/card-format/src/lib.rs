//! The format of the card: names and places, the list of digests, the gate, the address of a share, and `gild.toml`, which
//! kernel arguments override. No I/O.
//!
//! The agent reads it on the board, and `gild card build` reads it before it makes a card, so both refuse the same mistakes.

pub mod agent_version;
mod arguments;
mod config;
mod gate;
mod host;
mod http_url;
mod likeliest;
mod log_server;
pub mod names;
mod network;
mod nfs_url;
mod order;
mod per_board;
mod percent;
mod reference;
mod rollback;
mod server_url;
mod servers;
mod status_key;
pub mod sums;

pub use arguments::Arguments;
pub use config::{BootOrderPolicy, Config, ConfigError};
pub use gate::{GATE, Gate, ON_TRIAL, TRIAL};
pub use host::check_host;
pub use http_url::HttpUrl;
pub use likeliest::likeliest;
pub use log_server::LogServer;
pub use network::{Networks, TwoSections};
pub use nfs_url::{NfsUrl, NfsUrlError};
pub use order::{Order, OrderError, order_id};
pub use per_board::PerBoard;
pub use reference::markdown;
pub use rollback::{DamagedCounters, counters};
pub use server_url::ServerUrl;
pub use servers::{CERTIFICATE_MARK, Header, SERVER_ANSWER};
