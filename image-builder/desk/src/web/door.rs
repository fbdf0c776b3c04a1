//! The request with which the operator opens or closes a door.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gild_boards::mac::Mac;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::limits::Limits;
use super::{refused, wish};
use crate::desk::Desk;

/// How long a request may be, bytes.
const LONGEST: usize = 1024;
const EXAMPLE: &str = r#"{"mac": "d8:3a:dd:01:02:03", "open": true}"#;

/// What the operator wants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    mac: String,
    open: bool,
}

/// `/door`: opens or closes the door of a node.
pub async fn door(
    State(desk): State<Arc<Desk>>,
    State(limits): State<Arc<Limits>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refusal) = refuses(&desk, &limits, from, &headers) {
        return refusal;
    }
    let wish: Wish = match wish::read(body, LONGEST, EXAMPLE).await {
        Ok(wish) => wish,
        Err(refusal) => return refusal,
    };
    let (Some(mac), open) = (Mac::parse(&wish.mac), wish.open) else {
        let why = format!("`mac` is not a MAC address; next: send {EXAMPLE}");
        return refused(StatusCode::BAD_REQUEST, &why);
    };
    let decide = move || {
        // The desk would keep a mistyped address as a board.
        if !desk.knows(mac) {
            return Ok(Err(nobody(mac, &desk)));
        }
        let word = if open { "opens" } else { "closes" };
        desk.note_act(from.ip(), &format!("{word} the door for {mac}"))?;
        desk.decide(mac, open).map(Ok)
    };
    match spawn_blocking(decide).await {
        Ok(Ok(Ok(()))) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Err(nobody))) => refused(StatusCode::NOT_FOUND, &nobody),
        Ok(Err(error)) => refused(
            StatusCode::INSUFFICIENT_STORAGE,
            &format!("the desk cannot keep it: {error}"),
        ),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// What to do about an address that no board has.
fn nobody(mac: Mac, desk: &Desk) -> String {
    format!(
        "no group says who {mac} is, and no board has reported with this address; next: gild node add {} --mac {mac} --name ... first, or \
         correct the MAC",
        desk.folder().path().display()
    )
}

/// The answer to a request without the operator's login, or from an address that has shown too many wrong ones.
pub(super) fn refuses(
    desk: &Desk,
    limits: &Limits,
    from: SocketAddr,
    headers: &HeaderMap,
) -> Option<Response> {
    if let Err(later) = limits.may_log_in(from) {
        return Some(later.into_response());
    }
    if is_operator(desk, headers) {
        return None;
    }
    limits.wrong_login(from);
    Some(refused(
        StatusCode::UNAUTHORIZED,
        "this is for the operator; next: send `Authorization: Bearer` and what the file `login` in the desk's folder has",
    ))
}

/// Whether a request has the login.
fn is_operator(desk: &Desk, headers: &HeaderMap) -> bool {
    let header = headers.get(header::AUTHORIZATION);
    let shown = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    shown.is_some_and(|shown| desk.is_operator(shown))
}
