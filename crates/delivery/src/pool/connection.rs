//! Established connections with HTTP spoken over them, and every bound that a hostile peer could press against.

use super::AGE_MAX;
use super::exclusive::Exclusive;
use super::shared::{Multiplexed, Stream};
use crate::connect::{Established, Wire};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stentor_domain::limits::TIMEOUT_SECONDS_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The body of every request: in memory, of known length, never copied.
pub(crate) type Body = Full<Bytes>;

/// Bytes of an answer's head, status line and headers, and of its trailers.
pub(super) const HEAD_BYTES_MAX: u32 = 32 * 1024;
/// Bytes that an HTTP/2 peer may send unread on one stream; more than is kept of any body.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes that an HTTP/2 peer may send unread on a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of one HTTP/2 frame; the least that the protocol allows.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of the table that a peer compresses headers with; the protocol's default.
const HEADER_TABLE_BYTES: u32 = 4 * 1024;
/// Bytes of a request buffered per HTTP/2 stream while the peer's window is closed.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that were reset here and are remembered, and resets that a peer may provoke before the connection is closed.
const RESET_STREAMS_MAX: usize = 64;
/// The end of an HTTP/2 connection whatever happens: exchanges begun at its last moment have come to their deadline. Of HTTP/1.1
/// nothing runs that no exchange holds.
const LIFE_MAX: Duration = AGE_MAX.saturating_add(Duration::from_secs(TIMEOUT_SECONDS_MAX as u64));

/// A connection, new and not yet known to the pool.
pub(crate) enum Opened {
    /// For one exchange at a time.
    Http1(Exclusive),
    /// For several at once.
    Http2(Arc<Multiplexed>),
}

/// Speaks HTTP over what was connected. Nothing is sent yet but the preface of HTTP/2.
pub(crate) async fn open(established: Established, now: Duration) -> hyper::Result<Opened> {
    let address = established.address;
    match established.wire {
        Wire::Plain(line) => Exclusive::open(line, address, now).await.map(Opened::Http1),
        Wire::Tls { stream, http2: false } => Exclusive::open(stream, address, now).await.map(Opened::Http1),
        Wire::Tls { stream, http2: true } => open_http2(stream, address, now).await,
    }
}

async fn open_http2<S>(stream: S, address: SocketAddr, now: Duration) -> hyper::Result<Opened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let life = Life::default();
    // Without a keep-alive interval no ping is ever sent: a dead connection is found by the deadline of its first
    // exchange, and then retired.
    let (sender, connection) = http2::Builder::new(life.spawner())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    life.spawn(connection);
    Ok(Opened::Http2(Arc::new(Multiplexed::new(
        sender, address, now, life,
    ))))
}

/// A connection in the hands of one exchange. Dropping it closes the connection, which is right for every exchange that
/// did not end cleanly; the others give it back to the pool.
pub(crate) enum Lease {
    /// All of an HTTP/1.1 connection.
    Exclusive(Exclusive),
    /// A stream of an HTTP/2 connection.
    Stream(Stream),
}

impl Lease {
    /// The address that the connection leads to.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Exclusive(exclusive) => exclusive.address(),
            Self::Stream(stream) => stream.address(),
        }
    }

    /// Is it HTTP/2, where the URI carries what the `Host` header does in HTTP/1.1?
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends a request and waits for the head of its answer. The error holds the request where nothing of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::Exclusive(exclusive) => exclusive.send(request).await,
            Self::Stream(stream) => stream.send(request).await,
        }
    }

    /// The next frame of the answer's body, `None` at its end.
    pub(crate) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Self::Exclusive(exclusive) => exclusive.receive(body.frame()).await,
            Self::Stream(_) => body.frame().await,
        }
    }

    /// Waits until the connection has seen the end of its exchange; without this it would look busy in the pool. A
    /// receiver that answers before it has read the request is not waited for long.
    pub(crate) async fn settle(&mut self) {
        if let Self::Exclusive(exclusive) = self {
            exclusive.settle().await;
        }
    }
}

/// The futures that drive an HTTP/2 connection; they end with it at the latest, so that a peer that never closes keeps
/// nothing of ours.
#[derive(Default)]
pub(super) struct Life(Spawner);

/// Starts the futures of one connection.
#[derive(Clone, Default)]
pub(super) struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl Life {
    /// Ends the connection now.
    pub(super) fn end(&self) {
        self.0.0.lock().abort_all();
    }

    fn spawner(&self) -> Spawner {
        self.0.clone()
    }

    fn spawn<F>(&self, connection: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        hyper::rt::Executor::execute(&self.0, async move {
            // How a connection ends is told to its exchanges, and of interest to nobody else.
            let _ = timeout(LIFE_MAX, connection).await;
        });
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut running = self.0.lock();
        // HTTP/2 starts one for every request body that waits for the peer's window: forget those that are done.
        while running.try_join_next().is_some() {}
        running.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_drives_a_connection_ends_with_it() {
        let life = Life::default();
        let (held, dropped) = oneshot::channel::<()>();
        // HTTP/2 keeps the spawner in what it spawns.
        let spawner = life.spawner();
        life.spawn(async move {
            let _held = (held, spawner);
            std::future::pending::<()>().await;
        });
        drop(life);
        assert!(dropped.await.is_err());
    }
}
