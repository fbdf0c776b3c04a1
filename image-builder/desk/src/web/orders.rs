//! Orders over HTTP: boards fetch signed orders, and the operator queues drafts and takes orders back.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use gild_boards::mac::Mac;
use gild_orders::{MAX_LENGTH, OrderId};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::door::refuses;
use super::limits::Limits;
use super::{fresh, refused, wish};
use crate::desk::{Desk, OrderingError};
use crate::orders::{QueueError, Wish};
use crate::rack::Rack;

const EXAMPLE: &str = r#"{"action": "hold", "nodes": ["d8:3a:dd:01:02:03"]}"#;
const JSON: &str = "application/json";

/// `GET /orders/<twelve digits>`: the signed order for the node with this MAC address. Any other name is not found.
pub async fn order(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Response {
    let none = || refused(StatusCode::NOT_FOUND, "there is no order for this board");
    let Some(mac) = Mac::parse(&name).filter(|mac| mac.digits() == name) else {
        return none();
    };
    // The orders are files, and the journal is on a disk. Both may block.
    match spawn_blocking(move || desk.order_for(mac)).await {
        Ok(Ok(Some(text))) => fresh(JSON, text),
        Ok(Ok(None)) => none(),
        // A board that hears of no order may write its disk with another image. After this answer it asks again.
        Ok(Err(error)) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `POST /orders`: queues a draft. It becomes an order when it is signed.
pub async fn queue(
    State(desk): State<Arc<Desk>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refusal) = refuses(&desk, &limits, from, &headers) {
        return refusal;
    }
    let wish: Wish = match wish::read(body, MAX_LENGTH, EXAMPLE).await {
        Ok(wish) => wish,
        Err(refusal) => return refusal,
    };
    match spawn_blocking(move || desk.queue(&wish, from.ip())).await {
        Ok(Ok(order)) => {
            let body = json!({"id": order.id.as_str(), "expires": order.expires}).to_string();
            (StatusCode::CREATED, fresh(JSON, body)).into_response()
        }
        Ok(Err(error)) => refused(status(&error), &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `DELETE /orders/<id>`: takes an order back.
pub async fn take_back(
    State(desk): State<Arc<Desk>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refuses(&desk, &limits, from, &headers) {
        return refusal;
    }
    let Some(id) = OrderId::parse(&name) else {
        return refused(StatusCode::NOT_FOUND, "this is not the id of an order");
    };
    match spawn_blocking(move || desk.take_back(&id, from.ip())).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => refused(status(&error), &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `GET /audit`: what was done with the login. It needs the login itself.
pub async fn audit(
    State(desk): State<Arc<Desk>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refuses(&desk, &limits, from, &headers) {
        return refusal;
    }
    // A thread that writes the journal holds the lock of the rack, so this may block.
    let acts = spawn_blocking(move || desk.look(Rack::clone)).await;
    match acts {
        Ok(rack) => fresh(JSON, json!({"acts": rack.audit().acts()}).to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

const fn status(error: &OrderingError) -> StatusCode {
    match error {
        OrderingError::Queue(QueueError::Wish(_) | QueueError::NotOffered(_)) => {
            StatusCode::BAD_REQUEST
        }
        OrderingError::Queue(QueueError::Full | QueueError::Clock(_)) => StatusCode::CONFLICT,
        OrderingError::Unknown(_) => StatusCode::NOT_FOUND,
        OrderingError::Queue(QueueError::Shelf(_))
        | OrderingError::Shelf(_)
        | OrderingError::Noted(_) => StatusCode::INSUFFICIENT_STORAGE,
    }
}
