//! The operator's hand on the door.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gild_boards::mac::Mac;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::refused;
use crate::desk::Desk;

/// What the operator wants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    mac: String,
    open: bool,
}

/// `/door`: opens or closes the door of a node.
pub async fn door(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Json(wish): Json<Wish>,
) -> Response {
    if !is_operator(&desk, &headers) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "this is for the operator; next: send `Authorization: Bearer` and what the file `login` in the desk's folder has",
        );
    }
    let Some(mac) = Mac::parse(&wish.mac) else {
        return refused(StatusCode::BAD_REQUEST, "`mac` is not a MAC address");
    };
    match spawn_blocking(move || desk.decide(mac, wish.open)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => refused(
            StatusCode::INSUFFICIENT_STORAGE,
            &format!("the desk cannot keep it: {error}"),
        ),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn is_operator(desk: &Desk, headers: &HeaderMap) -> bool {
    let header = headers.get(header::AUTHORIZATION);
    let shown = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    shown.is_some_and(|shown| desk.is_operator(shown))
}
