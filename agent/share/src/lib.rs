//! Published images, on the servers that have them: NFS and HTTP, one or several.
//!
//! One server is waited for as long as the patience lasts. Of several, the first is preferred; where one fails, the next is
//! asked at once, in the middle of an image too, and the patience counts rounds. What a server sends is checked by whoever
//! reads it: a server that has another image under the same name can only make a flash fail.

mod error;
mod file;
mod place;
mod share;

pub use error::ShareError;
pub use file::File;
pub use share::Share;
