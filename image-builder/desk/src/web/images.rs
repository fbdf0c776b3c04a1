//! The published images, as any web server gives files: parts of them, and whether they are still the same.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

/// `/images/<board>/...`.
pub fn router(folder: &Path) -> Router {
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    Router::new()
        .nest_service("/images", files)
        .layer(from_fn(published_files_alone))
}

/// Files whose names begin with a dot are half written, or locks. Names of published files need no escapes, so that an escape can only
/// hide something.
async fn published_files_alone(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.contains('%') || path.split('/').any(|name| name.starts_with('.')) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut response = next.run(request).await;
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
