//! The body of an operator's request: JSON that says what is wished.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::refused;

/// How long it may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Reads a body of at most this many bytes. `example` is a correct one for the error message.
pub async fn read<T: DeserializeOwned>(
    body: Body,
    longest: usize,
    example: &str,
) -> Result<T, Response> {
    let body = timeout(ARRIVAL, to_bytes(body, longest)).await;
    let Ok(Ok(body)) = body else {
        let why = format!(
            "a wish has at most {longest} bytes, and arrives within {} seconds",
            ARRIVAL.as_secs()
        );
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &why));
    };
    serde_json::from_slice(&body).map_err(|error| {
        let why = format!("this is not a wish: {error}; next: send {example}");
        refused(StatusCode::BAD_REQUEST, &why)
    })
}
