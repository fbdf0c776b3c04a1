//! The desk over HTTP. With TLS it serves identities, reports and the page. Without TLS it serves only images, because they are signed.

mod boards;
mod connections;
mod door;
mod events;
mod images;
mod limits;
mod metrics;
mod only_tls;
mod orders;
mod page;
mod picture;
mod sent;
mod tell;
mod wish;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gild_report::{PROOF_HEADER, SIGNATURE_HEADER};

use crate::desk::{Desk, Shown};
use limits::Limits;
use picture::Picture;

pub use connections::{BUFFER, Guard};
pub use only_tls::OnlyTls;

/// How long a client may take for the head of its request.
pub const HEAD: Duration = Duration::from_secs(10);

/// What all handlers share.
#[derive(Clone)]
struct Web {
    desk: Arc<Desk>,
    limits: Arc<Limits>,
    picture: Arc<Picture>,
}

impl FromRef<Web> for Arc<Desk> {
    fn from_ref(web: &Web) -> Self {
        Self::clone(&web.desk)
    }
}

impl FromRef<Web> for Arc<Limits> {
    fn from_ref(web: &Web) -> Self {
        Self::clone(&web.limits)
    }
}

impl FromRef<Web> for Arc<Picture> {
    fn from_ref(web: &Web) -> Self {
        Self::clone(&web.picture)
    }
}

/// What is served with TLS.
pub fn whole(desk: &Arc<Desk>) -> Router {
    let web = Web {
        desk: Arc::clone(desk),
        limits: Arc::default(),
        picture: Picture::new(desk),
    };
    // Only these routes are limited. Files of the page and of images are not: they cost little, and a flash makes many requests.
    Router::new()
        .route("/metadata", get(boards::metadata))
        .route("/report", post(boards::report))
        .route("/rack.json", get(events::rack))
        .route("/events", get(events::events))
        .route("/metrics", get(events::metrics))
        .route("/door", post(door::door))
        .route("/orders", post(orders::queue))
        .route(
            "/orders/{name}",
            get(orders::order).delete(orders::take_back),
        )
        .route("/audit", get(orders::audit))
        .route_layer(from_fn_with_state(web.clone(), limits::requests))
        .merge(page::router())
        .with_state(web)
        .merge(images(desk))
}

/// What is served without TLS too.
pub fn images(desk: &Arc<Desk>) -> Router {
    images::router(&desk.folder().images())
}

/// What a request carries that shows who sent it.
fn shown(headers: &HeaderMap, from: SocketAddr) -> Shown<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Shown {
        signature: text(SIGNATURE_HEADER),
        proof: text(PROOF_HEADER),
        from: Some(from.ip().to_canonical()),
    }
}

/// An answer of this type that no cache keeps, and that no other site can show inside its own page.
fn fresh(content_type: &'static str, body: impl IntoResponse) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ),
        ),
    ];
    (headers, body).into_response()
}

/// An error in words that make sense on a console.
fn refused(status: StatusCode, why: &str) -> Response {
    (
        status,
        fresh("text/plain; charset=utf-8", format!("{why}\n")),
    )
        .into_response()
}
