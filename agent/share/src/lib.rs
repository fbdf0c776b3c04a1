//! Published images, on the servers that have them: NFS and HTTP, one or several.
//!
//! One server is waited for as long as the patience lasts. Of several, the first is preferred and tried again each minute; where one
//! fails or sends wrong bytes, the next is asked at once, in the middle of an image too, and the patience counts rounds. What a server
//! sends is checked by its reader.

mod error;
mod file;
mod place;
mod share;

pub use error::ShareError;
pub use file::File;
pub use place::Place;
pub use share::Share;
