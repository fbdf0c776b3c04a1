//! Step 5, manifest: get the one signed statement that the node trusts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gild_boards::Board;
use gild_card_format::{Config, ServerUrl};
use gild_faults::{Fault, HasFault};
use gild_format::fit::{Flasher, check_rollback};
use gild_format::manifest::{Manifest, Sha256Hex, manifest_sha256};
use gild_format::record::Record;
use gild_format::signature::PublicKey;
use gild_http::{Access, HttpError};
use gild_share::{Share, ShareError};
use gild_source::{Options, within};
use log::info;

use crate::consent::Holds;
use crate::failure::StepError;
use crate::machine::Machine;
use crate::patience::ServerPatience;
use crate::signed_order::Chosen;

/// The first request is delayed by up to this fraction of a hold: two seconds, if a hold is a minute.
const START_SHARE: u32 = 30;
const LONGEST_START: Duration = Duration::from_secs(2);
/// How often the work shows that it is alive while it waits for an answer.
const LOOK: Duration = Duration::from_millis(500);

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
    /// Refuses an image that is older than one that has already proven itself on this disk.
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

/// Why this node gets no image.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server or a file on it failed.
    #[error(transparent)]
    Server(#[from] ShareError),
    /// The card's settings for HTTP cannot be used.
    #[error(transparent)]
    Access(#[from] HttpError),
    /// The card's rollback counter cannot be read, so the image might be too old.
    #[error("reading the card's rollback counters: {0}")]
    Floor(io::Error),
    /// The disk can be started, so the node does not wait longer.
    #[error(
        "the image's manifest did not come within {} seconds, and a disk that can be started waits no longer; next: look whether the server is slow",
        .0.as_secs()
    )]
    Late(Duration),
    /// The manifest is not valid for this node.
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
            Self::Late(_) => Fault::ServerUnreachable,
            Self::Floor(_) | Self::Refused { .. } => Fault::ManifestRefused,
        }
    }
}

impl StepError for FetchError {
    fn next_step(&self) -> &'static str {
        match self {
            Self::Floor(_) => "replace the card",
            _ => self.fault().next_step(),
        }
    }
}

/// The card's settings for servers: which authorities to trust, and the login.
pub fn access(config: &Config) -> Result<Access, FetchError> {
    let authorities = config.authorities.as_deref();
    Ok(Access::new(authorities, config.header.as_ref())?)
}

/// What to fetch.
#[derive(Clone)]
pub struct Request<'a> {
    /// What the card says.
    pub config: &'a Config,
    /// Which authorities to trust.
    pub access: &'a Access,
    /// The order that chooses the image.
    pub chosen: Option<&'a Chosen>,
    /// The least rollback counter, from what the card has seen and the disk has proven.
    pub least: u64,
}

/// Fetches this board's current manifest, or the one that an order chooses. It checks everything about it before anything is used. It gives
/// up after the limit, so that a server that sends single bytes cannot delay a disk that can be started.
pub fn fetch(
    machine: &'static Machine,
    board: &'static Board,
    request: &Request<'_>,
    limit: Option<Duration>,
) -> Result<Image, FetchError> {
    let patience = || ServerPatience::new(machine, request.config.answer);
    let Some(limit) = limit else {
        return read(machine, board, request, patience());
    };
    let (config, access) = (request.config.clone(), request.access.clone());
    let (chosen, least) = (request.chosen.cloned(), request.least);
    let begun = within::begin(limit, move || {
        let patience = ServerPatience::new(machine, config.answer).until(limit);
        let request = Request {
            config: &config,
            access: &access,
            chosen: chosen.as_ref(),
            least,
        };
        read(machine, board, &request, patience)
    });
    loop {
        if let Some(outcome) = begun.after(LOOK) {
            // The limit was only for the manifest. When the image is read, writing the disk has begun, so the server gets the usual
            // patience.
            let share = share(board, request, patience());
            return outcome.map(|image| Image { share, ..image });
        }
        if begun.is_over() {
            return Err(FetchError::Late(limit));
        }
        machine.alive();
    }
}

