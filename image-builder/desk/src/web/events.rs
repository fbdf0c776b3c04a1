//! The rack as JSON: once, or again with each change.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::limits::Limits;
use super::picture::{Picture, answer, parts};
use super::{fresh, refused};

/// `/rack.json`: all nodes.
pub async fn rack(State(picture): State<Arc<Picture>>) -> Response {
    picture
        .whole()
        .await
        .map_or_else(none, |whole| answer("application/json", whole.json))
}

/// `/metrics`: the same for Prometheus.
pub async fn metrics(State(picture): State<Arc<Picture>>) -> Response {
    picture.whole().await.map_or_else(none, |whole| {
        answer("text/plain; version=0.0.4; charset=utf-8", whole.metrics)
    })
}

fn none() -> Response {
    let why = "the picture of the rack cannot be made";
    refused(StatusCode::INTERNAL_SERVER_ERROR, why)
}

/// `/events`: all nodes, and then each node as it changes, as server-sent events.
pub async fn events(
    State(picture): State<Arc<Picture>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Response {
    let place = match limits.page(from) {
        Ok(place) => place,
        Err(later) => return later.into_response(),
    };
    // Only one part waits for each connection. The rest is shared by all.
    let (send, receive) = mpsc::channel(1);
    let news = picture.news();
    tokio::spawn(async move {
        watch(&picture, news, &send).await;
        drop(place);
    });
    let body = Body::from_stream(ReceiverStream::new(receive));
    fresh("text/event-stream", body)
}

/// Sends what changes until the page is closed.
async fn watch(
    picture: &Picture,
    mut news: Receiver<Bytes>,
    page: &mpsc::Sender<Result<Bytes, Infallible>>,
) {
    let mut next = None;
    loop {
        let bytes = match next.take() {
            Some(news) => news,
            // The page has just opened, or it has fallen behind and missed something. Either way it gets everything.
            None => match picture.whole().await {
                Some(whole) => whole.events,
                None => return,
            },
        };
        for part in parts(bytes) {
            if page.send(part).await.is_err() {
                return;
            }
        }
        tokio::select! {
            news = news.recv() => match news {
                Ok(news) => next = Some(news),
                Err(RecvError::Lagged(_)) => (),
                Err(RecvError::Closed) => return,
            },
            () = page.closed() => return,
        }
    }
}
