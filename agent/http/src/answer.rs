//! What an answer means: status and headers in, a verdict out. No I/O.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use gild_source::LONGEST_ASKED;
use httpdate::parse_http_date;
use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    LAST_MODIFIED, RETRY_AFTER,
};

use crate::{At, HttpError};

/// What distinguishes one version of a file from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The entity tag, with its quotes.
    pub etag: Option<String>,
    modified: Option<String>,
}

impl Version {
    /// As the headers have it.
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: text(headers, ETAG).map(str::to_owned),
            modified: text(headers, LAST_MODIFIED).map(str::to_owned),
        }
    }

    /// The tag, if it may be compared byte by byte (RFC 9110, section 8.8.1).
    #[must_use]
    pub fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"'))
    }

    /// What is different in another answer. Where a tag is in both, the time does not matter: caches keep other times.
    fn difference(&self, other: &Self) -> Option<String> {
        if let (Some(tag), None) = (self.strong(), &other.etag) {
            return Some(format!("its ETag was {tag} and is gone"));
        }
        let differs = |name, ours: &Option<String>, theirs: &Option<String>| {
            let (ours, theirs) = (ours.as_deref()?, theirs.as_deref()?);
            Some((ours != theirs).then(|| format!("its {name} was {ours} and now is {theirs}")))
        };
        differs("ETag", &self.etag, &other.etag)
            .or_else(|| differs("time", &self.modified, &other.modified))
            .flatten()
    }
}

/// An open file, as the server showed it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its length in bytes.
    pub size: u64,
    /// Which version it is.
    pub version: Version,
}

/// Judges every answer except a redirect and a part.
fn check(status: StatusCode, headers: &HeaderMap, at: &At) -> Result<(), HttpError> {
    let at = || at.clone();
    let number = status.as_u16();
    match number {
        200 | 206 => (),
        401 | 403 | 407 => {
            return Err(HttpError::Denied {
                at: at(),
                status: number,
            });
        }
        404 | 410 => {
            return Err(HttpError::NotFound {
                at: at(),
                status: number,
            });
        }
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            return Err(HttpError::Busy {
                at: at(),
                status: number,
                least: retry_after(headers),
            });
        }
        412 | 416 => {
            return Err(HttpError::Changed {
                at: at(),
                change: format!("the server answers {number}"),
            });
        }
        _ => {
            return Err(HttpError::Status {
                at: at(),
                status: number,
            });
        }
    }
    let odd = |reason| Err(HttpError::Odd { at: at(), reason });
    if let Some(encoding) = text(headers, CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return odd(format!(
            "the server sends it packed ({encoding}), which was not asked for"
        ));
    }
    let is_page = |kind: &str| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("text/html")
    };
    if text(headers, CONTENT_TYPE).is_some_and(is_page) {
        return odd(
            "a web page came instead of the file: it may be a login page or that of a proxy; next: open the address in a browser, then correct it or what is in between"
                .to_owned(),
        );
    }
    Ok(())
}

/// Judges the answer to a question about a whole file.
pub fn whole(status: StatusCode, headers: &HeaderMap, at: &At) -> Result<(), HttpError> {
    check(status, headers, at)?;
    if status == StatusCode::OK {
        return Ok(());
    }
    Err(HttpError::Odd {
        at: at.clone(),
        reason: "a part came where the whole file was asked for".to_owned(),
    })
}

/// Judges the answer to the first question about a file, which asked for its first byte.
pub fn opened(status: StatusCode, headers: &HeaderMap, at: &At) -> Result<Opened, HttpError> {
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(HttpError::Odd {
            at: at.clone(),
            reason: "it is empty; next: publish it again".to_owned(),
        });
    }
    check(status, headers, at)?;
    let (range, size) = part(status, headers, at)?;
    if range != (0..1) {
        return Err(other_range(at, &(0..1), &range));
    }
    Ok(Opened {
        size,
        version: Version::of(headers),
    })
}

/// Judges a part of an open file, and gives how much of it comes: never more than was asked for.
pub fn comes(
    status: StatusCode,
    headers: &HeaderMap,
    at: &At,
    opened: &Opened,
    wanted: &Range<u64>,
) -> Result<u64, HttpError> {
    check(status, headers, at)?;
    let (range, size) = part(status, headers, at)?;
    let changed = |change| {
        Err(HttpError::Changed {
            at: at.clone(),
            change,
        })
    };
    if size != opened.size {
        return changed(format!("it had {} bytes and now has {size}", opened.size));
    }
    if let Some(change) = opened.version.difference(&Version::of(headers)) {
        return changed(change);
    }
    if range.start != wanted.start || range.end > wanted.end {
        return Err(other_range(at, wanted, &range));
    }
    Ok(range.end - range.start)
}

fn other_range(at: &At, wanted: &Range<u64>, range: &Range<u64>) -> HttpError {
    HttpError::Odd {
        at: at.clone(),
        reason: format!("bytes {range:?} came where bytes {wanted:?} were asked for"),
    }
}

/// The bytes of a partial answer, and the length of the whole file.
fn part(status: StatusCode, headers: &HeaderMap, at: &At) -> Result<(Range<u64>, u64), HttpError> {
    if status == StatusCode::OK {
        return Err(HttpError::NoRanges { at: at.clone() });
    }
    text(headers, CONTENT_RANGE)
        .and_then(content_range)
        .ok_or_else(|| HttpError::Odd {
            at: at.clone(),
            reason: "the server does not say which part it sends (Content-Range)".to_owned(),
        })
}

