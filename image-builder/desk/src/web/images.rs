//! The published images, as any web server gives files: parts of them, and whether they are still the same.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

/// `/images/<board>/...`.
pub fn router(folder: &Path) -> Router {
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    Router::new()
        .nest_service("/images", files)
        .layer(from_fn(without_hidden))
}

/// Files whose names begin with a dot are half written, or locks.
async fn without_hidden(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_hidden =
        |name: &str| name.starts_with('.') || name.to_ascii_lowercase().starts_with("%2e");
    if path.split('/').any(is_hidden) {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}
