//! One connection: hyper speaks, [`super::conduct`] sets the time, and the roster or a stop may end it.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::conduct::Standing;
use super::exchange::carry_out;
use super::limits::{HEAD_BYTES_FLOOR, ListenLimits};
use super::seat::Seat;
use super::socket::Socket;
use super::{Answers, PeerAddr};

/// How long, and how many bytes, a refused client may go on sending before the socket is closed in its face.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINGER_READ_BYTES: usize = 16 * 1024;

/// What every connection of a listener needs, made once.
#[derive(Debug)]
pub(super) struct Host<S> {
    front: S,
    hyper: Builder<TokioExecutor>,
}

impl<S: Answers> Host<S> {
    pub(super) fn new(front: S, limits: &ListenLimits) -> Self {
        Host {
            front,
            hyper: hyper_builder(limits),
        }
    }
}

fn hyper_builder(limits: &ListenLimits) -> Builder<TokioExecutor> {
    let head_bytes_max = limits.head_bytes_max.max(HEAD_BYTES_FLOOR);
    let head_bytes = usize::try_from(head_bytes_max).unwrap_or(usize::MAX);
    let mut hyper = Builder::new(TokioExecutor::new());
    hyper
        .http1()
        .timer(TokioTimer::new())
        // `Conduct` times heads, for reasons told there.
        .header_read_timeout(None)
        // hyper keeps a head in the read buffer until it is whole, so that the buffer's limit is the head's.
        .max_buf_size(head_bytes);
    hyper
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2.streams_max)
        .max_pending_accept_reset_streams(limits.http2.pending_resets_max)
        .max_local_error_reset_streams(limits.http2.error_resets_max)
        .max_header_list_size(head_bytes_max)
        .max_frame_size(limits.http2.frame_bytes_max)
        .initial_stream_window_size(limits.http2.stream_window_bytes)
        .initial_connection_window_size(limits.http2.connection_window_bytes)
        .max_send_buf_size(limits.http2.send_buffer_bytes_max)
        .keep_alive_interval(limits.http2.ping_interval)
        .keep_alive_timeout(limits.http2.ping_timeout);
    hyper
}

/// Serves one connection to its end. `stopping` turns true when the listener wants it to finish.
pub(super) async fn serve(
    host: Arc<Host<impl Answers>>,
    stream: TcpStream,
    peer: PeerAddr,
    seat: Arc<Seat>,
    stopping: watch::Receiver<bool>,
) {
    // Answers are small and written whole: waiting to fill a segment would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer = %peer.0, "TCP_NODELAY was refused");
    }
    let reason = tokio::select! {
        biased;
        reason = converse(&host, stream, peer, &seat, stopping) => reason,
        () = seat.place().told_to_go() => "its place was needed",
    };
    tracing::debug!(reason, peer = %peer.0, "connection ended");
    if let Some(stream) = seat.take_left_behind() {
        tokio::select! {
            () = linger(stream) => {}
            () = seat.place().told_to_go() => {}
        }
    }
}

/// Lets hyper speak until the client, hyper, or the conduct ends it; gives the reason.
async fn converse(
    host: &Host<impl Answers>,
    stream: TcpStream,
    peer: PeerAddr,
    seat: &Arc<Seat>,
    mut stopping: watch::Receiver<bool>,
) -> &'static str {
    let service = service_fn(|request: Request<Incoming>| carry_out(&host.front, seat, peer, request));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(seat)));
    let mut connection = Box::pin(host.hyper.serve_connection(socket, service));
    // A listener that is gone without a word wants its connections to finish, too.
    let mut stopping =
        Box::pin(async move { stopping.wait_for(|stopping| *stopping).await.map_or((), |_| ()) });
    let mut timer = Box::pin(sleep_until(tokio::time::Instant::now()));
    let mut retired = false;

    std::future::poll_fn(|cx| {
        if !retired && stopping.as_mut().poll(cx).is_ready() {
            retired = true;
            seat.retire();
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                return Poll::Ready(end.map_or_else(|error| end_of(error.as_ref(), seat), |()| "finished"));
            }
            match seat.judge() {
                Standing::Drop(reason) => return Poll::Ready(reason),
                Standing::Retire(_) => {
                    retired = true;
                    seat.retire();
                    connection.as_mut().graceful_shutdown();
                }
                Standing::Until(deadline) => {
                    // Each request moves the deadline, mostly away: a timer that fires too early is set anew then.
                    if deadline < timer.deadline() || timer.is_elapsed() {
                        timer.as_mut().reset(deadline);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await
}

/// Says why hyper gave up. After malformed HTTP it has answered 400, 414 or 431, which the client must get to read.
fn end_of(error: &(dyn std::error::Error + 'static), seat: &Seat) -> &'static str {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse() => {
            seat.linger();
            "malformed HTTP"
        }
        _ => "broken off",
    }
}

/// Reads and forgets what a refused client still sends, for a while.
///
/// A socket closed with unread bytes answers them with a reset, and a reset makes the client's kernel throw away the
/// answer that says why it was refused.
async fn linger(mut stream: TcpStream) {
    let read_out = async {
        stream.shutdown().await?;
        let mut scratch = vec![0; LINGER_READ_BYTES];
        let mut total: usize = 0;
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                count => total += count,
            }
        }
        std::io::Result::Ok(())
    };
    // However it ends, the socket is closed now; nobody is left to be told.
    let _ended = timeout(LINGER_MAX, read_out).await;
}
