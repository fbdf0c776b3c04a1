//! The connections of both web servers. Their number is limited, in total and for each source, and a client that does not read its answer
//! is dropped.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::places::{Place, Places};
use crate::source::Source;

/// At most this many connections at a time. Each takes at most twice `BUFFER` of memory, and what TLS needs.
const MOST: usize = 2048;
/// At most this many of one source: a hundred boards behind one address read an image over four connections each.
const MOST_OF_SOURCE: usize = 512;
/// How long a client may accept no byte of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a request or an answer is buffered in each connection, bytes.
pub const BUFFER: usize = 64 << 10;

/// Lets connections in, or closes them.
#[derive(Clone)]
pub struct Guard {
    places: Arc<Places>,
    patience: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            places: Places::new(MOST, MOST_OF_SOURCE),
            patience: PATIENCE,
        }
    }
}

impl<S> Accept<TcpStream, S> for Guard {
    type Stream = Guarded<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().and_then(|from| {
            let place = self.places.take(Source::of(from));
            place.map_err(|_| io::ErrorKind::QuotaExceeded.into())
        });
        ready(place.map(|place| {
            let guarded = Guarded {
                stream,
                patience: self.patience,
                late: None,
                _place: place,
            };
            (guarded, service)
        }))
    }
}

/// A connection that ends when its client accepts no more data.
pub struct Guarded<S> {
    stream: S,
    patience: Duration,
    /// The timer that runs while the client accepts nothing.
    late: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Guarded<TcpStream> {
    /// Its first byte, which stays to be read.
    pub async fn first(&self) -> io::Result<u8> {
        let mut byte = [0];
        match self.stream.peek(&mut byte).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(byte[0]),
        }
    }
}

impl<S> Guarded<S> {
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.late = None;
            return written;
        }
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        late.as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::timeout;

    fn guarded(patience: Duration) -> (Guarded<DuplexStream>, DuplexStream) {
        let (stream, client) = tokio::io::duplex(10);
        let place = Places::new(1, 1).take(None).ok();
        let guarded = Guarded {
            stream,
            patience,
            late: None,
            _place: place.expect("a place"),
        };
        (guarded, client)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test);
    }

    #[test]
    fn who_reads_nothing_is_dropped_and_who_reads_slowly_is_not() {
        run(async {
            let (mut guarded, mut client) = guarded(Duration::from_secs(2));
            let sent = tokio::spawn(async move {
                guarded.write_all(&[7; 80]).await.expect("it is read");
                guarded.write_all(&[7; 80]).await
            });
            let mut part = [0; 10];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                client.read_exact(&mut part).await.expect("a part");
            }
            let end = timeout(Duration::from_secs(10), sent).await;
            let end = end.expect("in time").expect("no panic");
            let error = end.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
