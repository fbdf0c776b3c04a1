//! A stand-in for Matchbox. It answers `/metadata` from `groups/*.json` by the rules of the real one, and misbehaves on request. The rules
//! come from `gild serve`, and `cases/matchbox.rs` compares that with the values of Matchbox' Go code.
//!
//! It has only `/metadata` and `/`, and no signatures or templates. Of gild's desk it has only one part: it can take the reports of nodes.
//! It never withholds anything.

pub mod tls;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use gild_desk::metadata::{Groups, Question, Scope};
use gild_report::PROOF_HEADER;

/// Go's HTTP server gives the length of a body up to this size. It sends a longer one in chunks.
const BUFFERED: usize = 2048;
const POLL: Duration = Duration::from_millis(10);

/// How the stand-in answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As Matchbox does.
    Faithful,
    /// Takes the request and never answers.
    Hanging,
    /// Answers as Matchbox does, after this long.
    Slow(Duration),
    /// Breaks off in the middle of the body.
    Truncated,
    /// Answers with an error, as from a proxy in front of it or from the server itself.
    Status(u16),
    /// Sends a body without end.
    Endless,
    /// Sends the client elsewhere.
    Redirect(String),
    /// Claims that another machine has asked.
    WrongEcho(String),
    /// These bytes as the body, whatever was asked.
    Body(String),
}

/// A running stand-in. It stops listening when dropped.
pub struct Matchbox {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    directory: PathBuf,
    tls: Option<Arc<ServerConfig>>,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    takes_reports: AtomicBool,
    stopped: AtomicBool,
}

/// What was asked or posted.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub target: String,
    /// The proof that the node has shown.
    pub proof: Option<String>,
    /// What was posted.
    pub posted: Option<String>,
}

impl Matchbox {
    /// Serves the groups of a data directory on a port that the system chooses, on loopback.
    pub fn start(directory: &Path) -> Result<Self> {
        let listener =
            TcpListener::bind("127.0.0.1:0").context("listening for the stand-in for Matchbox")?;
        Self::serve(listener, directory, None)
    }

    /// Serves on a socket of the caller's, which may be in another network namespace. With `tls` it uses TLS.
    pub fn serve(
        listener: TcpListener,
        directory: &Path,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self> {
        let address = listener.local_addr()?;
        // So that the thread notices when it is to end.
        listener.set_nonblocking(true)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            directory: directory.to_path_buf(),
            tls,
            behaviour: Mutex::new(Behaviour::Faithful),
            requests: Mutex::default(),
            takes_reports: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let seen = Arc::clone(&shared);
        let thread = thread::spawn(move || seen.accept(&listener));
        Ok(Self {
            address,
            scheme,
            shared,
            thread: Some(thread),
        })
    }

    /// Its address as this machine sees it, as in a node's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.address.ip().to_string())
    }

    /// Its address for one who reaches this machine by another name.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Behaves like this from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Takes the reports of nodes from now on, as gild's desk does. Matchbox itself answers that there is no such page.
    pub fn take_reports(&self) {
        self.shared.takes_reports.store(true, Ordering::Relaxed);
    }

    /// The path and query of each request so far, including those that were not answered.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked.map(|request| request.target).collect()
    }

    /// Each question so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Request> {
        let mut requests = lock(&self.shared.requests).clone();
        requests.retain(|request| request.posted.is_none());
        requests
    }

    /// All posts so far, including those that were refused.
    #[must_use]
    pub fn posted(&self) -> Vec<Request> {
        let mut requests = lock(&self.shared.requests).clone();
        requests.retain(|request| request.posted.is_some());
        requests
    }
}

