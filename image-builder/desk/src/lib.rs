//! The desk of a rack: one program that serves images and identities, takes the boards' reports, and shows how far each board is.
//!
//! [`serve`] runs it. [`desk`] is the desk without the network: what it knows, and which answer each asker gets. [`rack`] is pure: it turns
//! the list of what happened into a picture. [`journal`] keeps that list, [`metadata`] has Matchbox's rules, and [`view`] shows the picture
//! to people and programs. The private modules connect all of it to the network.

pub mod desk;
mod end;
pub mod folder;
pub mod journal;
mod known_groups;
pub mod metadata;
mod nfs;
pub mod orders;
mod places;
mod published;
pub mod rack;
pub mod regular_file;
pub mod serve;
pub mod settings;
mod source;
pub mod tls;
pub mod view;
mod web;
