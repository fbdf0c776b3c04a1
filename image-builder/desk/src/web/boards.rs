//! What boards ask and report.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use gild_report::MAX_LENGTH;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{fresh, refused, shown};
use crate::desk::{Desk, ReportError};

/// How long a report may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// `/metadata?mac=`: who a node is.
pub async fn metadata(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    // The groups are files, so reading them may block.
    let answer = spawn_blocking(move || desk.metadata(&query, shown(&headers, from))).await;
    match answer {
        // Matchbox has always given this type, although it does not exist.
        Ok(Some(body)) => fresh("plain/text", body),
        Ok(None) => refused(StatusCode::NOT_FOUND, "404 page not found"),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `/report`: where a board is on its way.
pub async fn report(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match timeout(ARRIVAL, to_bytes(body, MAX_LENGTH)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let why = format!(
                "a report has at most {MAX_LENGTH} bytes, and this one did not arrive whole or is longer"
            );
            return refused(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        Err(_) => {
            return refused(
                StatusCode::REQUEST_TIMEOUT,
                "the report did not arrive in time",
            );
        }
    };
    // The journal is on a disk, so writing it may block.
    let taken = spawn_blocking(move || desk.report(&body, shown(&headers, from))).await;
    match taken {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => refused(status(&error), &error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

const fn status(error: &ReportError) -> StatusCode {
    use crate::rack::Refused;
    match error {
        ReportError::NotAReport(_) | ReportError::Refused(Refused::NoMac | Refused::NoBoot) => {
            StatusCode::BAD_REQUEST
        }
        ReportError::Signature => StatusCode::FORBIDDEN,
        // The desk has this report already, so the sender can stop repeating it.
        ReportError::Refused(Refused::Old) => StatusCode::OK,
        ReportError::Full | ReportError::Kept(_) => StatusCode::INSUFFICIENT_STORAGE,
    }
}
