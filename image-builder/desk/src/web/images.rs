//! The published images, as any web server gives files: with ranges and entity tags.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::spawn_blocking;
use tower_http::services::ServeFile;

use crate::published::Published;

/// `/images/<board>/...`.
pub fn router(folder: &Path) -> Router {
    Router::new()
        .route("/images/{*name}", get(image))
        .with_state(folder.to_path_buf())
}

async fn image(State(folder): State<PathBuf>, mut request: Request) -> Response {
    let Some(name) = name(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let opened = spawn_blocking(move || open(&folder, &name)).await;
    // For the client there is no difference between a file outside, something that is not a file, and something that cannot be read.
    let Ok(Ok((file, metadata))) = opened else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let etag = etag(&metadata);
    if !is_wanted(request.headers(), &etag) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    leave_range_out(request.headers_mut(), &etag);
    // Opened by its descriptor, so that this is the file that was checked, even if another one has its name by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let served = ServeFile::new(path).try_call(request).await;
    drop(file);
    let Ok(mut response) = served.map(IntoResponse::into_response) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// The path of a published file. A name that begins with a dot is that of an unfinished file or a lock. Names of published files need no
/// escapes, so an escape could only hide something.
fn name(path: &str) -> Option<PathBuf> {
    let name = path.strip_prefix("/images/")?;
    let is_published = !path.contains('%')
        && name
            .split('/')
            .all(|name| !name.is_empty() && !name.starts_with('.'));
    is_published.then(|| PathBuf::from(name))
}

fn open(folder: &Path, name: &Path) -> io::Result<(File, Metadata)> {
    let file = Published::open_folder(folder)?.open(name)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The version of a file. Another file with the same name has another version, even if it comes in the same second.
fn etag(metadata: &Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    format!(
        "\"{:x}-{:x}-{seconds:x}.{nanoseconds:x}\"",
        metadata.ino(),
        metadata.len()
    )
}

/// RFC 9110, section 13.1.1: whether the file is one of the versions that the request names.
fn is_wanted(headers: &HeaderMap, etag: &str) -> bool {
    let mut wanted = headers.get_all(header::IF_MATCH).iter().peekable();
    let is_any = wanted.peek().is_none();
    let mut tags = wanted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    is_any || tags.any(|tag| ["*", etag].contains(&tag.trim()))
}

/// Removes a range whose unit is unknown (RFC 9110, section 14.2) or that is of another version (13.1.5). Then the whole file is sent.
fn leave_range_out(headers: &mut HeaderMap, etag: &str) {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_same = text(header::IF_RANGE).is_none_or(|tag| tag == etag);
    // The service that answers knows units only in lower case.
    let range = text(header::RANGE).map(str::to_ascii_lowercase);
    let known = range.filter(|range| is_same && range.starts_with("bytes="));
    headers.remove(header::RANGE);
    if let Some(range) = known.and_then(|range| HeaderValue::try_from(range).ok()) {
        headers.insert(header::RANGE, range);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use nix::sys::stat::Mode;
    use tower::ServiceExt;

    use super::*;

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn share() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("images/rpi5")).expect("a folder");
        fs::write(folder.path().join("images/rpi5/a.json"), "golden").expect("a file");
        fs::write(folder.path().join("site.key"), "secret").expect("a file");
        folder
    }

    async fn ask(folder: &tempfile::TempDir, name: &str, headers: Headers<'_>) -> Response {
        let mut request = Request::builder().uri(format!("/images/{name}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = router(&folder.path().join("images")).oneshot(request);
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        answer.expect("no waiting").expect("an answer")
    }

    async fn body(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("a body");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    fn etag_of(response: &Response) -> String {
        let etag = response.headers().get("etag").expect("an ETag");
        etag.to_str().expect("text").to_owned()
    }

    #[tokio::test]
    async fn nothing_but_published_files_is_given() {
        let folder = share();
        let board = folder.path().join("images/rpi5");
        symlink("../../site.key", board.join("key")).expect("a link");
        symlink(folder.path(), board.join("all")).expect("a link");
        symlink("a.json", board.join("golden.json")).expect("a link");
        fs::write(board.join(".half"), "half").expect("a file");
        nix::unistd::mkfifo(&board.join("pipe"), Mode::S_IRWXU).expect("a pipe");
        for name in ["a.json", "golden.json"] {
            let answer = ask(&folder, &format!("rpi5/{name}"), &[]).await;
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            assert_eq!(body(answer).await, "golden");
        }
        for name in [
            "rpi5/key",
            "rpi5/all/site.key",
            "rpi5/.half",
            "rpi5/pipe",
            "rpi5/none",
            "rpi5/a.json/",
            "rpi5//a.json",
            "rpi5/../../site.key",
            "rpi5/%2e%2e/%2e%2e/site.key",
            "rpi5",
            "rpi5/",
        ] {
            let answer = ask(&folder, name, &[]).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[tokio::test]
    async fn a_version_of_a_file_has_its_tag_and_another_has_none_of_it() {
        let folder = share();
        let etag = etag_of(&ask(&folder, "rpi5/a.json", &[]).await);
        let range = ("range", "bytes=1-2");
        let part = ask(&folder, "rpi5/a.json", &[("if-match", &etag), range]).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            (etag_of(&part), body(part).await),
            (etag.clone(), "ol".to_owned())
        );
        // Another file of the same length, which takes the name in the same second.
        let board = folder.path().join("images/rpi5");
        fs::write(board.join("new"), "silver").expect("a file");
        fs::rename(board.join("new"), board.join("a.json")).expect("published");
        let list = format!("\"x\", {etag}");
        for tags in [&etag, &list] {
            let answer = ask(&folder, "rpi5/a.json", &[("if-match", tags), range]).await;
            assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
        }
        let whole = ask(&folder, "rpi5/a.json", &[("if-range", &etag), range]).await;
        assert_eq!(whole.status(), StatusCode::OK);
        let new = etag_of(&whole);
        assert_eq!(body(whole).await, "silver");
        for headers in [
            ("if-range", new.as_str()),
            ("if-match", "*"),
            ("if-match", &new),
        ] {
            let answer = ask(&folder, "rpi5/a.json", &[headers, range]).await;
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_range_in_a_unit_that_nobody_knows_is_ignored() {
        let folder = share();
        for range in ["lines=1-2", "x"] {
            let answer = ask(&folder, "rpi5/a.json", &[("range", range)]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{range}");
            assert_eq!(body(answer).await, "golden");
        }
        let answer = ask(&folder, "rpi5/a.json", &[("range", "Bytes=0-0")]).await;
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        let answer = ask(&folder, "rpi5/a.json", &[("range", "bytes=9-10")]).await;
        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    }
}
