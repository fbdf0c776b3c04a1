//! One node: reads as the agent does, and says how long it took.

use std::io::stdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use gild_card_format::ServerUrl;
use gild_http::Access;
use gild_share::Share;
use gild_source::{Backoff, Options, Patience, Source, Trouble};
use serde::{Deserialize, Serialize};

/// The file that all nodes read.
pub const IMAGE: &str = "image.img.zst";
/// Its length.
pub const SIZE: u64 = 1 << 30;
/// The average length of a stored chunk of a golden image.
const PART: u64 = 1 << 20;

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// When it began, in seconds since 1970.
    pub began: f64,
    /// From then to the last byte.
    pub seconds: f64,
    pub bytes: u64,
    /// How often a request had to be made again.
    pub repeated: u32,
}

#[derive(Default)]
struct Counting(AtomicU32);

impl Patience for Counting {
    fn wait(&self, attempt: u32, trouble: &dyn Trouble) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        eprintln!("{trouble}");
        Backoff::attempts(20)
            .at_most(Duration::from_secs(5))
            .wait(attempt, trouble)
    }
}

/// Waits for a line, then reads this many bytes.
pub fn run(url: &str, bytes: u64) -> Result<()> {
    let url = ServerUrl::parse(url).map_err(|reason| anyhow!(reason))?;
    let patience = Arc::new(Counting::default());
    let options = Options::default();
    let share = Share::new(
        &[url],
        &Access::new(None, None)?,
        options,
        Arc::clone(&patience) as _,
    );
    stdin().read_line(&mut String::new())?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let start = Instant::now();
    let image = share.open(IMAGE, SIZE)?;
    let next = AtomicU64::new(0);
    let worker = || -> Result<()> {
        let mut part = vec![0; usize::try_from(PART)?];
        loop {
            let offset = next.fetch_add(PART, Ordering::Relaxed);
            if offset >= bytes {
                return Ok(());
            }
            image.read_exact_at(&mut part, offset % image.size())?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.connections)
            .map(|_| scope.spawn(worker))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })
    .context("reading")?;
    let outcome = Outcome {
        began,
        seconds: start.elapsed().as_secs_f64(),
        bytes: share.stats().bytes_read,
        repeated: patience.0.load(Ordering::Relaxed),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
