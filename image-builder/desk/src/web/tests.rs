//! What one address may ask. Real: the desk and its routes. There is no network: each request says itself where it comes from.

use std::fs;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use crate::folder::Folder;

const STRANGER: &str = "192.0.2.1:4000";
const OTHER: &str = "192.0.2.2:4000";
const OWN: &str = "127.0.0.1:4000";

fn desk(folder: &tempfile::TempDir) -> Router {
    for (name, byte) in [("report.key", "0b"), ("login", "0d")] {
        fs::write(folder.path().join(name), byte.repeat(32)).expect("written");
    }
    fs::create_dir_all(folder.path().join("groups")).expect("a folder");
    let group = r#"{"selector": {"mac": "d8:3a:dd:01:02:03"}, "metadata": {}}"#;
    fs::write(folder.path().join("groups/node-1.json"), group).expect("written");
    let desk = Desk::open(&Folder::new(folder.path())).expect("a desk");
    whole(&Arc::new(desk))
}

/// The answer to a request from this address.
async fn ask(router: &Router, from: &str, method: &str, path: &str, login: &str) -> Response {
    let from: SocketAddr = from.parse().expect("an address");
    let body = r#"{"mac": "d8:3a:dd:01:02:03", "open": true}"#;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {login}"))
        .extension(ConnectInfo(from))
        .body(Body::from(body))
        .expect("a request");
    router.clone().oneshot(request).await.expect("an answer")
}

fn again_after(response: &Response) -> u64 {
    let header = response.headers().get(header::RETRY_AFTER);
    let header = header.and_then(|value| value.to_str().ok());
    header.expect("Retry-After").parse().expect("seconds")
}

#[tokio::test]
async fn an_address_that_asks_without_end_is_put_off_and_nobody_else_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let router = desk(&folder);
    let mut refusal = None;
    // These requests take some milliseconds, in which the bucket gains a few more.
    for _ in 0..5000 {
        let answer = ask(&router, STRANGER, "GET", "/metadata?mac=x", "").await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refusal = Some(answer);
            break;
        }
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(again_after(&refusal.expect("a limit")), 1);
    for (method, path) in [
        ("POST", "/report"),
        ("POST", "/door"),
        ("GET", "/rack.json"),
    ] {
        for _ in 0..3 {
            ask(&router, STRANGER, method, path, "").await;
        }
        let answer = ask(&router, OTHER, method, path, "").await;
        assert_ne!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    for from in [STRANGER, OWN] {
        for _ in 0..1000 {
            let answer = ask(&router, from, "GET", "/page.css", "").await;
            assert_eq!(answer.status(), StatusCode::OK, "files cost little");
        }
    }
    for _ in 0..2000 {
        let answer = ask(&router, OWN, "GET", "/metadata?mac=x", "").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "its own machine");
    }
}

/// A rack behind one address: each of 500 boards asks who it is and reports, all at once.
#[tokio::test]
async fn a_rack_behind_one_address_is_not_put_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let router = desk(&folder);
    for _ in 0..500 {
        for (method, path) in [("GET", "/metadata?mac=x"), ("POST", "/report")] {
            let answer = ask(&router, STRANGER, method, path, "").await;
            assert_ne!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        }
    }
}

#[tokio::test]
async fn who_guesses_logins_waits_and_the_operator_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let router = desk(&folder);
    let right = "0d".repeat(32);
    // All requests that need the login count together.
    let places = [
        ("POST", "/door"),
        ("POST", "/orders"),
        ("DELETE", "/orders/20261228T101500Z-1a2b3c"),
        ("GET", "/audit"),
    ];
    for (guess, (method, path)) in places.into_iter().cycle().take(10).enumerate() {
        let answer = ask(&router, STRANGER, method, path, "0e").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{guess}");
    }
    for login in ["0e", &right] {
        for (method, path) in places {
            let answer = ask(&router, STRANGER, method, path, login).await;
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert!((5..=6).contains(&again_after(&answer)));
        }
    }
    for from in [OTHER, OWN] {
        let answer = ask(&router, from, "POST", "/door", &right).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{from}");
    }
    // A right login is never counted.
    for _ in 0..20 {
        let answer = ask(&router, OTHER, "POST", "/door", &right).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn an_address_watches_with_eight_pages_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let router = desk(&folder);
    let mut pages = Vec::new();
    for _ in 0..8 {
        let page = ask(&router, STRANGER, "GET", "/events", "").await;
        assert_eq!(page.status(), StatusCode::OK);
        pages.push(page);
    }
    let one_more = ask(&router, STRANGER, "GET", "/events", "").await;
    assert_eq!(one_more.status(), StatusCode::TOO_MANY_REQUESTS);
    let other = ask(&router, OTHER, "GET", "/events", "").await;
    assert_eq!(other.status(), StatusCode::OK);
    // Closing a page makes room for another one.
    pages.pop();
    loop {
        let next = ask(&router, STRANGER, "GET", "/events", "").await;
        if next.status() == StatusCode::OK {
            break;
        }
        tokio::task::yield_now().await;
    }
}
