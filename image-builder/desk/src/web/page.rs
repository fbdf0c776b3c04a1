//! The page of the rack. It lies in the program.

use axum::response::Response;

use super::fresh;

/// The page.
pub async fn page() -> Response {
    fresh(
        "text/html; charset=utf-8",
        include_str!("../../page/page.html"),
    )
}

/// How it looks.
pub async fn style() -> Response {
    fresh(
        "text/css; charset=utf-8",
        include_str!("../../page/page.css"),
    )
}

/// What it does.
pub async fn script() -> Response {
    fresh(
        "text/javascript; charset=utf-8",
        include_str!("../../page/page.js"),
    )
}
