//! Reads from each server of images what a node reads from it, with the agent's readers: manifest, signature, the ends of the chunks.
//!
//! Each server is asked alone: a node that fails over to the next one hides what is wrong with the first.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gild_boards::Board;
use gild_card_format::{Config, ServerUrl};
use gild_format::chunk::{ChunkError, Decoder};
use gild_format::fit::Flasher;
use gild_format::manifest::MAX_MANIFEST_BYTES;
use gild_format::release::{self, GOLDEN, signature_of};
use gild_format::signature::MAX_SIGNATURE_BYTES;
use gild_format::{Manifest, manifest_sha256};
use gild_http::{Access, HttpError};
use gild_nfs::NfsError;
use gild_share::{Share, ShareError};
use gild_source::within::{self, Begun};
use gild_source::{Options, Patience, Source, SourceError};

use super::given::OnCard;
use super::image::{Image, Look, Trouble};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer. A node waits for `answer_seconds`; a person is waiting here.
const ANSWER: Duration = Duration::from_secs(15);
/// For all that is asked of one server about one board.
const WHOLE: Duration = Duration::from_mins(1);

/// One server, asked about one board.
pub struct Asking {
    server: String,
    board: &'static str,
    outcome: Begun<Result<Image, Trouble>>,
}

/// The card that is to take the image.
struct Holder {
    /// The version of its agent, if the card says it.
    agent: Option<String>,
    /// The least rollback counter.
    least: u64,
}

impl Holder {
    /// A card that does not say its agent's version counts as one that this gild makes.
    fn takes(&self, manifest: &Manifest, board: &str) -> Result<(), String> {
        let (agent, whose_agent) = match &self.agent {
            Some(version) => (version.as_str(), "the card has"),
            None => (env!("CARGO_PKG_VERSION"), "this is"),
        };
        let flasher = Flasher {
            board,
            agent: Some(agent),
            whose_agent,
            least_rollback: self.least,
            who_asks: "the card asks for at least",
        };
        flasher.takes(manifest)
    }
}

/// Asks once more where a connection was cut off, as a node does, and never waits.
struct OnceMore;

impl Patience for OnceMore {
    fn wait(&self, attempt: u32, trouble: &dyn gild_source::Trouble) -> bool {
        attempt == 1 && trouble.is_cut_off()
    }
}

/// Begins to ask each server about each board.
pub fn begin(
    config: &Arc<Config>,
    access: &Access,
    boards: &[&'static Board],
    on_card: &OnCard,
) -> Vec<Asking> {
    let pairs = config
        .servers
        .iter()
        .flat_map(|server| boards.iter().map(move |board| (server, *board)));
    pairs
        .map(|(server, board)| {
            let (config, access, url) = (Arc::clone(config), access.clone(), server.clone());
            let least = on_card.least_rollback.get(&board.name).copied();
            let holder = Holder {
                agent: on_card.agent.clone(),
                least: config.min_rollback.max(least.unwrap_or(0)),
            };
            Asking {
                server: server.to_string(),
                board: &board.name,
                outcome: within::begin(WHOLE, move || look(&config, &access, &url, board, &holder)),
            }
        })
        .collect()
}

impl Asking {
    /// What the server has, or that it has not said so in time.
    pub fn look(self) -> Look {
        let late = || {
            let seconds = WHOLE.as_secs();
            Err(Trouble::Away(format!(
                "reading from it was not done after {seconds} s"
            )))
        };
        Look {
            server: self.server,
            board: self.board,
            outcome: self.outcome.outcome().unwrap_or_else(late),
        }
    }
}

fn look(
    config: &Config,
    access: &Access,
    server: &ServerUrl,
    board: &Board,
    holder: &Holder,
) -> Result<Image, Trouble> {
    let options = Options {
        connections: 1,
        connect: CONNECT,
        answer: ANSWER.min(config.answer),
    };
    let share = Share::new(
        &[server.join(&board.name)],
        access,
        options,
        Arc::new(OnceMore),
    );
    let read = || {
        let manifest = share.read_file(GOLDEN, MAX_MANIFEST_BYTES as u64)?;
        let minisig = share.read_file(&signature_of(GOLDEN), MAX_SIGNATURE_BYTES as u64)?;
        Ok((manifest, String::from_utf8_lossy(&minisig).into_owned()))
    };
    let refused = |reason: String| Trouble::Refused(format!("{GOLDEN} is refused: {reason}"));
    let (bytes, key) = release::read_signed(&config.keys(), read, thread::sleep)
        .map_err(|error| trouble(&error))?
        .map_err(|error| refused(error.to_string()))?;
    let manifest = Manifest::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    holder.takes(&manifest, &board.name).map_err(refused)?;
    Ok(Image {
        flaw: ends(&share, &manifest).err().map(|flaw| flaw.to_string()),
        digest: manifest_sha256(&bytes),
        key: config.name_of(key),
        manifest: Box::new(manifest),
    })
}

/// What is wrong with the file of the chunks.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error(transparent)]
    Share(#[from] ShareError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Opens the file of the chunks, which must have its length, and reads its last byte and the first chunk that is not a hole.
fn ends(share: &Share, manifest: &Manifest) -> Result<(), Flaw> {
    let file = share.open(&manifest.stored_file, manifest.stored_size)?;
    if let Some(last) = manifest.stored_size.checked_sub(1) {
        file.read_exact_at(&mut [0], last)?;
    }
    let Some(first) = manifest.chunks.iter().find(|chunk| !chunk.hole) else {
        return Ok(());
    };
    let mut stored = vec![0; first.stored_length as usize];
    file.read_exact_at(&mut stored, first.stored_offset)?;
    let mut raw = vec![0; first.raw_length as usize];
    Ok(Decoder::new()?.decode(first, &stored, &mut raw)?)
}

fn trouble(error: &ShareError) -> Trouble {
    let text = error.to_string();
    match error {
        ShareError::Nfs(NfsError::NotFound { .. })
        | ShareError::Http(HttpError::NotFound { .. }) => Trouble::Missing(text),
        _ => Trouble::Away(text),
    }
}
