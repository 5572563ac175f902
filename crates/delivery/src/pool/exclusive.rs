//! HTTP/1.1 connections: one exchange at a time, which drives its connection itself.
//!
//! hyper makes a connection of two halves: a sender, which requests are put into, and a future, which writes and reads. Nothing
//! moves unless that future is polled. It has no task of its own: what an exchange waits for comes from its connection alone, so
//! whoever waits polls it, in the same task, and no other one is woken on the way. A connection is
//!
//! - *driven* while an exchange sends, reads the answer and [settles](Exclusive::settle). Dropping it closes the socket at once,
//!   and the exchange's deadline is its bound;
//! - *idle* in the pool, where nobody polls it and nothing runs for it. What its peer sends meanwhile waits in the socket, as
//!   much of it as the kernel takes; that its peer closes it goes unseen, until it is taken or has been idle for too long;
//! - *taken* again with a request: it is read before anything is written, so that one which the peer has closed, or sent
//!   something on that nobody asked for, gives the request back unsent;
//! - *ended*, by itself, its peer or a broken line: its future is gone and with it the socket, and whoever waits on it is told.

use super::AGE_MAX;
use super::connection::{Body, HEAD_BYTES_MAX};
use super::patient::Patient;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

/// Header lines of an answer. It is hyper's own default, which costs no allocation per answer.
const HEADER_LINES_MAX: usize = 100;
/// Bytes buffered for reading a connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection is waited for that has answered but is not ready for the next request yet.
const SETTLE_TIME_MAX: Duration = Duration::from_millis(50);

/// An HTTP/1.1 connection.
pub(crate) struct Exclusive {
    sender: http1::SendRequest<Body>,
    driven: Driven,
    address: SocketAddr,
    opened_at: Duration,
}

impl Exclusive {
    /// Speaks HTTP/1.1 over a stream that was opened at `now`.
    pub(super) async fn open<S>(stream: S, address: SocketAddr, now: Duration) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADER_LINES_MAX)
            .max_header_size(HEAD_BYTES_MAX as usize)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(Patient::new(stream)))
            .await?;
        Ok(Self {
            sender,
            driven: Driven(Some(Box::pin(connection))),
            address,
            opened_at: now,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Can it take another exchange, as far as is known? Its next one finds out.
    pub(super) fn reusable(&self, now: Duration) -> bool {
        self.sender.is_ready() && !self.sender.is_closed() && now.saturating_sub(self.opened_at) < AGE_MAX
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> {
        // Handed over at once: a future that held it would be the larger by it.
        self.driven.until(self.sender.try_send_request(request))
    }

    /// Gives what comes of the answer's body; `next` waits for it.
    pub(super) async fn receive<F: Future>(&mut self, next: F) -> F::Output {
        self.driven.until(next).await
    }

    /// Waits, not for long, until the connection is ready for another request.
    pub(super) async fn settle(&mut self) {
        if !self.sender.is_ready() {
            // Not ready or closed: the pool will look itself.
            let _ = timeout(SETTLE_TIME_MAX, self.driven.until(self.sender.ready())).await;
        }
    }
}

/// The future of a connection; `None` once it has ended.
struct Driven(Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>);

impl Driven {
    /// Drives the connection until `future` is ready, which the connection alone brings about, be it by its end.
    async fn until<F: Future>(&mut self, future: F) -> F::Output {
        // Nothing but the polls of the connection here makes it ready, and it is looked at after each: it needs neither a wake,
        // which would only poll this task once more than is needed, nor a share of the task's budget, whose end is told by a wake.
        let mut future = pin!(unconstrained(future));
        poll_fn(|cx| {
            let mut unheard = Context::from_waker(Waker::noop());
            let ready = future.as_mut().poll(&mut unheard);
            if ready.is_ready() {
                return ready;
            }
            self.advance(cx);
            future.as_mut().poll(&mut unheard)
        })
        .await
    }

    /// Lets the connection write and read what it can.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let polled = self.0.as_mut().map(|connection| connection.as_mut().poll(cx));
        if let Some(Poll::Ready(_)) = polled {
            // How it ended is told to its exchange, and of interest to nobody else.
            self.0 = None;
        }
    }
}
