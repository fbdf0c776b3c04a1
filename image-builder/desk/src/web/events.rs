//! The rack as JSON: once, and as it changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use gild_boards::mac::Mac;
use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

use super::{fresh, refused};
use crate::desk::{Desk, now};
use crate::view::{Shown, count};

/// News of this long goes out together.
const TOGETHER: Duration = Duration::from_millis(250);
/// So many pages are kept up to date at once.
const PAGES: usize = 64;

static FREE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PAGES)));

/// `/rack.json`: all nodes.
pub async fn rack(State(desk): State<Arc<Desk>>) -> Response {
    fresh("application/json", whole(&desk))
}

/// `/events`: all nodes, and then each node as it changes, as server-sent events.
pub async fn events(State(desk): State<Arc<Desk>>) -> Response {
    let Ok(place) = Arc::clone(&FREE).try_acquire_owned() else {
        return refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages watch the desk already",
        );
    };
    let (send, receive) = mpsc::channel::<Result<Event, Infallible>>(8);
    tokio::spawn(async move {
        watch(&desk, &send).await;
        drop(place);
    });
    let stream = Sse::new(ReceiverStream::new(receive)).keep_alive(KeepAlive::default());
    let mut response = stream.into_response();
    let no_store = axum::http::HeaderValue::from_static("no-store");
    let headers = response.headers_mut();
    headers.insert(axum::http::header::CACHE_CONTROL, no_store);
    response
}

/// Sends what changes until the page is closed.
async fn watch(desk: &Desk, page: &mpsc::Sender<Result<Event, Infallible>>) {
    // Before the whole, so that nothing falls between.
    let mut news = desk.news();
    let say = |name: &str, data: String| page.send(Ok(Event::default().event(name).data(data)));
    if say("rack", whole(desk)).await.is_err() {
        return;
    }
    loop {
        let first = tokio::select! {
            first = news.recv() => first,
            () = page.closed() => return,
        };
        sleep(TOGETHER).await;
        // Who lags behind has missed something, and gets everything again.
        let mut has_missed = first.is_err();
        let mut changed = BTreeSet::from_iter(first);
        loop {
            match news.try_recv() {
                Ok(next) => {
                    changed.insert(next);
                }
                Err(TryRecvError::Lagged(_)) => has_missed = true,
                Err(_) => break,
            }
        }
        let sent = if has_missed {
            say("rack", whole(desk)).await
        } else {
            say("nodes", some(desk, &changed)).await
        };
        if sent.is_err() {
            return;
        }
    }
}

fn whole(desk: &Desk) -> String {
    let now = now();
    desk.look(|rack| {
        let nodes: Vec<_> = rack.nodes().map(|node| Shown::of(node, now)).collect();
        let counts: serde_json::Map<_, _> = count(rack, now)
            .into_iter()
            .map(|(state, number)| (state.name().to_owned(), number.into()))
            .collect();
        json!({"now": now, "counts": counts, "nodes": nodes}).to_string()
    })
}

fn some(desk: &Desk, macs: &BTreeSet<Mac>) -> String {
    let now = now();
    desk.look(|rack| {
        let known = macs.iter().filter_map(|mac| rack.node(*mac));
        let nodes: Vec<_> = known.map(|node| Shown::of(node, now)).collect();
        json!({"now": now, "nodes": nodes}).to_string()
    })
}
