//! Answers a client that speaks HTTP without TLS on the port that has TLS. A browser does so for `desk:8443`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum_server::accept::Accept;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::HEAD;
use super::connections::{BUFFER, Guard, Guarded};

/// Lets in who begins with TLS.
#[derive(Clone)]
pub struct OnlyTls {
    guard: Guard,
    answer: Arc<str>,
}

impl OnlyTls {
    /// Behind this guard. The page is at this address.
    pub fn new(guard: Guard, page: &str) -> Self {
        let text = format!("this port speaks HTTPS, and not HTTP; next: open {page}\n");
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        Self {
            guard,
            answer: answer.into(),
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for OnlyTls {
    type Stream = Guarded<TcpStream>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let let_in = self.guard.accept(stream, service);
        let answer = Arc::clone(&self.answer);
        Box::pin(async move {
            let (mut stream, service) = let_in.await?;
            // A method of HTTP begins with a capital letter, and TLS with the byte 22.
            if timeout(HEAD, stream.first()).await??.is_ascii_uppercase() {
                timeout(HEAD, refuse(&mut stream, &answer)).await??;
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok((stream, service))
        })
    }
}

async fn refuse(stream: &mut Guarded<TcpStream>, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // A connection that is closed with unread bytes is reset, and the answer may be lost with it.
    copy(&mut stream.take(BUFFER as u64), &mut sink()).await?;
    Ok(())
}
