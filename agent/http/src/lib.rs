//! A reader of files on web servers: ranges, one version of a file from start to end, patience.
//!
//! ```no_run
//! # fn main() -> Result<(), gild_http::HttpError> {
//! use std::sync::Arc;
//! use gild_card_format::HttpUrl;
//! use gild_http::{Access, Share};
//! use gild_source::{Backoff, Options};
//!
//! let url = HttpUrl::parse("https://images.example/gild").expect("an address").join("rpi5");
//! let access = Access::new(None, None)?;
//! let share = Share::new(&url, &access, Options::default(), Arc::new(Backoff::forever()))?;
//! let manifest = share.read_file("golden.json", 16 << 20)?;
//! let image = share.open("image.img.zst")?;
//! let mut first = vec![0; 4096];
//! image.read_exact_at(&mut first, 0)?;
//! # Ok(()) }
//! ```
//!
//! The calls block, and any number of threads may make them at once; each uses one connection of a few. [`answer`] judges what
//! a server says, without I/O; [`wire`] asks.

mod access;
mod answer;
mod certificate;
mod error;
mod file;
mod pem;
mod share;
mod wire;

pub use access::Access;
pub use certificate::RefusedCertificate;
pub use error::{At, HttpError};
pub use file::File;
pub use pem::{GIVE_PEM, PemError, certificates};
pub use share::Share;

/// Lets the fuzz target reach what judges a server's answer.
#[cfg(feature = "fuzz")]
pub mod answers {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    pub use reqwest::StatusCode;

    pub use crate::At;
    pub use crate::answer::{Opened, Version, comes, opened};

    /// The headers in these lines.
    #[must_use]
    pub fn headers(text: &[u8]) -> HeaderMap {
        text.split(|byte| *byte == b'\n')
            .filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let value = line[colon + 1..].trim_ascii();
                Some((
                    HeaderName::from_bytes(&line[..colon]).ok()?,
                    HeaderValue::from_bytes(value).ok()?,
                ))
            })
            .collect()
    }
}
