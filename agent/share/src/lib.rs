//! Published images, on the servers that have them: NFS and HTTP, one or several.
//!
//! With one server, the reader waits for as long as the patience lasts. With several, it prefers the first one and tries it
//! again each minute. If a server fails or sends wrong bytes, it asks the next one at once, also in the middle of an image,
//! and the patience counts rounds. The reader of the data checks what a server sends.

mod error;
mod file;
mod manifest;
mod place;
mod share;

pub use error::ShareError;
pub use file::File;
pub use manifest::{Signed, manifest};
pub use place::Place;
pub use share::Share;
