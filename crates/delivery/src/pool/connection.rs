//! Established connections as hyper's senders, with every bound that a hostile peer could press against.

use super::AGE_MAX;
use super::patient::Patient;
use super::shared::{Multiplexed, Stream};
use crate::connect::{Established, Wire};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
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
const HEAD_BYTES_MAX: u32 = 32 * 1024;
/// Header lines of an HTTP/1.1 answer. It is hyper's own default, which costs no allocation per answer.
const HEADER_LINES_MAX: usize = 100;
/// Bytes buffered for reading an HTTP/1.1 connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
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
/// The end of a connection whatever happens: exchanges begun at its last moment have come to their deadline.
const LIFE_MAX: Duration = AGE_MAX.saturating_add(Duration::from_secs(TIMEOUT_SECONDS_MAX as u64));
/// How long a connection is waited for that has answered but is not ready for the next request yet.
const SETTLE_TIME_MAX: Duration = Duration::from_millis(50);

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
        Wire::Plain(tcp) => open_http1(tcp, address, now).await,
        Wire::Tls { stream, http2: false } => open_http1(stream, address, now).await,
        Wire::Tls { stream, http2: true } => open_http2(stream, address, now).await,
    }
}

async fn open_http1<S>(stream: S, address: SocketAddr, now: Duration) -> hyper::Result<Opened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(HEADER_LINES_MAX)
        .max_header_size(HEAD_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(Patient::new(stream)))
        .await?;
    let life = Life::default();
    life.spawn(connection);
    Ok(Opened::Http1(Exclusive {
        sender,
        address,
        opened_at: now,
        _life: life,
    }))
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

/// An HTTP/1.1 connection: one exchange at a time.
pub(crate) struct Exclusive {
    sender: http1::SendRequest<Body>,
    address: SocketAddr,
    opened_at: Duration,
    _life: Life,
}

impl Exclusive {
    /// Can it take another exchange?
    pub(super) fn reusable(&self, now: Duration) -> bool {
        self.sender.is_ready() && !self.sender.is_closed() && now.saturating_sub(self.opened_at) < AGE_MAX
    }
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
            Self::Exclusive(exclusive) => exclusive.address,
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
            Self::Exclusive(exclusive) => exclusive.sender.try_send_request(request).await,
            Self::Stream(stream) => stream.send(request).await,
        }
    }

    /// Waits until the connection has seen the end of its exchange; without this it would look busy in the pool. A
    /// receiver that answers before it has read the request is not waited for long.
    pub(crate) async fn settle(&mut self) {
        if let Self::Exclusive(exclusive) = self {
            // Not ready or closed: the pool will look itself.
            let _ = timeout(SETTLE_TIME_MAX, exclusive.sender.ready()).await;
        }
    }
}

/// The futures that drive a connection; they end with it at the latest, so that a peer that never closes keeps
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
