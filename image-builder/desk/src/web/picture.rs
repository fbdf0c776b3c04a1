//! The picture of the rack as bytes. It is made at most once a second and shared by all readers, so a reader costs no memory of its own.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio::sync::{Mutex, broadcast};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::sent::{Message, Sent};
use super::{fresh, metrics, tell};
use crate::desk::{Desk, now};
use crate::rack::Rack;

/// The whole picture is made at most once in this time.
const SHARED: Duration = Duration::from_secs(1);
/// A page may fall this many messages behind. Then it gets everything again.
const NEWS: usize = 4;
/// An answer goes out in parts of this many bytes, because what is being sent to a client is a copy.
const PART: usize = 16 << 10;

/// What all pages see.
pub struct Picture {
    desk: Arc<Desk>,
    latest: Mutex<Option<Whole>>,
    news: broadcast::Sender<Bytes>,
    told: AtomicU64,
    teller: Once,
}

/// The whole rack at one moment.
#[derive(Clone)]
pub struct Whole {
    at: Instant,
    version: u64,
    /// For `/rack.json`.
    pub json: Bytes,
    /// The same as server-sent events.
    pub events: Bytes,
    /// For `/metrics`.
    pub metrics: Bytes,
}

impl Picture {
    /// Of this desk.
    pub fn new(desk: &Arc<Desk>) -> Arc<Self> {
        Arc::new(Self {
            desk: Arc::clone(desk),
            latest: Mutex::default(),
            news: broadcast::channel(NEWS).0,
            told: AtomicU64::default(),
            teller: Once::new(),
        })
    }

    /// The whole picture, with everything that has happened before this call. If the last picture is not new enough, the caller waits until
    /// it is a second old. `None` if the picture cannot be made.
    pub async fn whole(&self) -> Option<Whole> {
        let wanted = self.version();
        let mut latest = self.latest.lock().await;
        if let Some(known) = &*latest
            && let Some(rest) = SHARED.checked_sub(known.at.elapsed())
        {
            if known.version >= wanted {
                return Some(known.clone());
            }
            sleep(rest).await;
        }
        let (desk, version) = (Arc::clone(&self.desk), self.version());
        let made = spawn_blocking(move || whole(&desk, version)).await.ok()?;
        *latest = Some(made.clone());
        Some(made)
    }

    /// What changes, from now on, as server-sent events.
    pub fn news(self: &Arc<Self>) -> broadcast::Receiver<Bytes> {
        let news = self.news.subscribe();
        self.teller.call_once(|| {
            let (desk, picture) = (Arc::clone(&self.desk), Arc::clone(self));
            tokio::spawn(async move { tell::changes(&desk, &picture).await });
        });
        news
    }

    /// Whether any page is open.
    pub fn is_watched(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Tells all pages.
    pub fn tell(&self, events: Bytes) {
        // Counted before the message is sent: a page that asks for the whole picture after the message must get one that includes it.
        self.told.fetch_add(1, Ordering::Relaxed);
        // This fails if the last page was closed.
        let _ = self.news.send(events);
    }

    /// A number that grows with each change, and with each message to the pages.
    fn version(&self) -> u64 {
        self.desk.changes() + self.told.load(Ordering::Relaxed)
    }
}

fn whole(desk: &Desk, version: u64) -> Whole {
    let (groups, orders) = (desk.groups(), desk.shown_orders());
    let rack = desk.look(Rack::clone);
    let mut sent = Sent::default();
    sent.see(orders, &rack);
    let all = sent.all(&rack, &groups, now());
    let head = format!("event: {}\ndata: ", all.event).len();
    let json = head..head + all.data.len();
    let events = events([Some(all), sent.orders()]);
    Whole {
        at: Instant::now(),
        version,
        json: events.slice(json),
        events,
        metrics: metrics::text(&rack, &groups, now()).into(),
    }
}

/// Messages as server-sent events. JSON has no line breaks.
pub fn events(messages: impl IntoIterator<Item = Option<Message>>) -> Bytes {
    let mut events = String::new();
    for Message { event, data } in messages.into_iter().flatten() {
        for part in ["event: ", event, "\ndata: ", &data, "\n\n"] {
            events.push_str(part);
        }
    }
    events.into()
}

/// The bytes in parts, which share them.
pub fn parts(mut bytes: Bytes) -> impl Iterator<Item = Result<Bytes, Infallible>> + Send {
    std::iter::from_fn(move || {
        let part = bytes.split_to(bytes.len().min(PART));
        (!part.is_empty()).then_some(Ok(part))
    })
}

/// An answer that shares its bytes with others.
pub fn answer(content_type: &'static str, bytes: Bytes) -> Response {
    let length = HeaderValue::from(bytes.len());
    let body = Body::from_stream(tokio_stream::iter(parts(bytes)));
    let mut response = fresh(content_type, body);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}