/// RFC 9110, section 14.4: `bytes 0-499/1234`.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (unit, rest) = text.split_once(' ')?;
    let (range, size) = rest.split_once('/')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let size = size.trim().parse().ok()?;
    let end = last.checked_add(1)?;
    (first < end && end <= size).then_some((first..end, size))
}

/// RFC 9110, section 10.2.3: seconds, or a time by the server's own clock. Whatever it says, it is a short time.
fn retry_after(headers: &HeaderMap) -> Duration {
    let Some(wait) = text(headers, RETRY_AFTER) else {
        return Duration::ZERO;
    };
    let wait = match wait.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse_http_date(wait).ok().and_then(|then| {
            let now = text(headers, DATE).and_then(|now| parse_http_date(now).ok());
            then.duration_since(now.unwrap_or_else(SystemTime::now))
                .ok()
        }),
    };
    wait.unwrap_or_default().min(LONGEST_ASKED)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    fn at() -> At {
        At {
            doing: "reading",
            url: "https://a/b".to_owned(),
        }
    }

    fn judged(status: u16, lines: &[(&'static str, &str)]) -> Result<u64, HttpError> {
        let opened = Opened {
            size: 1000,
            version: Version::of(&headers(&[("etag", "\"one\""), ("last-modified", "x")])),
        };
        let status = StatusCode::from_u16(status).expect("a status");
        comes(status, &headers(lines), &at(), &opened, &(100..200))
    }

    #[test]
    fn the_part_that_was_asked_for_or_its_beginning_is_taken() {
        for (range, length) in [
            ("bytes 100-199/1000", 100),
            ("bytes 100-149/1000", 50),
            ("Bytes 100-149/1000", 50),
        ] {
            let length_of = judged(206, &[("content-range", range), ("etag", "\"one\"")]);
            assert_eq!(length_of.expect(range), length);
        }
        let other_time = [
            ("content-range", "bytes 100-199/1000"),
            ("etag", "\"one\""),
            ("last-modified", "y"),
        ];
        assert_eq!(judged(206, &other_time).expect("the same tag"), 100);
    }

    #[test]
    fn another_part_is_refused() {
        for range in [
            "bytes 0-99/1000",
            "bytes 101-199/1000",
            "bytes 100-200/1000",
            "bytes 199-100/1000",
            "bytes 100-199/*",
            "bytes */1000",
            "bytes 100-18446744073709551615/1000",
            "lines 100-199/1000",
            "bytes 100-1000/1000",
            "",
        ] {
            let lines = [("content-range", range), ("etag", "\"one\"")];
            let error = judged(206, &lines).expect_err(range);
            assert!(matches!(error, HttpError::Odd { .. }), "{range}: {error}");
        }
        let error = judged(206, &[]).expect_err("no range");
        assert!(error.to_string().contains("Content-Range"), "{error}");
        assert!(matches!(judged(200, &[]), Err(HttpError::NoRanges { .. })));
    }

    #[test]
    fn another_version_is_a_change() {
        for lines in [
            [("content-range", "bytes 100-199/1001"), ("etag", "\"one\"")],
            [("content-range", "bytes 100-199/1000"), ("etag", "\"two\"")],
            [
                ("content-range", "bytes 100-199/1000"),
                ("etag", "W/\"one\""),
            ],
            [
                ("content-range", "bytes 100-199/1000"),
                ("last-modified", "x"),
            ],
        ] {
            let error = judged(206, &lines).expect_err("another version");
            assert!(
                matches!(error, HttpError::Changed { .. }),
                "{lines:?}: {error}"
            );
        }
        for status in [412, 416] {
            let error = judged(status, &[]).expect_err("another version");
            assert!(matches!(error, HttpError::Changed { .. }), "{error}");
        }
    }

    #[test]
    fn a_page_for_people_and_a_packed_file_are_refused() {
        for line in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-encoding", "gzip"),
        ] {
            for status in [200, 206] {
                let error = judged(status, &[line]).expect_err("not the file");
                assert!(matches!(error, HttpError::Odd { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_server_s_wish_to_be_left_alone_is_understood() {
        let least = |lines: &[(&'static str, &str)]| match judged(503, lines) {
            Err(HttpError::Busy { least, .. }) => least.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(least(&[]), 0);
        assert_eq!(least(&[("retry-after", "17")]), 17);
        for long in [u64::MAX.to_string(), "999999".to_owned()] {
            assert_eq!(least(&[("retry-after", &long)]), LONGEST_ASKED.as_secs());
        }
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(
            least(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date]),
            30
        );
        assert_eq!(
            least(&[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT"), date]),
            0
        );
        assert_eq!(least(&[("retry-after", "soon")]), 0);
    }

    #[test]
    fn only_a_strong_tag_is_asked_for() {
        let of = |tag| Version::of(&headers(&[("etag", tag)]));
        assert_eq!(of("\"a\"").strong(), Some("\"a\""));
        assert_eq!(of("W/\"a\"").strong(), None);
        assert_eq!(Version::default().strong(), None);
    }
}
