//! MAC addresses: the golden image goes by the same ones.

pub use gild_boards::mac::Mac;
