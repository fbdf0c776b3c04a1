//! The desk of a rack: one program that serves images and identities, hears the boards, and shows where each of them is.
//!
//! [`serve`] runs it. [`desk`] is the desk without any network: what it knows, and who gets which answer. [`rack`] is pure: what
//! happened makes a picture. [`journal`] keeps what happened, [`metadata`] has Matchbox's rules, [`view`] is the picture for people
//! and programs, and the private modules bring all that onto the wire.

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
