//! Step 5, manifest: the one signed statement the node trusts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gild_boards::Board;
use gild_card_format::{Config, ServerUrl};
use gild_faults::{Fault, HasFault};
use gild_format::fit::{self, check_rollback};
use gild_format::manifest::{MAX_MANIFEST_BYTES, Manifest, Sha256Hex, manifest_sha256};
use gild_format::record::Record;
use gild_format::release::{self, signature_of};
use gild_format::signature::{MAX_SIGNATURE_BYTES, SignatureError};
use gild_http::{Access, HttpError};
use gild_orders::Choice;
use gild_share::{Place, Share, ShareError};
use gild_source::Options;
use log::info;

use crate::consent::Holds;
use crate::failure::StepError;
use crate::machine::Machine;
use crate::patience::ServerPatience;
use crate::signed_order::Chosen;

/// The first question is put off by up to this part of a hold: two seconds, with the usual one of a minute.
const START_SHARE: u32 = 30;
const LONGEST_START: Duration = Duration::from_secs(2);

/// An image, ready to be read.
pub struct Image {
    /// What it is.
    pub manifest: Manifest,
    /// SHA-256 of the manifest's bytes.
    pub sha256: Sha256Hex,
    /// Where it lies.
    pub share: Share,
    /// The board's directory there, for people.
    folder: String,
    /// The manifest's name in it.
    name: String,
}

impl Image {
    /// Refuses an image that is older than one that has proven itself on this disk.
    pub fn check_floor(&self, holds: &Holds) -> Result<(), FetchError> {
        let least = holds.record().map_or(0, Record::next_floor);
        check_rollback(
            &self.manifest,
            least,
            "an image that has proven itself on this disk has",
        )
        .map_err(|reason| FetchError::Refused {
            name: self.name.clone(),
            folder: self.folder.clone(),
            reason,
        })
    }
}

