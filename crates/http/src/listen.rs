//! The listener: between a TCP socket and what answers requests, and the only thing that decides who may keep a connection.
//!
//! Who does what, in reading order:
//! - [`bind`] and [`serve`]: the listening socket, the accept loop, and the stop.
//! - [`ListenLimits`]: every limit with its default and reason.
//! - `roster`: counts connections, and picks the one that goes when a newcomer finds no place.
//! - `conduct`: judges a connection by what it has done and for how long; pure.
//! - `seat`: what the parts of one connection share: its place and its conduct.
//! - `connection`: drives hyper for one connection and carries out the judgement.
//! - `socket`: the TCP stream that reports what arrives.
//! - `exchange`: one request and its answer; panics become 500.
//! - `accept`: what to do when `accept` fails.
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge are told apart by hyper-util; there is no TLS here. What is malformed is
//! answered by hyper with an empty 400, 414 or 431 on HTTP/1, and with GOAWAY or RST_STREAM on HTTP/2.
//!
//! The limits on time are those of real sockets and so run on the runtime's timer, not on the domain's clock: no
//! decision about an event depends on them. `conduct` takes the time as a parameter all the same.

mod accept;
mod conduct;
mod connection;
mod exchange;
mod limits;
mod roster;
mod seat;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tower::Service;

pub use limits::{HEAD_BYTES_FLOOR, HEADERS_MAX, Http2Limits, ListenLimits};

use accept::Episode;
use connection::Host;
use roster::Roster;
use seat::Seat;

/// The address at the other end of the TCP connection, in the extensions of every request. It may be a proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Connections that may wait in the kernel until they are accepted; beyond it a client's handshake is lost and tried
/// again after a second. The kernel caps it (`net.core.somaxconn`, 4,096 by default on Linux).
const BACKLOG: u32 = 4_096;

/// Opens the listening socket of [`serve`], with room for a burst of clients.
///
/// # Errors
/// The address is in use, not ours, or not permitted.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart must not wait for the connections of the life before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What answers requests: always ready, so that nobody asks it, and each request has a copy of it.
pub trait Answers:
    Service<Request, Response = Response, Error = Infallible, Future: Send + Unpin>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Answers for T where
    T: Service<Request, Response = Response, Error = Infallible, Future: Send + Unpin>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Lets `front` answer on `listener` until `stop` completes; then stops gracefully.
///
/// A graceful stop closes the listening socket, closes idle connections, tells the others to finish (`Connection:
/// close`, GOAWAY), and waits until they have. `grace` is awaited only then: when it completes first, what is left is
/// dropped, handlers included. Gives how many connections were dropped so; 0 is a clean end.
///
/// Never fails: an `accept` that does (the process is out of file descriptors) closes the connection that has waited
/// longest, and is tried again when one is closed, or after a wait that grows up to a second.
pub async fn serve(
    listener: TcpListener,
    front: impl Answers,
    limits: ListenLimits,
    stop: impl Future<Output = ()>,
    grace: impl Future<Output = ()>,
) -> usize {
    let (tell_to_finish, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    {
        let mut stop = pin!(stop);
        let limits = Arc::new(limits);
        let host = Arc::new(Host::new(front, &limits));
        let roster = Roster::new(limits.connections_max);
        let mut episode = Episode::default();
        loop {
            let seated = tokio::select! {
                biased;
                () = &mut stop => break,
                seated = accept_one(&listener, &roster, &mut episode) => seated,
            };
            if let Some((stream, peer, place)) = seated {
                let seat = Seat::new(place, Arc::clone(&limits));
                let connection = connection::serve(Arc::clone(&host), stream, peer, seat, stopping.clone());
                connections.spawn(connection);
            }
            while let Some(ended) = connections.try_join_next() {
                report(ended);
            }
        }
    }
    drop(listener);
    // Nobody listens if no connection is open, and that is as well.
    let _heard = tell_to_finish.send(true);
    finish(connections, grace).await
}

/// Accepts one connection and finds a place for it. `None` if the accept failed; then the wait is over.
async fn accept_one(
    listener: &TcpListener,
    roster: &Arc<Roster>,
    episode: &mut Episode,
) -> Option<(TcpStream, PeerAddr, roster::Place)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            episode.accepted();
            Some((stream, PeerAddr(peer), roster.take_place().await))
        }
        Err(error) => {
            if let Some(wait) = episode.failed(&error) {
                roster.dismiss_longest_waiting();
                tokio::select! {
                    () = roster.changed() => {}
                    () = pause(wait) => {}
                }
            }
            None
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the accept loop is a `run()`: it waits for the kernel, in real time"
)]
async fn pause(wait: std::time::Duration) {
    tokio::time::sleep(wait).await;
}

/// Waits for all connections, or for `grace`; gives how many had to be dropped.
async fn finish(mut connections: JoinSet<()>, grace: impl Future<Output = ()>) -> usize {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    tokio::select! {
        biased;
        () = all_ended => {}
        () = grace => {}
    }
    let dropped = connections.len();
    connections.shutdown().await;
    dropped
}

/// A panic outside the handlers ends one connection only, and is a bug of ours.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection panicked and was closed");
    }
}