impl Drop for Matchbox {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, that has already been reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.stopped.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let shared = Arc::clone(self);
                    // If the client goes away, there is nothing to do.
                    thread::spawn(move || shared.serve(stream).ok());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(POLL),
                Err(error) => eprintln!("stand-in for Matchbox: cannot accept: {error}"),
            }
        }
    }

    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(false)?;
        match &self.tls {
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config))?;
                self.answer(&mut StreamOwned::new(connection, stream))
            }
            None => self.answer(&mut &stream),
        }
    }

    fn answer(&self, stream: &mut (impl Read + Write)) -> Result<()> {
        let request = read_request(stream)?;
        let target = request.target.clone();
        let is_taken = request.posted.is_some() && self.takes_reports.load(Ordering::Relaxed);
        lock(&self.requests).push(request);
        if is_taken {
            reply(stream, &Response::metadata(String::new()))?;
            stream.flush()?;
            return Ok(());
        }
        let behaviour = lock(&self.behaviour).clone();
        match behaviour {
            Behaviour::Faithful => reply(stream, &self.response(&target))?,
            Behaviour::Hanging => self.wait(Duration::MAX),
            Behaviour::Slow(time) => {
                self.wait(time);
                reply(stream, &self.response(&target))?;
            }
            Behaviour::Truncated => {
                let body = self.response(&target).body;
                let half = &body[..body.len() / 2];
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: plain/text\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{half}"
                )?;
            }
            Behaviour::Status(code) => write!(
                stream,
                "HTTP/1.1 {code} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?,
            Behaviour::Endless => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: plain/text\r\nConnection: close\r\n\r\n"
                )?;
                while !self.stopped.load(Ordering::Relaxed) {
                    stream.write_all(&[b'x'; 4096])?;
                }
            }
            Behaviour::Redirect(location) => write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?,
            Behaviour::WrongEcho(mac) => {
                let mut response = self.response(&target);
                response.body = with_echo_of(&mac, &response.body);
                reply(stream, &response)?;
            }
            Behaviour::Body(body) => reply(stream, &Response::metadata(body))?,
        }
        stream.flush()?;
        Ok(())
    }

    fn response(&self, target: &str) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/" {
            return Response {
                status: "200 OK",
                content_type: "text/plain; charset=utf-8",
                body: "matchbox\n".into(),
            };
        }
        let question = Question::parse(query);
        let groups = Groups::read(&self.directory);
        let group = (path == "/metadata")
            .then(|| question.group(&groups))
            .flatten();
        group.map_or_else(Response::not_found, |group| {
            Response::metadata(question.answer(group, Scope::Whole))
        })
    }

    /// Sleeps, but not past the end of the stand-in.
    fn wait(&self, mut time: Duration) {
        while !time.is_zero() && !self.stopped.load(Ordering::Relaxed) {
            thread::sleep(POLL.min(time));
            time = time.saturating_sub(POLL);
        }
    }
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Response {
    /// Matchbox has always given this type, although it does not exist.
    fn metadata(body: String) -> Self {
        Self {
            status: "200 OK",
            content_type: "plain/text",
            body,
        }
    }

    fn not_found() -> Self {
        Self {
            status: "404 Not Found",
            content_type: "text/plain; charset=utf-8",
            body: "404 page not found\n".into(),
        }
    }
}

/// A request; of its headers only the proof matters.
fn read_request(stream: &mut impl Read) -> Result<Request> {
    // Only one request is read, because a client sends nothing after it.
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (mut header, mut proof, mut length) = (String::new(), None, 0);
    while reader.read_line(&mut header)? > 2 {
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case(PROOF_HEADER) => {
                proof = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse()?;
            }
            _ => (),
        }
        header.clear();
    }
    let target = line
        .split_whitespace()
        .nth(1)
        .context("a request without a path")?;
    let posted = if line.starts_with("POST ") {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Some(String::from_utf8(body)?)
    } else {
        None
    };
    Ok(Request {
        target: target.to_owned(),
        proof,
        posted,
    })
}

fn reply(stream: &mut impl Write, response: &Response) -> io::Result<()> {
    let Response {
        status,
        content_type,
        body,
    } = response;
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n");
    if body.len() <= BUFFERED {
        return write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    }
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n")?;
    for chunk in body.as_bytes().chunks(BUFFERED) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn with_echo_of(mac: &str, body: &str) -> String {
    body.lines()
        .map(|line| match line.split_once('=') {
            Some((key @ "REQUEST_QUERY_MAC", _)) => format!("{key}={mac}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
