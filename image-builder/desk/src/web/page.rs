//! The page of the rack. Its files are compiled into the program.

use axum::Router;
use axum::routing::get;

use super::{Web, fresh};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where each file is, its type, and what it holds.
const FILES: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("../../page/page.html")),
    ("/page.css", CSS, include_str!("../../page/page.css")),
    ("/icon.svg", SVG, include_str!("../../page/icon.svg")),
    ("/page.js", JAVASCRIPT, include_str!("../../page/page.js")),
    ("/board.js", JAVASCRIPT, include_str!("../../page/board.js")),
    (
        "/connection.js",
        JAVASCRIPT,
        include_str!("../../page/connection.js"),
    ),
    ("/dom.js", JAVASCRIPT, include_str!("../../page/dom.js")),
    ("/door.js", JAVASCRIPT, include_str!("../../page/door.js")),
    ("/led.js", JAVASCRIPT, include_str!("../../page/led.js")),
    ("/login.js", JAVASCRIPT, include_str!("../../page/login.js")),
    (
        "/orders.js",
        JAVASCRIPT,
        include_str!("../../page/orders.js"),
    ),
    ("/units.js", JAVASCRIPT, include_str!("../../page/units.js")),
    ("/words.js", JAVASCRIPT, include_str!("../../page/words.js")),
];

/// Its files.
pub fn router() -> Router<Web> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(move || async move { fresh(kind, text) }))
        })
}