/// There is no image for this node.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server, or a file on it.
    #[error(transparent)]
    Server(#[from] ShareError),
    /// What the card says of HTTP cannot be used.
    #[error(transparent)]
    Access(#[from] HttpError),
    /// An older image than the card allows could be taken.
    #[error("the card's rollback counters cannot be read: {0}")]
    Floor(io::Error),
    /// The manifest is not one that this node may follow.
    #[error("{name} in {folder} is refused: {reason}")]
    Refused {
        /// The manifest.
        name: String,
        /// The board's directory.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl HasFault for FetchError {
    fn fault(&self) -> Fault {
        match self {
            Self::Server(error) => error.fault(),
            Self::Access(error) => error.fault(),
            Self::Floor(_) | Self::Refused { .. } => Fault::ManifestRefused,
        }
    }
}

impl StepError for FetchError {}

/// Whom to believe, and what lets this node in, by the card.
pub fn access(config: &Config) -> Result<Access, FetchError> {
    let authorities = config.authorities.as_deref();
    Ok(Access::new(authorities, config.header.as_ref())?)
}

/// Fetches this board's current manifest, or the one that an order chooses, and checks everything about it before anything of it is
/// used.
pub fn fetch(
    machine: &'static Machine,
    board: &Board,
    config: &Config,
    access: &Access,
    chosen: Option<&Chosen>,
    least_on_card: u64,
) -> Result<Image, FetchError> {
    let urls: Vec<ServerUrl> = config
        .servers
        .iter()
        .map(|server| server.join(&board.name))
        .collect();
    // A rack that is switched on at once does not ask at once.
    let longest = (machine.hold / START_SHARE).min(LONGEST_START);
    machine.wait(longest.mul_f64(fastrand::f64()));
    let patience = Arc::new(ServerPatience::new(machine, config.answer));
    let options = Options {
        answer: config.answer,
        ..Options::default()
    };
    let share = Share::new(&urls, access, options, patience);
    let least = config.min_rollback.max(least_on_card);
    let name = Chosen::manifest(chosen);
    // A server whose manifest is refused is passed over like one that does not answer.
    let (manifest, bytes, folder) = share.on_one(|place| {
        let folder = place.url().to_string();
        let refused = |reason| ShareError::Refused {
            name: name.clone(),
            server: folder.clone(),
            reason,
        };
        let (bytes, line) = read_signed(machine, config, place, &name)?
            .map_err(|error| refused(error.to_string()))?;
        let manifest = Manifest::parse(&bytes).map_err(|error| refused(error.to_string()))?;
        let version = env!("CARGO_PKG_VERSION");
        fit::check(&manifest, &board.name, version, least).map_err(refused)?;
        is_chosen(&manifest, chosen).map_err(refused)?;
        info!("{line}");
        Ok((manifest, bytes, folder))
    })?;
    info!(
        "image {} from {folder} ({} MB, {} MB to fetch, rollback counter {})",
        manifest.image_id,
        manifest.raw_size / 1_000_000,
        manifest.data_stored_bytes() / 1_000_000,
        manifest.rollback_counter
    );
    Ok(Image {
        sha256: manifest_sha256(&bytes),
        manifest,
        share,
        folder,
        name,
    })
}

/// A server may show another signed image under the name of the one that an order chooses.
fn is_chosen(manifest: &Manifest, chosen: Option<&Chosen>) -> Result<(), String> {
    match chosen.map(|chosen| &chosen.flash.choice) {
        Some(Choice::Image(id)) if id.to_string() != manifest.image_id => Err(format!(
            "it is of image {}, and the order chooses {id}",
            manifest.image_id
        )),
        _ => Ok(()),
    }
}

fn read_signed(
    machine: &'static Machine,
    config: &Config,
    place: &Place,
    name: &str,
) -> Result<Result<(Vec<u8>, String), SignatureError>, ShareError> {
    let read = || {
        let manifest = place.read_file(name, MAX_MANIFEST_BYTES as u64)?;
        let minisig = place.read_file(&signature_of(name), MAX_SIGNATURE_BYTES as u64)?;
        Ok((manifest, String::from_utf8_lossy(&minisig).into_owned()))
    };
    signed(config, read, |time| machine.wait(time))
}

/// The bytes that one of the configuration's keys signed, and the line for the console that names it.
fn signed<E>(
    config: &Config,
    read: impl FnMut() -> Result<(Vec<u8>, String), E>,
    wait: impl FnMut(Duration),
) -> Result<Result<(Vec<u8>, String), SignatureError>, E> {
    let found = release::read_signed(&config.keys(), read, wait)?;
    Ok(found.map(|(bytes, key)| {
        let name = config.name_of(key);
        (
            bytes,
            format!("the manifest is signed with `{name}`, {key}"),
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use gild_card_format::Arguments;
    use minisign::KeyPair;

    use super::*;

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().expect("a key pair")
    }

    fn line_of(pair: &KeyPair) -> String {
        pair.pk.to_base64()
    }

    /// What a node with these keys makes of a manifest that this one signed.
    fn judged(config: &Config, signer: &KeyPair) -> Result<(Vec<u8>, String), SignatureError> {
        let bytes = b"{}".to_vec();
        let minisig = minisign::sign(
            Some(&signer.pk),
            &signer.sk,
            Cursor::new(&bytes),
            None,
            None,
        )
        .expect("a signature")
        .into_string();
        let read = || Ok::<_, ()>((bytes.clone(), minisig.clone()));
        signed(config, read, |_| panic!("nothing is being replaced")).expect("it can be read")
    }

    #[test]
    fn either_of_the_card_s_keys_counts_and_the_console_says_which_and_a_third_does_not() {
        let (old, new, third) = (pair(), pair(), pair());
        let two = format!(
            "server = \"nfs://a/b\"\npublic_key = \"{}\"\nnext_public_key = \"{}\"",
            line_of(&old),
            line_of(&new)
        );
        let config = Config::parse(Some(&two), &Arguments::default()).expect("two keys");
        for (signer, name) in [(&old, "public_key"), (&new, "next_public_key")] {
            let (bytes, line) = judged(&config, signer).expect("a key of the card");
            assert_eq!(bytes, b"{}");
            let expected = format!("the manifest is signed with `{name}`, {}", line_of(signer));
            assert_eq!(line, expected);
        }
        let error = judged(&config, &third).expect_err("a third key");
        assert!(matches!(error, SignatureError::OtherKey(_)), "{error}");

        let (one, _) = two.rsplit_once('\n').expect("lines");
        let config = Config::parse(Some(one), &Arguments::default()).expect("one key");
        judged(&config, &new).expect_err("a key that the card does not have");
    }
}