fn read(
    machine: &'static Machine,
    board: &Board,
    request: &Request<'_>,
    patience: ServerPatience,
) -> Result<Image, FetchError> {
    let config = request.config;
    // Spread out, because a whole rack may be switched on at the same time.
    let longest = (machine.hold / START_SHARE).min(LONGEST_START);
    machine.wait(longest.mul_f64(fastrand::f64()));
    let share = share(board, request, patience);
    let least = config.min_rollback.max(request.least);
    let name = Chosen::manifest(request.chosen);
    let flasher = Flasher {
        board: &board.name,
        agent: Some(crate::version::VERSION),
        whose_agent: "this is",
        least_rollback: least,
        who_asks: "the card asks for at least",
    };
    let fits = |manifest: &Manifest| {
        flasher.takes(manifest)?;
        let choice = request.chosen.map(|chosen| &chosen.flash.choice);
        choice.map_or(Ok(()), |choice| choice.check(&manifest.image_id))
    };
    // If the manifest of one server is refused, the next server is asked, as if the first had not answered.
    let keys = config.keys();
    let (signed, folder) = share.on_one(|place| {
        let wait = |time| machine.wait(time);
        let signed = gild_share::manifest(place, &name, &keys, wait, fits)?;
        info!("{}", signed_with(config, signed.key));
        Ok((signed, place.url().to_string()))
    })?;
    let manifest = signed.manifest;
    info!(
        "image {} from {folder} ({} MB, {} MB to fetch, rollback counter {})",
        manifest.image_id,
        manifest.raw_size / 1_000_000,
        manifest.data_stored_bytes() / 1_000_000,
        manifest.rollback_counter
    );
    Ok(Image {
        sha256: manifest_sha256(&signed.bytes),
        manifest,
        share,
        folder,
        name,
    })
}

/// This board's directory on the servers of the card.
fn share(board: &Board, request: &Request<'_>, patience: ServerPatience) -> Share {
    let config = request.config;
    let urls: Vec<ServerUrl> = config
        .servers
        .iter()
        .map(|server| server.join(&board.name))
        .collect();
    let options = Options {
        answer: config.answer,
        ..Options::default()
    };
    Share::new(&urls, request.access, options, Arc::new(patience))
}

/// The line for the console that names one of the card's keys.
fn signed_with(config: &Config, key: &PublicKey) -> String {
    let name = config.name_of(key);
    format!("the manifest is signed with `{name}`, {key}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;
    use std::thread;

    use gild_card_format::Arguments;
    use gild_format::manifest::{Chunk, FORMAT_VERSION, Partition};
    use gild_format::release;
    use gild_format::signature::SignatureError;
    use gild_http_testkit::{Reply, Server};
    use minisign::KeyPair;

    use super::*;
    use crate::led::Led;

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().expect("a key pair")
    }

    fn line_of(pair: &KeyPair) -> String {
        pair.pk.to_base64()
    }

    /// The result for a node with these keys and a manifest that this signer signed.
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
        let wait = |_| panic!("nothing is being replaced");
        let found = release::read_signed(&config.keys(), read, wait).expect("it can be read")?;
        Ok((found.0, signed_with(config, found.1)))
    }

    /// The manifest of an image that is a single hole.
    fn manifest() -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            board: "rpi5".to_owned(),
            image_id: "rpi5-0".to_owned(),
            build_time: 0,
            rollback_counter: 0,
            proves_itself: true,
            min_agent_version: "0.1.0".to_owned(),
            raw_size: 2 << 20,
            sector_size: 512,
            chunk_size: 2 << 20,
            stored_file: "rpi5-0.img.zst".to_owned(),
            stored_size: 1,
            stored_sha256: manifest_sha256(b"x"),
            partitions: vec![Partition {
                number: 1,
                start: 1 << 20,
                length: 1 << 20,
                kind: "0x83".to_owned(),
                uuid: String::new(),
                name: String::new(),
            }],
            tools: BTreeMap::new(),
            chunks: vec![Chunk {
                raw_offset: 0,
                raw_length: 2 << 20,
                stored_offset: 0,
                stored_length: 1,
                sha256: manifest_sha256(&vec![0; 2 << 20]),
                hole: true,
            }],
        }
    }

    #[test]
    fn the_image_is_read_with_all_patience_also_where_its_manifest_has_to_come_soon() {
        let limit = Duration::from_secs(2);
        let pair = pair();
        let bytes = manifest().to_json();
        let minisig = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&bytes), None, None)
            .expect("a signature")
            .into_string();
        let server = Server::start(move |request| match &*request.target {
            "/rpi5/golden.json" => Reply::file(request, &bytes),
            "/rpi5/golden.json.minisig" => Reply::file(request, minisig.as_bytes()),
            _ => Reply::file(request, b"x"),
        });
        let text = format!(
            "server = \"{}\"\npublic_key = \"{}\"",
            server.url(),
            line_of(&pair)
        );
        let config = Config::parse(Some(&text), &Arguments::default()).expect("a configuration");
        let machine = Box::leak(Box::new(Machine::new(
            Led::start(),
            Duration::from_millis(1),
        )));
        let request = Request {
            config: &config,
            access: &access(&config).expect("no authorities"),
            chosen: None,
            least: 0,
        };
        let board = gild_boards::by_name("rpi5").expect("a board");
        let image = fetch(machine, board, &request, Some(limit)).expect("it comes at once");

        thread::sleep(limit);
        server.set_down(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(limit);
                server.set_down(false);
            });
            let file = &image.manifest.stored_file;
            image.share.open(file, 1).expect("the server comes back");
        });
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
