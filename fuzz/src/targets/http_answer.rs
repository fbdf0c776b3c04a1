//! Status and headers of a web server's answer to a request for a part of an open file: what is accepted lies in that part.

use gild_http::answers::{At, Opened, StatusCode, Version, comes, headers, opened};

/// Says what holds of this input.
pub fn check_input(input: &[u8]) {
    let [status, a, b, text @ ..] = input else {
        return;
    };
    let at = At {
        doing: "reading",
        url: String::new(),
    };
    let status = match status % 4 {
        0 => StatusCode::OK,
        1 => StatusCode::PARTIAL_CONTENT,
        2 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FOUND,
    };
    let headers = headers(text);
    if let Ok(opened) = opened(status, &headers, &at) {
        assert!(opened.size > 0);
    }
    let opened = Opened {
        size: 200,
        version: Version::of(&headers),
    };
    let wanted = u64::from(*a.min(b))..u64::from(*a.max(b)) + 1;
    if let Ok(length) = comes(status, &headers, &at, &opened, &wanted) {
        assert!(length > 0 && length <= wanted.end - wanted.start);
    }
}
