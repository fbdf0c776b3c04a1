//! The server.

use std::io::{self, BufReader, Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{Reply, Request};

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a port of this machine. It ends with the process.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    answer: Box<Answer>,
    requests: Mutex<Vec<Request>>,
    is_down: AtomicBool,
}

impl Server {
    /// Answers each request as the test says.
    ///
    /// # Panics
    /// If the machine has no free port.
    #[must_use]
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self::serve(listener, None, answer)
    }

    /// The same on a socket of the test's, which may be in another network namespace; over TLS if the test says how.
    ///
    /// # Panics
    /// If the socket has no address.
    #[must_use]
    pub fn serve(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().expect("its own address").port();
        let shared = Arc::new(Shared {
            tls,
            answer: Box::new(answer),
            requests: Mutex::new(Vec::new()),
            is_down: AtomicBool::new(false),
        });
        let of_connections = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_connections);
                thread::spawn(move || shared.accept(stream));
            }
        });
        Self { port, shared }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// Its address for one who reaches this machine by another name.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        let scheme = self.shared.tls.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{host}:{}", self.port)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().clone()
    }

    /// From now on, connections end where a reply was due; or they do not any more.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Shared {
    fn accept(&self, stream: TcpStream) -> Result<()> {
        match &self.tls {
            None => self.serve(stream),
            Some(tls) => {
                let connection =
                    ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                self.serve(StreamOwned::new(connection, stream))
            }
        }
    }

    fn serve(&self, stream: impl Read + Write) -> Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            if self.is_down.load(Ordering::SeqCst) {
                break;
            }
            let reply = (self.answer)(&request);
            self.requests().push(request);
            if !reply.write(reader.get_mut())? {
                break;
            }
        }
        Ok(())
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
