//! `gild init`, `node` and `serve`: from nothing to a desk that serves images and identities, hears the boards and shows them. Real:
//! the program, its three ports, TLS by the authority that it made, the readers of nodes for NFS and HTTP, and for the page Debian's
//! Chromium. Boards are simulated: the tests sign reports with the key that their card would have.

mod boards;
mod browser;
#[path = "../common/mod.rs"]
mod common;
mod order;
mod page;
mod page_orders;
mod pictures;
mod serve;
mod service;
