//! A small HTTP server that stands in for Matchbox and for the receiver of receipts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// One request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method and path: `GET /metadata?mac=...`.
    pub line: String,
    /// The body.
    pub body: String,
}

/// A running server. It ends with the process.
pub struct WebServer {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl WebServer {
    /// Answers every GET with `answer`, or with 404 when there is none, and every POST with 204.
    pub fn start(answer: Option<&str>) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on a port for HTTP")?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = answer.map(str::to_owned);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(request) = serve(&stream, answer.as_deref()) {
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(request);
                }
            }
        });
        Ok(Self { port, requests })
    }

    /// Its address as a board sees it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://10.0.2.2:{}", self.port)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn serve(mut stream: &TcpStream, answer: Option<&str>) -> Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let (status, text) = match (line.starts_with("GET"), answer) {
        (true, Some(answer)) => ("200 OK", answer),
        (true, None) => ("404 Not Found", ""),
        (false, _) => ("204 No Content", ""),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Ok(Request { line, body })
}
