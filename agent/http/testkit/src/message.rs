//! Requests and replies.

use std::io::{self, BufRead, Read, Write};
use std::ops::Range;
use std::thread;
use std::time::Duration;

/// Between two bytes of a body that drips.
pub const DRIP: Duration = Duration::from_millis(50);

/// One request as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, for example.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    drips: bool,
}

impl Request {
    /// The next request on a connection; none once the other end has closed it.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut request = Self {
            method,
            target,
            ..Self::default()
        };
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            request.headers.push(header);
        }
        let length = request.header("content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        from.take(length).read_to_string(&mut request.body)?;
        Ok(Some(request))
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The bytes that are asked for.
    #[must_use]
    pub fn range(&self) -> Option<Range<usize>> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last: usize = last.parse().ok()?;
        Some(first.parse().ok()?..last.checked_add(1)?)
    }

    /// Method and target: `GET /metadata?mac=...`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl Reply {
    /// A reply with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
            drips: false,
        }
    }

    /// What a good server answers about this file: the part that is asked for, or the whole.
    #[must_use]
    pub fn file(request: &Request, bytes: &[u8]) -> Self {
        let Some(range) = request.range() else {
            return Self::new(200, bytes);
        };
        let end = range.end.min(bytes.len());
        match bytes.get(range.start..end).filter(|part| !part.is_empty()) {
            None => Self::new(416, ""),
            Some(part) => {
                let content_range = format!("bytes {}-{}/{}", range.start, end - 1, bytes.len());
                Self::new(206, part).with("Content-Range", &content_range)
            }
        }
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, but the connection ends after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// The same, but the body comes byte by byte, [`DRIP`] apart.
    #[must_use]
    pub fn dripping(mut self) -> Self {
        self.drips = true;
        self
    }

    /// Sends it. `false` if the connection is to be closed.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<bool> {
        write!(to, "HTTP/1.1 {} As the test wants it\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(to, "{name}: {value}\r\n")?;
        }
        write!(to, "Content-Length: {}\r\n\r\n", self.body.len())?;
        let sent = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        let (piece, pause) = if self.drips {
            (1, DRIP)
        } else {
            (sent.max(1), Duration::ZERO)
        };
        for bytes in self.body[..sent].chunks(piece) {
            to.write_all(bytes)?;
            to.flush()?;
            thread::sleep(pause);
        }
        to.flush()?;
        Ok(self.cut.is_none())
    }
}
