//! The rack as JSON: once, and as it changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::fresh;
use super::limits::Limits;
use super::sent::{Message, Sent};
use crate::desk::{Desk, now};
use crate::metadata::Groups;
use crate::orders::OrderShown;

/// News of this long goes out together.
const TOGETHER: Duration = Duration::from_millis(250);
/// A page hears something at least this often: what has changed because time passed, or that nothing has. If it hears nothing for
/// much longer, the connection is lost.
const BEAT: Duration = Duration::from_secs(5);

/// `/rack.json`: all nodes.
pub async fn rack(State(desk): State<Arc<Desk>>) -> Response {
    let (groups, orders) = beside(&desk).await;
    let all = desk.look(|rack| {
        let mut sent = Sent::default();
        sent.see(orders, rack);
        sent.all(rack, &groups, now())
    });
    fresh("application/json", all.data)
}

/// `/events`: all nodes, and then each node as it changes, as server-sent events.
pub async fn events(
    State(desk): State<Arc<Desk>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Response {
    let place = match limits.page(from) {
        Ok(place) => place,
        Err(later) => return later.into_response(),
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
async fn watch(desk: &Arc<Desk>, page: &mpsc::Sender<Result<Event, Infallible>>) {
    // Before the whole, so that nothing falls between.
    let mut news = desk.news();
    let mut sent = Sent::default();
    let say = |message: Message| {
        let event = Event::default().event(message.event).data(message.data);
        page.send(Ok(event))
    };
    let (known, orders) = beside(desk).await;
    let all = desk.look(|rack| {
        sent.see(orders, rack);
        [Some(sent.all(rack, &known, now())), sent.orders()]
    });
    for message in all.into_iter().flatten() {
        if say(message).await.is_err() {
            return;
        }
    }
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Who lags behind has missed something, and gets everything again.
        let mut has_missed = false;
        let mut changed = BTreeSet::new();
        tokio::select! {
            first = news.recv() => {
                match first {
                    Ok(first) => changed.insert(first),
                    Err(RecvError::Lagged(_)) => { has_missed = true; false }
                    Err(RecvError::Closed) => return,
                };
                sleep(TOGETHER).await;
            }
            _ = beat.tick() => {}
            () = page.closed() => return,
        }
        loop {
            match news.try_recv() {
                Ok(next) => {
                    changed.insert(next);
                }
                Err(TryRecvError::Lagged(_)) => has_missed = true,
                Err(_) => break,
            }
        }
        let (known, orders) = beside(desk).await;
        let messages = desk.look(|rack| {
            sent.see(orders, rack);
            let nodes = if has_missed {
                sent.all(rack, &known, now())
            } else if changed.is_empty() {
                sent.by_time(rack, &known, now())
            } else {
                sent.some(rack, &changed, &known, now())
            };
            [Some(nodes), sent.orders()]
        });
        for message in messages.into_iter().flatten() {
            if say(message).await.is_err() {
                return;
            }
        }
    }
}

/// What is shown beside the rack: groups and orders, which are files.
async fn beside(desk: &Arc<Desk>) -> (Arc<Groups>, Vec<OrderShown>) {
    let desk = Arc::clone(desk);
    spawn_blocking(move || (desk.groups(), desk.shown_orders()))
        .await
        .unwrap_or_default()
}
